//! Header blocks of HTTP/2 as a client wrote them (RFC 7541).

use std::collections::VecDeque;

use super::huffman;

/// What Lath lets clients remember, as hyper does: the default of SETTINGS_HEADER_TABLE_SIZE.
const TABLE_SIZE: usize = 4096;
/// What every entry costs beside its octets (RFC 7541 section 4.1).
const ENTRY: usize = 32;
/// The largest number: more than anything that has a place in a block.
const MAX_INTEGER: usize = 1 << 24;

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// A field as it was written, whatever that is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// What `is_sound` said of it when it was read first.
    pub(super) sound: bool,
}

impl Field<'_> {
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.value.len() + ENTRY
    }
}

/// Why a block cannot be read: the connection is of no use any more (RFC 9113 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

/// What earlier blocks of a connection defined.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

/// A field that later blocks may name by its index.
#[derive(Debug)]
struct Entry {
    /// The name, then the value.
    octets: Box<[u8]>,
    name: usize,
    sound: bool,
}

impl Entry {
    fn new(field: &Field<'_>) -> Self {
        Self {
            octets: [field.name, field.value].concat().into(),
            name: field.name.len(),
            sound: field.sound,
        }
    }

    fn field(&self) -> Field<'_> {
        let (name, value) = self.octets.split_at(self.name);
        let sound = self.sound;
        Field { name, value, sound }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            limit: TABLE_SIZE,
        }
    }
}

impl Table {
    /// Reads a block, field by field, until `take` says that it is enough. `is_sound` is asked once for each field
    /// that a block spells out, and told whether the name is that of a field which is sound.
    ///
    /// # Errors
    /// The block is garbled.
    pub(super) fn read(
        &mut self,
        mut block: &[u8],
        is_sound: impl Fn(&[u8], &[u8], bool) -> bool,
        mut take: impl FnMut(Field<'_>) -> bool,
    ) -> Result<(), Garbled> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        while let Some(first) = block.first().copied() {
            let prefix = match first {
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    let field = self.get(index, &is_sound)?;
                    if !take(field) {
                        break;
                    }
                    continue;
                }
                0x40.. => 6,
                0x20.. => {
                    let limit = integer(&mut block, 5)?;
                    self.resize(limit)?;
                    continue;
                }
                _ => 4,
            };
            let (name, known) = match integer(&mut block, prefix)? {
                0 => (string(&mut block, &mut names)?, false),
                index => self.name(index)?,
            };
            let value = string(&mut block, &mut values)?;
            let sound = is_sound(name, value, known);
            let field = Field { name, value, sound };
            let entry = (prefix == 6).then(|| Entry::new(&field));
            let goes_on = take(field);
            if let Some(entry) = entry {
                self.add(entry);
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn get(
        &self,
        index: usize,
        is_sound: impl Fn(&[u8], &[u8], bool) -> bool,
    ) -> Result<Field<'_>, Garbled> {
        let index = index.checked_sub(1).ok_or(Garbled)?;
        match STATIC.get(index) {
            Some((name, value)) => {
                let (name, value) = (name.as_bytes(), value.as_bytes());
                let sound = is_sound(name, value, true);
                Ok(Field { name, value, sound })
            }
            None => {
                let entry = self.entries.get(index - STATIC.len());
                entry.map(Entry::field).ok_or(Garbled)
            }
        }
    }

    /// A field's name, and whether the field is sound.
    fn name(&self, index: usize) -> Result<(&[u8], bool), Garbled> {
        let field = self.get(index, |_, _, _| true)?;
        Ok((field.name, field.sound))
    }

    fn add(&mut self, entry: Entry) {
        self.size += entry.field().size();
        self.entries.push_front(entry);
        self.evict();
    }

    fn resize(&mut self, limit: usize) -> Result<(), Garbled> {
        if limit > TABLE_SIZE {
            return Err(Garbled);
        }
        self.limit = limit;
        self.evict();
        Ok(())
    }

    fn evict(&mut self) {
        while self.size > self.limit
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.field().size();
        }
    }
}

/// RFC 7541 section 5.1.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Garbled> {
    let mask = (1_u8 << prefix) - 1;
    let (first, mut rest) = block.split_first().ok_or(Garbled)?;
    let mut number = usize::from(first & mask);
    if number == usize::from(mask) {
        let mut shift = 0;
        loop {
            let (octet, after) = rest.split_first().ok_or(Garbled)?;
            rest = after;
            number += usize::from(octet & 0x7f) << shift;
            shift += 7;
            if number > MAX_INTEGER || shift > 28 {
                return Err(Garbled);
            }
            if octet & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(number)
}

/// RFC 7541 section 5.2. A coded string is decoded into `room`.
fn string<'r, 'b: 'r>(block: &mut &'b [u8], room: &'r mut Vec<u8>) -> Result<&'r [u8], Garbled> {
    let coded = block.first().ok_or(Garbled)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (octets, rest) = block.split_at_checked(length).ok_or(Garbled)?;
    *block = rest;
    if !coded {
        return Ok(octets);
    }
    room.clear();
    huffman::decode(octets, room).ok_or(Garbled)?;
    Ok(room)
}

/// Writes a field so that nothing is remembered of it (RFC 7541 section 6.2.2).
pub(super) fn write(field: &Field<'_>, into: &mut Vec<u8>) {
    into.push(0);
    for octets in [field.name, field.value] {
        write_integer(octets.len(), into);
        into.extend_from_slice(octets);
    }
}

/// With a prefix of seven bits.
fn write_integer(number: usize, into: &mut Vec<u8>) {
    let Some(mut rest) = number.checked_sub(127) else {
        into.push(u8::try_from(number).unwrap_or(0));
        return;
    };
    into.push(127);
    while rest >= 128 {
        into.push(u8::try_from(rest % 128).unwrap_or(0) | 0x80);
        rest /= 128;
    }
    into.push(u8::try_from(rest).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(octet).collect()
    }

    fn read(table: &mut Table, block: &[u8]) -> Result<Vec<(String, String)>, Garbled> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let mut fields = Vec::new();
        let any = |_: &[u8], _: &[u8], _| true;
        table.read(block, any, |field| {
            fields.push((text(field.name), text(field.value)));
            true
        })?;
        Ok(fields)
    }

    #[test]
    fn the_requests_of_rfc_7541_appendix_c_4() {
        let mut table = Table::default();
        for (block, size, last) in [
            (
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                57,
                (":authority", "www.example.com"),
            ),
            (
                "8286 84be 5886 a8eb 1064 9cbf",
                110,
                ("cache-control", "no-cache"),
            ),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                164,
                ("custom-key", "custom-value"),
            ),
        ] {
            let fields = read(&mut table, &bytes(block)).unwrap();
            let (name, value) = fields.last().unwrap();
            assert_eq!((name.as_str(), value.as_str()), last);
            assert_eq!(table.size, size);
            assert!(fields.contains(&(":authority".to_owned(), "www.example.com".to_owned())));
        }
    }

    #[test]
    fn what_is_written_reads_the_same_and_is_not_remembered() {
        let long = "v".repeat(300);
        for (name, value) in [
            ("x-a", "1"),
            ("", ""),
            ("x-long", long.as_str()),
            ("X y", "\r\n"),
        ] {
            let field = Field {
                name: name.as_bytes(),
                value: value.as_bytes(),
                sound: true,
            };
            let mut block = Vec::new();
            write(&field, &mut block);
            let mut table = Table::default();
            let fields = read(&mut table, &block).unwrap();
            assert_eq!(fields, [(name.to_owned(), value.to_owned())]);
            assert_eq!(table.size, 0);
        }
    }

    #[test]
    fn garbled_blocks_are_found() {
        for block in [
            "80",
            "be",
            "3fe21f",
            "40",
            "4003",
            "0085ffffffff",
            "ffffffffffff",
            "7f80808080808001",
        ] {
            assert_eq!(
                read(&mut Table::default(), &bytes(block)),
                Err(Garbled),
                "{block}"
            );
        }
        let mut table = Table::default();
        read(&mut table, &bytes("4001610162 20")).unwrap();
        assert_eq!(
            (table.size, table.entries.len()),
            (0, 0),
            "resized to nothing"
        );
    }
}
