//! PEM (RFC 7468), as callers send it: bounded, with white space around blocks and text between them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The most bytes that are read.
const LONGEST: usize = 2 << 20;
/// The most blocks.
const MOST: usize = 128;
/// Characters in a line.
const WIDTH: usize = 64;

/// What stands between two marks.
pub struct Block {
    /// Such as `CERTIFICATE`.
    pub label: String,
    /// Whether there are headers, such as those of old encrypted keys.
    pub has_headers: bool,
    /// The bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// The blocks in a text; `None` if one is malformed, or there are too many.
pub fn blocks(text: &[u8]) -> Option<Vec<Block>> {
    if text.len() > LONGEST {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = mark(line, "-----BEGIN ") else {
            continue;
        };
        let mut body = Zeroizing::new(String::new());
        let mut has_headers = false;
        loop {
            let line = lines.next()?;
            if let Some(end) = mark(line, "-----END ") {
                if end != label {
                    return None;
                }
                break;
            }
            if line.contains(':') {
                has_headers = true;
            } else {
                body.push_str(line);
            }
        }
        // What is encrypted is no base64 of DER that anybody reads here.
        let bytes = if has_headers {
            Vec::new()
        } else {
            STANDARD.decode(body.as_bytes()).ok()?
        };
        if found.len() == MOST {
            return None;
        }
        found.push(Block {
            label: label.to_owned(),
            has_headers,
            bytes: Zeroizing::new(bytes),
        });
    }
    Some(found)
}

fn mark<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}

/// A block as text, lines of 64 characters.
pub fn encode(label: &str, bytes: &[u8]) -> String {
    let base64 = Zeroizing::new(STANDARD.encode(bytes));
    // Grown once: a text that moves leaves its bytes behind.
    let mut text =
        String::with_capacity(base64.len() + base64.len() / WIDTH + 64 + 2 * label.len());
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in base64.as_bytes().chunks(WIDTH) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let one = encode("CERTIFICATE", &[7; 100]);
        let text = format!("subject: x\r\n{}\n\n{one}", one.replace('\n', "\r\n"));
        let found = blocks(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|it| it.bytes.as_slice() == [7; 100] && it.label == "CERTIFICATE")
        );
    }

    #[test]
    fn malformed_text_is_none() {
        for bad in [
            "-----BEGIN A-----\nAAAA\n",
            "-----BEGIN A-----\nAAAA\n-----END B-----\n",
            "-----BEGIN A-----\nA!AA\n-----END A-----\n",
        ] {
            assert!(blocks(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(blocks(&[0xff, 0xfe]).is_none());
        assert!(blocks(&vec![b' '; LONGEST + 1]).is_none());
        assert!(blocks(encode("A", b"x").repeat(MOST + 1).as_bytes()).is_none());
        assert!(blocks(b"").unwrap().is_empty());
    }
}
