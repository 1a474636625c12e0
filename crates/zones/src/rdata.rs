//! Converts values from the API's text to wire format. Each value is encoded once, when its zone is compiled.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::name::next_octet;
use crate::{Kind, Name};

/// The largest RDATA, in octets.
const LARGEST: usize = 65_535;

/// The text is not a value of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a value of type {kind}: {reason}")]
pub struct InvalidValue {
    /// The type.
    pub kind: Kind,
    /// The first characters of the text.
    pub text: String,
    /// The reason, for the caller to read.
    pub reason: String,
}

/// A record's value.
#[derive(Debug, PartialEq, Eq)]
pub struct Value {
    /// The text as in the API.
    pub text: Arc<str>,
    /// The RDATA in wire format, without compression.
    pub wire: Box<[u8]>,
    /// The target name of a CNAME, NS, PTR, MX or SRV value.
    pub target: Option<Name>,
}

impl Value {
    /// Parses a value in the form of Route 53's API.
    ///
    /// # Errors
    /// When the text is not a value of this type.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, InvalidValue> {
        let refuse = |reason: String| InvalidValue {
            kind,
            text: text.chars().take(80).collect(),
            reason,
        };
        let words = words(text).map_err(refuse)?;
        let mut writer = Writer {
            words: words.into_iter(),
            wire: Vec::new(),
            target: None,
        };
        writer.value(kind).map_err(refuse)?;
        if writer.words.next().is_some() {
            return Err(refuse("there is more than belongs to it".into()));
        }
        if writer.wire.len() > LARGEST {
            return Err(refuse("it is too long".into()));
        }
        Ok(Self {
            text: text.into(),
            wire: writer.wire.into(),
            target: writer.target,
        })
    }

    pub(crate) fn address(address: Ipv4Addr) -> Self {
        Self {
            text: address.to_string().into(),
            wire: address.octets().into(),
            target: None,
        }
    }

    pub(crate) fn hinfo_of_any() -> Self {
        Self {
            text: "\"RFC8482\" \"\"".into(),
            wire: b"\x07RFC8482\x00"[..].into(),
            target: None,
        }
    }
}

/// A word: its octets, and whether it was quoted.
#[derive(Debug)]
struct Word {
    octets: Vec<u8>,
    /// The text with its escapes, for numbers and for names, which parse escapes themselves.
    raw: String,
    quoted: bool,
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words: Vec<Word> = Vec::new();
    let mut rest = text.trim_ascii().as_bytes();
    while !rest.is_empty() {
        let quoted = rest[0] == b'"';
        if quoted {
            rest = &rest[1..];
        }
        let (word, tail) = word(rest, quoted)?;
        words.push(word);
        rest = tail.trim_ascii_start();
    }
    Ok(words)
}

fn word(mut rest: &[u8], quoted: bool) -> Result<(Word, &[u8]), String> {
    let begin = rest;
    let mut octets = Vec::new();
    let mut closed = !quoted;
    while let Some((octet, literal, tail)) = next_octet(rest).map_err(|error| error.to_string())? {
        if !literal && quoted && octet == b'"' {
            closed = true;
            break;
        }
        if !literal && !quoted && octet.is_ascii_whitespace() {
            break;
        }
        octets.push(octet);
        rest = tail;
    }
    if !closed {
        return Err("a quotation mark is not closed".into());
    }
    let raw = String::from_utf8_lossy(&begin[..begin.len() - rest.len()]).into_owned();
    let rest = if quoted {
        rest.get(1..).unwrap_or(&[])
    } else {
        rest
    };
    let word = Word {
        octets,
        raw,
        quoted,
    };
    Ok((word, rest))
}

type Done = Result<(), String>;

struct Writer {
    words: std::vec::IntoIter<Word>,
    wire: Vec<u8>,
    target: Option<Name>,
}

impl Writer {
    fn value(&mut self, kind: Kind) -> Done {
        match kind {
            Kind::A => self.address::<Ipv4Addr>("an IPv4 address", |a| a.octets().to_vec()),
            Kind::AAAA => self.address::<Ipv6Addr>("an IPv6 address", |a| a.octets().to_vec()),
            Kind::NS | Kind::CNAME | Kind::PTR => self.target(),
            Kind::MX => self
                .number::<u16>("preference")
                .and_then(|()| self.target()),
            Kind::SRV => {
                for what in ["priority", "weight", "port"] {
                    self.number::<u16>(what)?;
                }
                self.target()
            }
            Kind::SOA => self.soa(),
            Kind::TXT | Kind::SPF => self.strings(),
            Kind::CAA => self.caa(),
            Kind::NAPTR => self.naptr(),
            Kind::DS => {
                self.number::<u16>("key tag")?;
                self.number::<u8>("algorithm")?;
                self.number::<u8>("digest type")?;
                self.hex()
            }
            Kind::SSHFP => {
                self.number::<u8>("algorithm")?;
                self.number::<u8>("fingerprint type")?;
                self.hex()
            }
            Kind::TLSA => {
                for what in ["usage", "selector", "matching type"] {
                    self.number::<u8>(what)?;
                }
                self.hex()
            }
            Kind::SVCB | Kind::HTTPS => self.service_binding(),
            _ => Err("the type has no text form".into()),
        }
    }

    fn word(&mut self, what: &str) -> Result<Word, String> {
        self.words
            .next()
            .ok_or_else(|| format!("{what} is missing"))
    }

    fn number<T: FromStr + ToBytes>(&mut self, what: &str) -> Done {
        let word = self.word(what)?;
        let digits = word.raw.bytes().all(|b| b.is_ascii_digit());
        let number: T = word
            .raw
            .parse()
            .ok()
            .filter(|_| digits && !word.quoted)
            .ok_or_else(|| format!("{what} is not a number in range"))?;
        number.write(&mut self.wire);
        Ok(())
    }

    fn address<T: FromStr>(&mut self, what: &str, octets: fn(T) -> Vec<u8>) -> Done {
        let word = self.word(what)?;
        let address = word.raw.parse().map_err(|_| format!("it is not {what}"))?;
        self.wire.extend(octets(address));
        Ok(())
    }

    fn name(&mut self) -> Result<Name, String> {
        let word = self.word("a name")?;
        let name = Name::from_text(&word.raw).map_err(|error| error.to_string())?;
        self.wire.extend(name.as_wire());
        Ok(name)
    }

    fn target(&mut self) -> Done {
        self.target = Some(self.name()?);
        Ok(())
    }

    fn soa(&mut self) -> Done {
        self.name()?;
        self.name()?;
        for what in ["serial", "refresh", "retry", "expire", "minimum"] {
            self.number::<u32>(what)?;
        }
        Ok(())
    }

    fn string(&mut self, octets: &[u8]) -> Done {
        let length = u8::try_from(octets.len()).map_err(|_| "a string is longer than 255")?;
        self.wire.push(length);
        self.wire.extend(octets);
        Ok(())
    }

    fn strings(&mut self) -> Done {
        let first = self.word("a string")?;
        for word in std::iter::once(first).chain(self.words.by_ref().collect::<Vec<_>>()) {
            if !word.quoted {
                return Err("a string is not in quotation marks".into());
            }
            self.string(&word.octets)?;
        }
        Ok(())
    }

    fn caa(&mut self) -> Done {
        self.number::<u8>("flags")?;
        let tag = self.word("a tag")?;
        if tag.octets.is_empty() || !tag.octets.iter().all(u8::is_ascii_alphanumeric) {
            return Err("the tag is not letters and digits".into());
        }
        self.string(&tag.octets)?;
        let value = self.word("a value")?;
        if !value.quoted {
            return Err("the value is not in quotation marks".into());
        }
        self.wire.extend(value.octets);
        Ok(())
    }

    fn naptr(&mut self) -> Done {
        self.number::<u16>("order")?;
        self.number::<u16>("preference")?;
        for what in ["flags", "service", "a regular expression"] {
            let word = self.word(what)?;
            if !word.quoted {
                return Err(format!("{what} must be in quotation marks"));
            }
            self.string(&word.octets)?;
        }
        self.name().map(drop)
    }

    fn hex(&mut self) -> Done {
        let digits: Vec<u8> = self.words.by_ref().flat_map(|word| word.octets).collect();
        let whole = !digits.is_empty() && digits.len().is_multiple_of(2);
        if !whole || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("it does not end in pairs of hexadecimal digits".into());
        }
        for pair in digits.chunks_exact(2) {
            let digit = |octet: u8| char::from(octet).to_digit(16).unwrap_or(0) as u8;
            self.wire.push(digit(pair[0]) << 4 | digit(pair[1]));
        }
        Ok(())
    }

    /// RFC 9460, 2.1: `priority target key=value ...`; keys are encoded in ascending order.
    fn service_binding(&mut self) -> Done {
        self.number::<u16>("priority")?;
        self.name()?;
        let mut parameters = std::collections::BTreeMap::new();
        for word in self.words.by_ref().collect::<Vec<_>>() {
            let (key, value) = parameter(&word)?;
            if parameters.insert(key, value).is_some() {
                return Err("a parameter stands twice".into());
            }
        }
        for (key, value) in parameters {
            let length = u16::try_from(value.len()).map_err(|_| "a parameter is too long")?;
            self.wire.extend(key.to_be_bytes());
            self.wire.extend(length.to_be_bytes());
            self.wire.extend(value);
        }
        Ok(())
    }
}

const PARAMETERS: [&str; 7] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
];

fn parameter_key(name: &str) -> Result<u16, String> {
    let known = PARAMETERS.iter().position(|known| *known == name);
    known
        .and_then(|place| u16::try_from(place).ok())
        .or_else(|| name.strip_prefix("key")?.parse().ok())
        .ok_or_else(|| format!("{name} is not a known parameter"))
}

fn parameter(word: &Word) -> Result<(u16, Vec<u8>), String> {
    let (name, value) = word.raw.split_once('=').unwrap_or((&word.raw, ""));
    let key = parameter_key(name)?;
    let value = value.trim_matches('"');
    let items = || value.split(',').filter(|item| !item.is_empty());
    let mut wire = Vec::new();
    let wrong = || format!("the value of {name} is wrong");
    match key {
        0 => {
            for item in items() {
                wire.extend(parameter_key(item)?.to_be_bytes());
            }
        }
        1 => {
            for item in items() {
                wire.push(u8::try_from(item.len()).map_err(|_| wrong())?);
                wire.extend(item.bytes());
            }
        }
        2 if value.is_empty() => {}
        2 => return Err(wrong()),
        3 => wire.extend(value.parse::<u16>().map_err(|_| wrong())?.to_be_bytes()),
        4 => {
            for item in items() {
                wire.extend(item.parse::<Ipv4Addr>().map_err(|_| wrong())?.octets());
            }
        }
        5 => wire = base64(value).ok_or_else(wrong)?,
        6 => {
            for item in items() {
                wire.extend(item.parse::<Ipv6Addr>().map_err(|_| wrong())?.octets());
            }
        }
        _ => wire.extend(value.bytes()),
    }
    let needs_value = !matches!(key, 2 | 7..);
    if needs_value && wire.is_empty() {
        return Err(wrong());
    }
    Ok((key, wire))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = (0_u32, 0);
    let mut octets = Vec::new();
    for letter in text.trim_end_matches('=').bytes() {
        let value = LETTERS.iter().position(|known| *known == letter)?;
        bits = (bits.0 << 6 | value as u32, bits.1 + 6);
        if bits.1 >= 8 {
            bits.1 -= 8;
            octets.push((bits.0 >> bits.1) as u8);
            bits.0 &= (1 << bits.1) - 1;
        }
    }
    Some(octets)
}

trait ToBytes {
    fn write(self, wire: &mut Vec<u8>);
}

macro_rules! to_bytes {
    ($($number:ty),*) => {$(impl ToBytes for $number {
        fn write(self, wire: &mut Vec<u8>) {
            wire.extend(self.to_be_bytes());
        }
    })*};
}

to_bytes!(u8, u16, u32);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(kind: &str, text: &str) -> Option<Vec<u8>> {
        Value::parse(kind.parse().unwrap(), text)
            .ok()
            .map(|value| value.wire.to_vec())
    }

    #[test]
    fn values_become_wire_format() {
        for (kind, text, want) in [
            ("A", "192.0.2.1", Some(&[192, 0, 2, 1][..])),
            ("A", "192.0.2.256", None),
            ("A", "192.0.2.1 192.0.2.2", None),
            ("A", "", None),
            (
                "AAAA",
                "::1",
                Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            ),
            ("CNAME", "A.b.", Some(b"\x01a\x01b\x00")),
            ("MX", "10 m.b", Some(b"\x00\x0a\x01m\x01b\x00")),
            ("MX", "m.b", None),
            ("MX", "65536 m.b", None),
            ("SRV", "1 2 3 t", Some(b"\x00\x01\x00\x02\x00\x03\x01t\x00")),
            ("TXT", "\"a b\" \"c\"", Some(b"\x03a b\x01c")),
            ("TXT", "\"\\101\\\"\"", Some(b"\x02A\"")),
            ("TXT", "\"\"", Some(b"\x00")),
            ("TXT", "plain", None),
            ("TXT", "\"open", None),
            (
                "CAA",
                "0 issue \"ca.example\"",
                Some(b"\x00\x05issueca.example"),
            ),
            ("CAA", "0 issue ca.example", None),
            ("DS", "1 2 3 0aFF", Some(&[0, 1, 2, 3, 0x0a, 0xff])),
            ("DS", "1 2 3 abc", None),
            ("SSHFP", "1 2 ab", Some(&[1, 2, 0xab])),
            ("TLSA", "3 1 1 ab cd", Some(&[3, 1, 1, 0xab, 0xcd])),
            (
                "NAPTR",
                "1 2 \"u\" \"s\" \"\" .",
                Some(b"\x00\x01\x00\x02\x01u\x01s\x00\x00"),
            ),
            (
                "HTTPS",
                "1 . port=443 alpn=\"h2,h3\"",
                Some(b"\x00\x01\x00\x00\x01\x00\x06\x02h2\x02h3\x00\x03\x00\x02\x01\xbb"),
            ),
            ("HTTPS", "1 . port=x", None),
            (
                "SVCB",
                "1 . ech=AQID",
                Some(b"\x00\x01\x00\x00\x05\x00\x03\x01\x02\x03"),
            ),
            (
                "SOA",
                "a. b. 1 2 3 4 5",
                Some(b"\x01a\x00\x01b\x00\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05"),
            ),
        ] {
            assert_eq!(wire(kind, text).as_deref(), want, "{kind} {text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_brings_it_down(text in "[ -~]{0,80}", kind in 1u16..260) {
            let _ = Value::parse(Kind(kind), &text);
        }
    }
}
