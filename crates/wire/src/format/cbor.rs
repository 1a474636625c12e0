//! CBOR (RFC 8949), as much of it as Smithy's rpc-v2-cbor uses.

use lath_model::Timestamp;

use crate::Doc;
use crate::limits::{Budget, Malformed};
use crate::moment;

/// Reads one data item. An empty text is an empty structure.
///
/// # Errors
/// Malformed bytes, or more than the caps allow.
pub fn read(bytes: &[u8]) -> Result<Doc, Malformed> {
    if bytes.is_empty() {
        return Ok(Doc::empty());
    }
    let mut reader = Reader {
        rest: bytes,
        budget: Budget::new(),
    };
    let doc = reader.item(0)?;
    if reader.rest.is_empty() {
        Ok(doc)
    } else {
        Err(bad("something follows the data item"))
    }
}

fn bad(what: &str) -> Malformed {
    Malformed::new(format!("the body is not valid CBOR: {what}"))
}

struct Reader<'a> {
    rest: &'a [u8],
    budget: Budget,
}

/// The first byte of an item, split (RFC 8949 section 3).
#[derive(Clone, Copy)]
struct Head {
    major: u8,
    info: u8,
}

const INDEFINITE: u8 = 31;

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| bad("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, Malformed> {
        let first = self.take(1)?[0];
        Ok(Head {
            major: first >> 5,
            info: first & 31,
        })
    }

    fn argument(&mut self, head: Head) -> Result<u64, Malformed> {
        let size = match head.info {
            direct @ 0..=23 => return Ok(u64::from(direct)),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(bad("a reserved length")),
        };
        let bytes = self.take(size)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn item(&mut self, depth: usize) -> Result<Doc, Malformed> {
        let head = self.head()?;
        self.item_of(head, depth)
    }

    fn item_of(&mut self, head: Head, depth: usize) -> Result<Doc, Malformed> {
        self.budget.take(depth)?;
        match head.major {
            0 => Ok(unsigned(self.argument(head)?)),
            1 => Ok(negative(self.argument(head)?)),
            2 => self.string(head).map(Doc::Blob),
            3 => self.text(head).map(Doc::String),
            4 => self.list(head, depth),
            5 => self.map(head, depth),
            6 => self.tagged(head, depth),
            _ => self.simple(head),
        }
    }

    /// The bytes of a byte or text string, whole or in chunks.
    fn string(&mut self, head: Head) -> Result<Vec<u8>, Malformed> {
        if head.info != INDEFINITE {
            let length = self.argument(head)?;
            return self
                .take(usize::try_from(length).unwrap_or(usize::MAX))
                .map(<[u8]>::to_vec);
        }
        let mut whole = Vec::new();
        while let Some(chunk) = self.next_head()? {
            if chunk.major != head.major || chunk.info == INDEFINITE {
                return Err(bad("a chunk of another type"));
            }
            let length = self.argument(chunk)?;
            whole.extend_from_slice(self.take(usize::try_from(length).unwrap_or(usize::MAX))?);
        }
        Ok(whole)
    }

    fn text(&mut self, head: Head) -> Result<String, Malformed> {
        String::from_utf8(self.string(head)?).map_err(|_| bad("text that is not UTF-8"))
    }

    /// The head of the next item of an indefinite one, or nothing at its break.
    fn next_head(&mut self) -> Result<Option<Head>, Malformed> {
        let head = self.head()?;
        let is_break = head.major == 7 && head.info == INDEFINITE;
        Ok((!is_break).then_some(head))
    }

    /// Heads of the members of a list or map until its end.
    fn more(&mut self, left: &mut Option<u64>) -> Result<Option<Head>, Malformed> {
        match left {
            None => self.next_head(),
            Some(0) => Ok(None),
            Some(count) => {
                *count -= 1;
                self.head().map(Some)
            }
        }
    }

    fn count(&mut self, head: Head) -> Result<Option<u64>, Malformed> {
        if head.info == INDEFINITE {
            Ok(None)
        } else {
            self.argument(head).map(Some)
        }
    }

    fn list(&mut self, head: Head, depth: usize) -> Result<Doc, Malformed> {
        let mut left = self.count(head)?;
        let mut items = Vec::new();
        while let Some(head) = self.more(&mut left)? {
            items.push(self.item_of(head, depth + 1)?);
        }
        Ok(Doc::List(items))
    }

    fn map(&mut self, head: Head, depth: usize) -> Result<Doc, Malformed> {
        let mut left = self.count(head)?;
        let mut members = Vec::new();
        while let Some(head) = self.more(&mut left)? {
            if head.major != 3 {
                return Err(bad("a key that is not text"));
            }
            members.push((self.text(head)?, self.item(depth + 1)?));
        }
        Ok(Doc::Map(members))
    }

    fn tagged(&mut self, head: Head, depth: usize) -> Result<Doc, Malformed> {
        let tag = self.argument(head)?;
        let inner = self.item(depth + 1)?;
        match (tag, inner) {
            (1, Doc::Int(seconds)) => seconds
                .checked_mul(1000)
                .map(|millis| Doc::Timestamp(Timestamp::from_millis(millis)))
                .ok_or_else(|| bad("a timestamp out of range")),
            (1, Doc::Float(seconds)) => moment::from_seconds(seconds)
                .map(Doc::Timestamp)
                .ok_or_else(|| bad("a timestamp out of range")),
            (1, _) => Err(bad("a timestamp that is not a number")),
            (_, inner) => Ok(inner),
        }
    }

    fn simple(&mut self, head: Head) -> Result<Doc, Malformed> {
        match head.info {
            20 => Ok(Doc::Bool(false)),
            21 => Ok(Doc::Bool(true)),
            22 | 23 => Ok(Doc::Null),
            25 => Ok(Doc::Float(half(self.fixed()?))),
            26 => Ok(Doc::Float(f64::from(f32::from_be_bytes(self.fixed()?)))),
            27 => Ok(Doc::Float(f64::from_be_bytes(self.fixed()?))),
            _ => Err(bad("an unknown simple value")),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "past 2^63 a float is the nearest there is"
)]
fn unsigned(number: u64) -> Doc {
    i64::try_from(number).map_or(Doc::Float(number as f64), Doc::Int)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "below -2^63 a float is the nearest there is"
)]
fn negative(number: u64) -> Doc {
    i64::try_from(number).map_or_else(|_| Doc::Float(-1.0 - number as f64), |n| Doc::Int(-1 - n))
}

/// RFC 8949 appendix D.
fn half(bytes: [u8; 2]) -> f64 {
    let bits = u16::from_be_bytes(bytes);
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

/// Prints a tree. All lengths are definite, all numbers as short as they can be.
pub fn write(doc: &Doc) -> Vec<u8> {
    let mut out = Vec::new();
    item(&mut out, doc);
    out
}

fn item(out: &mut Vec<u8>, doc: &Doc) {
    match doc {
        Doc::Null => out.push(0xf6),
        Doc::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Doc::Int(number) => integer(out, *number),
        Doc::Float(number) => float(out, *number),
        Doc::String(text) | Doc::Text(text) => {
            head(out, 3, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        Doc::Blob(bytes) => {
            head(out, 2, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Doc::Timestamp(moment) => timestamp(out, *moment),
        Doc::List(items) => {
            head(out, 4, items.len() as u64);
            items.iter().for_each(|each| item(out, each));
        }
        Doc::Map(members) => {
            head(out, 5, members.len() as u64);
            for (name, member) in members {
                item(out, &Doc::String(name.clone()));
                item(out, member);
            }
        }
    }
}

fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

fn integer(out: &mut Vec<u8>, number: i64) {
    if number >= 0 {
        head(out, 0, number.unsigned_abs());
    } else {
        head(out, 1, number.unsigned_abs() - 1);
    }
}

fn float(out: &mut Vec<u8>, number: f64) {
    out.push(0xfb);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Tag 1 around seconds since the epoch: an integer where there is no fraction.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of any real date fit a double"
)]
fn timestamp(out: &mut Vec<u8>, moment: Timestamp) {
    out.push(0xc1);
    let millis = moment.as_millis();
    if millis % 1000 == 0 {
        integer(out, millis / 1000);
    } else {
        float(out, millis as f64 / 1000.0);
    }
}
