use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name in wire format, in octets (RFC 1035, 3.1).
const LONGEST: usize = 255;

/// The longest label, in octets.
const LABEL: usize = 63;

/// The text is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name: {0}")]
pub struct InvalidName(&'static str);

/// A domain name, fully qualified, in lower case and uncompressed wire format.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Parses text with or without a trailing dot. `\ooo` is an octet in octal and `\x` the character `x`, as
    /// in Route 53's API. The empty text and `.` are the root.
    ///
    /// # Errors
    /// Empty or long labels, names of more than 255 octets, unfinished escapes.
    pub fn from_text(text: &str) -> Result<Self, InvalidName> {
        let mut wire = vec![0];
        let mut start = 0;
        let mut rest = if text == "." { "" } else { text }.as_bytes();
        while let Some((octet, literal, tail)) = next_octet(rest)? {
            rest = tail;
            if octet == b'.' && !literal {
                close_label(&mut wire, start)?;
                start = wire.len();
                wire.push(0);
            } else if wire.len() > LONGEST {
                return Err(InvalidName("it is longer than 255 octets"));
            } else {
                wire.push(octet.to_ascii_lowercase());
            }
        }
        if wire.len() > start + 1 {
            close_label(&mut wire, start)?;
            wire.push(0);
        }
        if wire.len() > LONGEST {
            return Err(InvalidName("it is longer than 255 octets"));
        }
        Ok(Self(wire.into()))
    }

    /// Parses an uncompressed name that fills `wire` exactly; letters become lower case.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            match usize::from(*wire.get(at)?) {
                0 => break,
                length if length > LABEL => return None,
                length => at += length + 1,
            }
        }
        (at + 1 == wire.len() && wire.len() <= LONGEST)
            .then(|| Self(wire.iter().map(u8::to_ascii_lowercase).collect()))
    }

    /// The uncompressed wire format.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `zone` or a name below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        suffixes(&self.0).any(|suffix| suffix == &*zone.0)
    }

    /// The wildcard name below `parent`: `*.PARENT`.
    pub(crate) fn wildcard_below(parent: &[u8]) -> Option<Self> {
        let wire = [b"\x01*", parent].concat();
        (wire.len() <= LONGEST).then(|| Self(wire.into()))
    }

    pub(crate) fn from_lower_wire(wire: &[u8]) -> Self {
        Self(wire.into())
    }

    /// The name as text without the trailing dot.
    pub fn without_dot(&self) -> String {
        let mut text = self.to_string();
        text.pop();
        text
    }
}

/// The name, its parent, and so on to the root.
pub(crate) fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(wire);
    std::iter::from_fn(move || {
        let this = rest?;
        rest = match this.first() {
            None | Some(0) => None,
            Some(length) => this.get(usize::from(*length) + 1..),
        };
        (!this.is_empty()).then_some(this)
    })
}

fn close_label(wire: &mut [u8], start: usize) -> Result<(), InvalidName> {
    let length = wire.len() - start - 1;
    if length == 0 {
        return Err(InvalidName("a label is empty"));
    }
    match u8::try_from(length) {
        Ok(short) if length <= LABEL => wire[start] = short,
        _ => return Err(InvalidName("a label is longer than 63 octets")),
    }
    Ok(())
}

type Octet<'a> = Option<(u8, bool, &'a [u8])>;

/// The next octet, whether it was escaped, and the rest of the text.
pub(crate) fn next_octet(text: &[u8]) -> Result<Octet<'_>, InvalidName> {
    match text {
        [] => Ok(None),
        [
            b'\\',
            a @ b'0'..=b'3',
            b @ b'0'..=b'7',
            c @ b'0'..=b'7',
            rest @ ..,
        ] => {
            let digit = |octet: &u8| octet - b'0';
            Ok(Some((digit(a) * 64 + digit(b) * 8 + digit(c), true, rest)))
        }
        [b'\\'] => Err(InvalidName("an escape is not finished")),
        [b'\\', octet, rest @ ..] => Ok(Some((*octet, true, rest))),
        [octet, rest @ ..] => Ok(Some((*octet, false, rest))),
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    /// Prints the form of Route 53's API: with a trailing dot, and everything but `[a-z0-9-_]` in octal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for label in suffixes(&self.0) {
            let Some((length, rest)) = label.split_first() else {
                continue;
            };
            let Some(octets) = rest.get(..usize::from(*length)).filter(|o| !o.is_empty()) else {
                continue;
            };
            for octet in octets {
                match octet {
                    b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => write!(f, "{}", char::from(*octet))?,
                    octet => write!(f, "\\{octet:03o}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_wire_and_text_again() {
        for (text, want) in [
            ("example.com", Some("example.com.")),
            ("Example.COM.", Some("example.com.")),
            (".", Some(".")),
            ("", Some(".")),
            ("*.example.com", Some("\\052.example.com.")),
            ("\\052.example.com.", Some("\\052.example.com.")),
            ("a\\.b.c", Some("a\\056b.c.")),
            ("_x-1.c", Some("_x-1.c.")),
            ("a..b", None),
            (".a", None),
            ("a\\", None),
        ] {
            let found = Name::from_text(text).ok().map(|name| name.to_string());
            assert_eq!(found.as_deref(), want, "{text:?}");
        }
        assert!(Name::from_text(&"a".repeat(64)).is_err());
        assert!(Name::from_text(&"a".repeat(63)).is_ok());
        assert!(Name::from_text(&"a.".repeat(127)).is_ok());
        assert!(Name::from_text(&"a.".repeat(128)).is_err());
    }

    #[test]
    fn wire_must_be_whole() {
        for (wire, want) in [
            (&b"\x03wEb\x00"[..], Some("web.")),
            (b"\x00", Some(".")),
            (b"", None),
            (b"\x03web", None),
            (b"\x03web\x00\x00", None),
            (b"\xc0\x0c", None),
        ] {
            let found = Name::from_wire(wire).map(|name| name.to_string());
            assert_eq!(found.as_deref(), want, "{wire:?}");
        }
    }
}
