//! What a head says about the framing of its message.

use super::Offence;

/// AWS's limit on the number of headers, and hyper's.
const MAX_HEADERS: usize = 100;

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

/// What is known of the head being read.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) lines: usize,
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    /// A response's; 0 before its first line.
    pub(super) status: u16,
    /// Whether a response is HTTP/1.0.
    pub(super) is_http10: bool,
    /// Whether an interim response's last line was read.
    pub(super) complete: bool,
}

impl Head {
    /// Whether it belongs to an interim response; 101 is none, what follows it is not HTTP.
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// Counts a header line that says nothing of framing, as most do; whether it is one.
    pub(super) fn passes_over(&mut self, line: &[u8]) -> bool {
        let framing = match line[0] {
            b'c' | b'C' => ends_name(line.get(CONTENT_LENGTH.len())),
            b't' | b'T' => ends_name(line.get(TRANSFER_ENCODING.len())),
            first => matches!(first, b' ' | b'\t'),
        };
        let passes = !framing && (1..=MAX_HEADERS).contains(&self.lines);
        self.lines += usize::from(passes);
        passes
    }

    pub(super) fn line(
        &mut self,
        line: &[u8],
        is_cut: bool,
        of_response: bool,
    ) -> Result<(), Offence> {
        self.lines += 1;
        if self.lines == 1 {
            return if of_response {
                self.status_line(line)
            } else {
                Ok(())
            };
        }
        if self.lines - 1 > MAX_HEADERS {
            return Err(Offence::TooManyHeaders);
        }
        match line[0] {
            b' ' | b'\t' => Err(Offence::Whitespace),
            b'c' | b'C' => match value_of(line, CONTENT_LENGTH)? {
                Some(_) if is_cut => Err(Offence::ContentLength),
                Some(value) => self.content_length(value),
                None => Ok(()),
            },
            b't' | b'T' => match value_of(line, TRANSFER_ENCODING)? {
                Some(_) if is_cut => Err(Offence::TransferEncoding),
                Some(value) => self.transfer_encoding(value),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// `HTTP/1.1 200 OK`; the reason may be absent.
    fn status_line(&mut self, line: &[u8]) -> Result<(), Offence> {
        let rest = line.strip_prefix(b"HTTP/1.").ok_or(Offence::StatusLine)?;
        let [minor @ (b'0' | b'1'), b' ', a, b, c, rest @ ..] = rest else {
            return Err(Offence::StatusLine);
        };
        let digits = [*a, *b, *c];
        if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest, [] | [b' ', ..]) {
            return Err(Offence::StatusLine);
        }
        self.is_http10 = *minor == b'0';
        self.status = digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        if self.status < 100 {
            return Err(Offence::StatusLine);
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Offence> {
        if self.chunked {
            return Err(Offence::BothLengths);
        }
        let length = decimal(value).filter(|_| self.content_length.is_none());
        self.content_length = Some(length.ok_or(Offence::ContentLength)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Offence> {
        if self.content_length.is_some() {
            return Err(Offence::BothLengths);
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Offence::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }
}

/// Whether a name may end before this octet, which tells most lines from one of that name's length.
fn ends_name(next: Option<&u8>) -> bool {
    matches!(next, Some(b':' | b' ' | b'\t'))
}

/// The value of a header line if the line has this (lower-case) name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, Offence> {
    let Some((start, rest)) = line.split_at_checked(name.len()) else {
        return Ok(None);
    };
    match rest.first() {
        next if !ends_name(next) || !start.eq_ignore_ascii_case(name) => Ok(None),
        Some(b':') => Ok(Some(trim(&rest[1..]))),
        Some(b' ' | b'\t') => Err(Offence::Whitespace),
        _ => Ok(None),
    }
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}
