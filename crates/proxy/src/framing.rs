//! The guard in front of hyper: HTTP/1.1 framing without tolerance.
//!
//! RFC 9112 lets a recipient repair much (bare line feeds, repeated Content-Length, Content-Length beside
//! Transfer-Encoding). Two parsers that repair differently are a smuggling hole, so what is ambiguous is
//! refused: the guard watches the client's bytes on their way to hyper and, at the first offence,
//! overwrites them with a NUL and empty lines, which hyper answers, in order, with 400 and the end of the
//! connection.

use std::fmt;

/// AWS's limit on a request's headers together.
pub(crate) const MAX_HEAD: usize = 60 * 1024;
/// AWS's limit on their number.
const MAX_HEADERS: usize = 100;
/// The longest line of a chunk's size, extensions included.
const MAX_CHUNK_LINE: usize = 256;
/// The longest trailer section.
const MAX_TRAILERS: usize = 8 * 1024;
/// As much of a line as the guard must see: the longest name it looks for and its value.
const KEPT: usize = 64;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// The head is longer than 60 KB.
    HeadTooLong,
    /// There are more than 100 headers.
    TooManyHeaders,
    /// A line ends with LF alone, or CR stands alone, or there is a NUL.
    LineEnding,
    /// A header line begins with white space (obs-fold), or has some before its colon.
    Whitespace,
    /// Content-Length is not one plain number, or is repeated.
    ContentLength,
    /// Transfer-Encoding is not exactly `chunked`, or is repeated.
    TransferEncoding,
    /// Content-Length and Transfer-Encoding stand side by side.
    BothLengths,
    /// A chunk's size or end is malformed.
    Chunk,
    /// The trailers are too long.
    Trailers,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Follows one connection's requests byte by byte, wherever reads cut them.
#[derive(Debug)]
pub struct Guard {
    state: State,
    line: Line,
    head: Head,
    offence: Option<Offence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the head: the request line and headers.
    Head,
    /// In a body of which this much is left.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    /// After a chunk's data: CR LF.
    ChunkEnd,
    Trailers,
}

/// The line being read.
#[derive(Debug)]
struct Line {
    start: [u8; KEPT],
    length: usize,
    last: u8,
}

/// What is known of the head being read.
#[derive(Debug, Default)]
struct Head {
    length: usize,
    lines: usize,
    content_length: Option<u64>,
    chunked: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            state: State::Head,
            line: Line {
                start: [0; KEPT],
                length: 0,
                last: 0,
            },
            head: Head::default(),
            offence: None,
        }
    }
}

impl Guard {
    /// The first offence, if there was one.
    pub fn offence(&self) -> Option<Offence> {
        self.offence
    }

    /// Whether the last message is complete and nothing of a next one has come; empty lines are nothing.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.state == State::Head
            && self.head.lines == 0
            && self.line.length == 0
            && self.offence.is_none()
    }

    /// Looks at bytes that came from the client, before hyper sees them. From an offence on all of them
    /// are poison.
    pub fn inspect(&mut self, bytes: &mut [u8]) {
        if self.offence.is_some() {
            bytes.fill(b'\n');
            return;
        }
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..]) {
                Ok(taken) => at += taken,
                Err(offence) => {
                    self.offence = Some(offence);
                    // Nowhere is a NUL allowed, and hyper looks at a head only when an empty line ends it.
                    bytes[at..].fill(b'\n');
                    bytes[at] = 0;
                    return;
                }
            }
        }
    }

    /// Takes in some bytes, at least one.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        match self.state {
            State::Body(left) => {
                let (taken, left) = take(left, bytes);
                self.state = if left == 0 {
                    self.next_head()
                } else {
                    State::Body(left)
                };
                Ok(taken)
            }
            State::ChunkData(left) => {
                let (taken, left) = take(left, bytes);
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::ChunkData(left)
                };
                Ok(taken)
            }
            State::Head | State::ChunkSize | State::ChunkEnd | State::Trailers => {
                self.step_line(bytes)
            }
        }
    }

    fn step_line(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        if self.state == State::Head && self.line.length == 0 {
            let taken = self.whole_lines(bytes)?;
            if taken > 0 {
                return Ok(taken);
            }
        }
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.line.push(&bytes[..taken])?;
        self.check_length(taken)?;
        if end.is_some() {
            self.state = self.line_complete()?;
            self.line.length = 0;
            self.line.last = 0;
        }
        Ok(taken)
    }

    /// Takes in the lines of the head that are here from beginning to end, as nearly always all are, without
    /// copying them. Anything odd is left for the way that sees pieces.
    fn whole_lines(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        let mut taken = 0;
        while let Some(length) = memchr::memchr3(b'\r', b'\n', 0, &bytes[taken..]) {
            let end = taken + length;
            if !bytes[end..].starts_with(b"\r\n") || (length == 0 && self.head.lines == 0) {
                break;
            }
            self.head.length += length + 2;
            if self.head.length > MAX_HEAD {
                return Err(Offence::HeadTooLong);
            }
            let line = &bytes[taken..end];
            taken = end + 2;
            if line.is_empty() {
                self.state = self.head_complete();
                break;
            }
            self.head.line(&line[..length.min(KEPT)], length > KEPT)?;
        }
        Ok(taken)
    }

    fn check_length(&mut self, taken: usize) -> Result<(), Offence> {
        match self.state {
            State::Head | State::Trailers => {
                self.head.length += taken;
                match self.state {
                    State::Head if self.head.length > MAX_HEAD => Err(Offence::HeadTooLong),
                    State::Trailers if self.head.length > MAX_TRAILERS => Err(Offence::Trailers),
                    _ => Ok(()),
                }
            }
            State::ChunkEnd if self.line.length > 2 => Err(Offence::Chunk),
            State::ChunkSize if self.line.length > MAX_CHUNK_LINE => Err(Offence::Chunk),
            _ => Ok(()),
        }
    }

    fn line_complete(&mut self) -> Result<State, Offence> {
        let line = self.line.content();
        match self.state {
            State::Head if line.is_empty() && self.head.lines == 0 => {
                // An empty line before the request line is nothing (RFC 9112 section 2.2).
                Ok(State::Head)
            }
            State::Head if line.is_empty() => Ok(self.head_complete()),
            State::Head => self
                .head
                .line(line, self.line.is_cut())
                .map(|()| State::Head),
            State::ChunkSize => match chunk_size(line).ok_or(Offence::Chunk)? {
                0 => {
                    self.head.length = 0;
                    Ok(State::Trailers)
                }
                size => Ok(State::ChunkData(size)),
            },
            State::ChunkEnd if line.is_empty() => Ok(State::ChunkSize),
            State::ChunkEnd => Err(Offence::Chunk),
            State::Trailers if line.is_empty() => Ok(self.next_head()),
            State::Trailers if matches!(line[0], b' ' | b'\t') => Err(Offence::Whitespace),
            State::Trailers => Ok(State::Trailers),
            State::Body(_) | State::ChunkData(_) => Ok(self.state),
        }
    }

    fn head_complete(&mut self) -> State {
        match (self.head.chunked, self.head.content_length) {
            (true, _) => State::ChunkSize,
            (false, Some(length)) if length > 0 => State::Body(length),
            (false, _) => self.next_head(),
        }
    }

    fn next_head(&mut self) -> State {
        self.head = Head::default();
        State::Head
    }
}

fn take(left: u64, bytes: &[u8]) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken, left - taken as u64)
}

impl Line {
    /// Adds a piece of the line; only the last piece ends with LF.
    fn push(&mut self, piece: &[u8]) -> Result<(), Offence> {
        let room = KEPT.saturating_sub(self.length).min(piece.len());
        if room > 0 {
            self.start[self.length..self.length + room].copy_from_slice(&piece[..room]);
        }
        let before = if piece.len() > 1 {
            piece[piece.len() - 2]
        } else {
            self.last
        };
        let ends = piece.last() == Some(&b'\n');
        let inner = &piece[..piece.len() - if ends { 2.min(piece.len()) } else { 1 }];
        // A CR that was last must be followed by LF, and LF must follow CR.
        let broken = self.last == b'\r' && !(ends && piece.len() == 1);
        if broken
            || memchr::memchr2(b'\r', 0, inner).is_some()
            || (ends && before != b'\r')
            || piece.last() == Some(&0)
        {
            return Err(Offence::LineEnding);
        }
        self.length += piece.len();
        self.last = *piece.last().unwrap_or(&0);
        Ok(())
    }

    /// Whether the line is longer than what was kept of it.
    fn is_cut(&self) -> bool {
        self.length.saturating_sub(2) > KEPT
    }

    /// The line without CR LF, as far as it was kept.
    fn content(&self) -> &[u8] {
        &self.start[..self.length.saturating_sub(2).min(KEPT)]
    }
}

impl Head {
    fn line(&mut self, line: &[u8], is_cut: bool) -> Result<(), Offence> {
        self.lines += 1;
        if self.lines == 1 {
            return Ok(());
        }
        if self.lines - 1 > MAX_HEADERS {
            return Err(Offence::TooManyHeaders);
        }
        match line[0] {
            b' ' | b'\t' => Err(Offence::Whitespace),
            b'c' | b'C' => match value_of(line, b"content-length")? {
                Some(_) if is_cut => Err(Offence::ContentLength),
                Some(value) => self.content_length(value),
                None => Ok(()),
            },
            b't' | b'T' => match value_of(line, b"transfer-encoding")? {
                Some(_) if is_cut => Err(Offence::TransferEncoding),
                Some(value) => self.transfer_encoding(value),
                None => Ok(()),
            },
            _ => Ok(()),
        }
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

/// The value of a header line if the line has this (lower-case) name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, Offence> {
    let Some((start, rest)) = line.split_at_checked(name.len()) else {
        return Ok(None);
    };
    if !start.eq_ignore_ascii_case(name) {
        return Ok(None);
    }
    match rest.first() {
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

/// `1a;name=value`: at most fifteen digits, so that no parser overflows.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let ends = matches!(line.get(digits), None | Some(b';'));
    if !(1..=15).contains(&digits) || !ends {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offence(text: &[u8], cut: usize) -> Option<Offence> {
        let mut guard = Guard::default();
        for piece in text.chunks(cut.max(1)) {
            guard.inspect(&mut piece.to_vec());
        }
        guard.offence()
    }

    #[test]
    fn ambiguous_messages_are_refused_wherever_reads_cut_them() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
        let most = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
        let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(61 * 1024));
        let post = |headers: &str, body: &str| {
            format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
        };
        for (name, text, want) in [
            (
                "plain",
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
                None,
            ),
            (
                "pipelined",
                "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(),
                None,
            ),
            (
                "leading empty line",
                "\r\nGET / HTTP/1.1\r\n\r\n".to_owned(),
                None,
            ),
            (
                "length",
                post("Content-Length: 3\r\n", "a\nbGET / HTTP/1.1\r\n\r\n"),
                None,
            ),
            (
                "chunks",
                post(
                    "Transfer-Encoding: chunked\r\n",
                    "3\r\na\nb\r\n0\r\nX: y\r\n\r\n",
                ),
                None,
            ),
            (
                "extension",
                post(
                    "Transfer-Encoding: Chunked\r\n",
                    "3;a=b\r\nabc\r\n0\r\n\r\n",
                ),
                None,
            ),
            ("a hundred headers", most, None),
            ("one more", many, Some(Offence::TooManyHeaders)),
            ("long head", long, Some(Offence::HeadTooLong)),
            (
                "both",
                post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", ""),
                Some(Offence::BothLengths),
            ),
            (
                "both turned",
                post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", ""),
                Some(Offence::BothLengths),
            ),
            (
                "two lengths",
                post("Content-Length: 3\r\nContent-Length: 4\r\n", ""),
                Some(Offence::ContentLength),
            ),
            (
                "same length twice",
                post("Content-Length: 3\r\ncontent-length: 3\r\n", ""),
                Some(Offence::ContentLength),
            ),
            (
                "list of lengths",
                post("Content-Length: 3, 3\r\n", ""),
                Some(Offence::ContentLength),
            ),
            (
                "signed",
                post("Content-Length: +3\r\n", ""),
                Some(Offence::ContentLength),
            ),
            (
                "hexadecimal",
                post("Content-Length: 0x3\r\n", ""),
                Some(Offence::ContentLength),
            ),
            (
                "no number",
                post("Content-Length:\r\n", ""),
                Some(Offence::ContentLength),
            ),
            (
                "endless number",
                post(&format!("Content-Length: {}3\r\n", "0".repeat(90)), ""),
                Some(Offence::ContentLength),
            ),
            (
                "number behind spaces",
                post(&format!("Content-Length:{}1234\r\n", " ".repeat(47)), ""),
                Some(Offence::ContentLength),
            ),
            (
                "coding list",
                post("Transfer-Encoding: gzip, chunked\r\n", ""),
                Some(Offence::TransferEncoding),
            ),
            (
                "identity",
                post("Transfer-Encoding: identity\r\n", ""),
                Some(Offence::TransferEncoding),
            ),
            (
                "vertical tab",
                post("Transfer-Encoding: \x0bchunked\r\n", ""),
                Some(Offence::TransferEncoding),
            ),
            (
                "twice",
                post(
                    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                    "",
                ),
                Some(Offence::TransferEncoding),
            ),
            (
                "space before colon",
                post("Content-Length : 3\r\n", ""),
                Some(Offence::Whitespace),
            ),
            (
                "tab before colon",
                post("Transfer-Encoding\t: chunked\r\n", ""),
                Some(Offence::Whitespace),
            ),
            (
                "obs-fold",
                post("A: b\r\n c\r\n", ""),
                Some(Offence::Whitespace),
            ),
            (
                "bare line feed",
                post("A: b\nContent-Length: 3\r\n", ""),
                Some(Offence::LineEnding),
            ),
            (
                "bare carriage return",
                post("A: b\rContent-Length: 3\r\n", ""),
                Some(Offence::LineEnding),
            ),
            ("nul", post("A: b\0c\r\n", ""), Some(Offence::LineEnding)),
            (
                "chunk size",
                post("Transfer-Encoding: chunked\r\n", "0x3\r\nabc\r\n"),
                Some(Offence::Chunk),
            ),
            (
                "huge chunk",
                post("Transfer-Encoding: chunked\r\n", "10000000000000000\r\n"),
                Some(Offence::Chunk),
            ),
            (
                "negative chunk",
                post("Transfer-Encoding: chunked\r\n", "-1\r\n"),
                Some(Offence::Chunk),
            ),
            (
                "space in size",
                post("Transfer-Encoding: chunked\r\n", "3 \r\nabc\r\n"),
                Some(Offence::Chunk),
            ),
            (
                "chunk too long",
                post("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n"),
                Some(Offence::Chunk),
            ),
            (
                "bare feed after size",
                post("Transfer-Encoding: chunked\r\n", "3\nabc\r\n"),
                Some(Offence::LineEnding),
            ),
        ] {
            for cut in [1, 2, 3, 7, 64, text.len()] {
                assert_eq!(offence(text.as_bytes(), cut), want, "{name}, cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(text in "(GET / HTTP/1.1\r\n|[aC]: [0-9]{1,2}\r?\n|Content-Length: [0-3]\r\n|\r\n|\n|[a-c\r]{0,4}){0,9}", cut in 1_usize..9) {
            prop_assert_eq!(offence(text.as_bytes(), cut), offence(text.as_bytes(), text.len()));
        }
    }
}
