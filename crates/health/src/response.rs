//! Reads the complete response of a probed target by the rules of RFC 9112, within bounds.
//!
//! A target whose responses are cut off, never end or contradict themselves would fail its clients too. So it is not
//! healthy, whatever its status line says.

use std::fmt;

/// The longest head in bytes, including interim responses (1xx).
pub const MAX_HEAD: usize = 16 * 1024;
/// The longest body, in bytes.
pub const MAX_BODY: u64 = 1024 * 1024;
/// The longest chunk-size line in bytes, including extensions.
const MAX_CHUNK_LINE: usize = 256;
/// The longest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 * 1024;

/// What is wrong with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It does not begin with HTTP/1.0 or HTTP/1.1.
    #[error("it is not HTTP/1")]
    NotHttp,
    /// The head is longer than [`MAX_HEAD`].
    #[error("its headers are longer than 16,384 bytes")]
    HeadTooLong,
    /// A malformed header line: bare CR or LF, NUL, white space before the colon, or a folded line.
    #[error("a header line is malformed")]
    Line,
    /// Content-Length is not a single number.
    #[error("Content-Length is not one number")]
    ContentLength,
    /// Transfer-Encoding is not a single `chunked`, or the version is 1.0.
    #[error("Transfer-Encoding is not chunked")]
    TransferEncoding,
    /// It has both Content-Length and Transfer-Encoding.
    #[error("it has both Content-Length and Transfer-Encoding")]
    BothLengths,
    /// A chunk's size or end, or a trailer, is malformed.
    #[error("a chunk is malformed")]
    Chunk,
    /// The body is longer than [`MAX_BODY`].
    #[error("its body is longer than 1 MiB")]
    BodyTooLong,
    /// The connection was closed before the response was complete.
    #[error("the connection was closed before it was whole")]
    CutOff,
}

/// Where a response's body ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the connection closes.
    Close,
}

/// The final head of a response.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// The status, from 100 to 999.
    pub status: u16,
    /// The framing of the body.
    pub framing: Framing,
    /// The length of the head and of interim heads before it, in bytes. The body begins there.
    pub length: usize,
    /// The lines of the head, beginning with the status line.
    text: Vec<u8>,
}

impl Head {
    /// Parses the final head of a response to a GET; `None` while it is incomplete. Accepts any bytes.
    ///
    /// # Errors
    /// When the response is malformed.
    pub fn parse(answer: &[u8]) -> Result<Option<Self>, Flaw> {
        let mut begin = 0;
        loop {
            let rest = &answer[begin..];
            let Some(text) = one_head(rest)? else {
                // Check the complete lines now, so that a probe does not wait for the rest of garbage.
                return match answer.len() {
                    length if length > MAX_HEAD => Err(Flaw::HeadTooLong),
                    _ => Ok(None),
                };
            };
            let length = begin + text.len();
            if length > MAX_HEAD {
                return Err(Flaw::HeadTooLong);
            }
            let (status, old) = status_line(text)?;
            if !(100..200).contains(&status) || status == 101 {
                let framing = framing(text, status, old)?;
                let text = text.to_vec();
                return Ok(Some(Self {
                    status,
                    framing,
                    length,
                    text,
                }));
            }
            begin = length;
        }
    }

    /// The reason phrase of the status line.
    pub fn reason(&self) -> String {
        let line = self.text.split(|byte| *byte == b'\r').next();
        let reason = line.and_then(|line| line.get(13..)).unwrap_or(&[]);
        String::from_utf8_lossy(reason).into_owned()
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        fields(&self.text)
            .filter_map(Result::ok)
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name.as_bytes()).then_some(value))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("status", &self.status)
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

/// The first head with its empty line, if it is complete.
fn one_head(bytes: &[u8]) -> Result<Option<&[u8]>, Flaw> {
    let begins = |wanted: &[u8]| {
        let common = wanted.len().min(bytes.len());
        bytes[..common] == wanted[..common]
    };
    if !begins(b"HTTP/1.0 ") && !begins(b"HTTP/1.1 ") {
        return Err(Flaw::NotHttp);
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    Ok(end.map(|end| &bytes[..end + 4]))
}

/// Parses `HTTP/1.1 200 OK`, where the reason may be absent. Returns the status, and whether the version is 1.0.
fn status_line(head: &[u8]) -> Result<(u16, bool), Flaw> {
    let line = lines(head).next().ok_or(Flaw::NotHttp)??;
    let [_, _, _, _, _, _, _, minor, b' ', a, b, c, tail @ ..] = line else {
        return Err(Flaw::NotHttp);
    };
    let digits = [a, b, c];
    let plain = digits.iter().all(|digit| digit.is_ascii_digit()) && *a != b'0';
    if !plain || !matches!(tail.first(), None | Some(b' ')) {
        return Err(Flaw::NotHttp);
    }
    let number = |status, digit: &u8| status * 10 + u16::from(digit - b'0');
    Ok((digits.into_iter().fold(0, number), *minor == b'0'))
}

/// The lines of a head up to the empty one, without line ends.
fn lines(head: &[u8]) -> impl Iterator<Item = Result<&[u8], Flaw>> {
    let text = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.windows(2).position(|window| window == b"\r\n");
        let line = &text[..end.unwrap_or(text.len())];
        rest = end.map(|end| &text[end + 2..]);
        let odd = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        Some(if line.iter().any(odd) {
            Err(Flaw::Line)
        } else {
            Ok(line)
        })
    })
}

/// Names and values of a head's header lines.
fn fields(head: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Flaw>> {
    lines(head).skip(1).map(|line| field(line?))
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.ok_or(Flaw::Line)?);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(token) {
        return Err(Flaw::Line);
    }
    Ok((name, value[1..].trim_ascii()))
}

fn framing(head: &[u8], status: u16, old: bool) -> Result<Framing, Flaw> {
    let mut length = None;
    let mut chunked = false;
    for field in fields(head) {
        let (name, value) = field?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = decimal(value).filter(|_| length.is_none());
            length = Some(number.ok_or(Flaw::ContentLength)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || old || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Flaw::TransferEncoding);
            }
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Flaw::BothLengths),
        _ if matches!(status, 101 | 204 | 304) => Ok(Framing::Empty),
        (Some(0), _) => Ok(Framing::Empty),
        (Some(length), _) => Ok(Framing::Length(length)),
        (None, true) => Ok(Framing::Chunked),
        (None, false) => Ok(Framing::Close),
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}

/// Reads a response to a GET piece by piece. Keeps only the head.
#[derive(Debug, Default)]
pub struct ResponseReader {
    head: Vec<u8>,
    status: u16,
    body: Body,
    /// Bytes of the body so far.
    read: u64,
}

/// The reader's position in a response.
#[derive(Debug, Default)]
enum Body {
    #[default]
    Head,
    Length(u64),
    ChunkSize(Vec<u8>),
    ChunkData(u64),
    /// The CR LF after a chunk, of which this many bytes were read.
    ChunkEnd(usize),
    Trailers(Vec<u8>),
    Close,
    Whole,
}

impl ResponseReader {
    /// Reads the next bytes. Returns the status once the response is complete; later bytes are ignored.
    ///
    /// # Errors
    /// When the response is malformed.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<u16>, Flaw> {
        while !bytes.is_empty() && !matches!(self.body, Body::Whole) {
            let taken = self.step(bytes)?;
            bytes = &bytes[taken..];
        }
        Ok(self.whole())
    }

    /// Handles the target's close of the connection. Returns the status if that completes the response.
    ///
    /// # Errors
    /// When the response is incomplete.
    pub fn close(self) -> Result<u16, Flaw> {
        match self.body {
            Body::Close | Body::Whole => Ok(self.status),
            // A flaw in the beginning explains more than that the rest is missing.
            Body::Head => Head::parse(&self.head).and(Err(Flaw::CutOff)),
            _ => Err(Flaw::CutOff),
        }
    }

    fn whole(&self) -> Option<u16> {
        matches!(self.body, Body::Whole).then_some(self.status)
    }

    /// Reads at least one byte. Returns how many it read.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Flaw> {
        match &mut self.body {
            Body::Head => self.step_head(bytes),
            Body::Length(left) => {
                let taken = part(left, bytes);
                if *left == 0 {
                    self.body = Body::Whole;
                }
                self.count(taken)
            }
            Body::ChunkSize(line) => {
                let taken = line_part(line, bytes, MAX_CHUNK_LINE)?;
                if let Some(line) = line.strip_suffix(b"\r\n") {
                    self.body = match chunk_size(line)? {
                        0 => Body::Trailers(Vec::new()),
                        size => Body::ChunkData(size),
                    };
                }
                Ok(taken)
            }
            Body::ChunkData(left) => {
                let taken = part(left, bytes);
                if *left == 0 {
                    self.body = Body::ChunkEnd(0);
                }
                self.count(taken)
            }
            Body::ChunkEnd(had) => {
                if bytes[0] != b"\r\n"[*had] {
                    return Err(Flaw::Chunk);
                }
                *had += 1;
                if *had == 2 {
                    self.body = Body::ChunkSize(Vec::new());
                }
                Ok(1)
            }
            Body::Trailers(text) => {
                let taken = line_part(text, bytes, MAX_TRAILERS)?;
                if text == b"\r\n" || text.ends_with(b"\r\n\r\n") {
                    self.body = Body::Whole;
                }
                Ok(taken)
            }
            Body::Close => self.count(bytes.len()),
            Body::Whole => Ok(bytes.len()),
        }
    }

    fn step_head(&mut self, bytes: &[u8]) -> Result<usize, Flaw> {
        let before = self.head.len();
        let room = (MAX_HEAD + 1 - before).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        // Only the end of a line, a wrong beginning or too long a head can change the result.
        let settles = bytes[..room].contains(&b'\n') || before < 16 || self.head.len() > MAX_HEAD;
        if !settles {
            return Ok(room);
        }
        let Some(head) = Head::parse(&self.head)? else {
            return Ok(room);
        };
        self.status = head.status;
        self.body = match head.framing {
            Framing::Empty => Body::Whole,
            Framing::Length(length) if length > MAX_BODY => return Err(Flaw::BodyTooLong),
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::ChunkSize(Vec::new()),
            Framing::Close => Body::Close,
        };
        Ok(head.length - before)
    }

    fn count(&mut self, taken: usize) -> Result<usize, Flaw> {
        self.read += taken as u64;
        if self.read > MAX_BODY {
            return Err(Flaw::BodyTooLong);
        }
        Ok(taken)
    }
}

fn part(left: &mut u64, bytes: &[u8]) -> usize {
    let taken = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    *left -= taken as u64;
    taken
}

/// Appends to a line up to its end.
fn line_part(line: &mut Vec<u8>, bytes: &[u8], most: usize) -> Result<usize, Flaw> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let taken = end.map_or(bytes.len(), |end| end + 1);
    if line.len() + taken > most {
        return Err(Flaw::Chunk);
    }
    line.extend_from_slice(&bytes[..taken]);
    match end {
        Some(_) if !line.ends_with(b"\r\n") => Err(Flaw::Chunk),
        _ => Ok(taken),
    }
}

/// Parses `1a;name=value`. At most fifteen digits, so that nothing overflows.
fn chunk_size(line: &[u8]) -> Result<u64, Flaw> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(digits.count());
    let plain = (1..=15).contains(&digits.len()) && matches!(rest.first(), None | Some(b';'));
    let text = std::str::from_utf8(digits).ok().filter(|_| plain);
    text.and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(Flaw::Chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a response that comes in pieces of this length and ends with the connection.
    fn read(bytes: &[u8], piece: usize) -> Result<u16, Flaw> {
        let mut answer = ResponseReader::default();
        for piece in bytes.chunks(piece) {
            if let Some(status) = answer.push(piece)? {
                return Ok(status);
            }
        }
        answer.close()
    }

    fn with(headers: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}").into_bytes()
    }

    #[test]
    fn an_answer_counts_only_when_it_is_whole_and_clear() {
        let chunked = |body: &str| with("Transfer-Encoding: chunked\r\n", body);
        let long = with(&format!("a: {}\r\n", "x".repeat(MAX_HEAD)), "");
        let endless = with("", &"x".repeat(MAX_BODY as usize + 1));
        let endless_chunks = chunked(&format!("400\r\n{}\r\n", "x".repeat(0x400)).repeat(1025));
        for (name, bytes, want) in [
            ("length", with("Content-Length: 2\r\n", "ok"), Ok(200)),
            ("no body", with("Content-Length: 0\r\n", ""), Ok(200)),
            ("until the end", with("", "ok"), Ok(200)),
            ("chunks", chunked("1\r\no\r\n1;a=b\r\nk\r\n0\r\nX: y\r\n\r\n"), Ok(200)),
            ("1.0", b"HTTP/1.0 404 Not Found\r\n\r\nx".to_vec(), Ok(404)),
            ("no reason", b"HTTP/1.1 204\r\n\r\n".to_vec(), Ok(204)),
            ("304 with a length", b"HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n".to_vec(), Ok(304)),
            ("after interim ones", b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 503 x\r\nContent-Length: 1\r\n\r\nx".to_vec(), Ok(503)),
            ("more than its length", with("Content-Length: 2\r\n", "okay"), Ok(200)),
            ("nothing", Vec::new(), Err(Flaw::CutOff)),
            ("an interim one alone", b"HTTP/1.1 100 x\r\n\r\n".to_vec(), Err(Flaw::CutOff)),
            ("half a line", b"HTTP/1.1 20".to_vec(), Err(Flaw::CutOff)),
            ("half a head", b"HTTP/1.1 200 OK\r\na: b\r\n".to_vec(), Err(Flaw::CutOff)),
            ("less than its length", with("Content-Length: 3\r\n", "ok"), Err(Flaw::CutOff)),
            ("half a chunk", chunked("5\r\nok"), Err(Flaw::CutOff)),
            ("no last chunk", chunked("2\r\nok\r\n"), Err(Flaw::CutOff)),
            ("no end of trailers", chunked("0\r\nX: y\r\n"), Err(Flaw::CutOff)),
            ("both lengths", with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Err(Flaw::BothLengths)),
            ("two lengths", with("Content-Length: 2\r\nContent-Length: 3\r\n", "ok"), Err(Flaw::ContentLength)),
            ("a list of lengths", with("Content-Length: 2, 2\r\n", "ok"), Err(Flaw::ContentLength)),
            ("a negative length", with("Content-Length: -2\r\n", "ok"), Err(Flaw::ContentLength)),
            ("another coding", with("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), Err(Flaw::TransferEncoding)),
            ("chunks in 1.0", b"HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(), Err(Flaw::TransferEncoding)),
            ("a bad size", chunked("x\r\n"), Err(Flaw::Chunk)),
            ("a bad end", chunked("1\r\nokk"), Err(Flaw::Chunk)),
            ("a bare line feed in it", chunked("1\no"), Err(Flaw::Chunk)),
            ("a long extension", chunked(&format!("1;{}", "x".repeat(300))), Err(Flaw::Chunk)),
            ("a long head", long, Err(Flaw::HeadTooLong)),
            ("interim ones for ever", b"HTTP/1.1 100 x\r\n\r\n".repeat(2000), Err(Flaw::HeadTooLong)),
            ("a long body", with("Content-Length: 1048577\r\n", ""), Err(Flaw::BodyTooLong)),
            ("an endless body", endless, Err(Flaw::BodyTooLong)),
            ("endless chunks", endless_chunks, Err(Flaw::BodyTooLong)),
            ("a bare line feed", b"HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n".to_vec(), Err(Flaw::Line)),
            ("white space before a colon", with("a : b\r\n", ""), Err(Flaw::Line)),
            ("a folded line", with("a: b\r\n c\r\n", ""), Err(Flaw::Line)),
            ("no colon", with("a\r\n", ""), Err(Flaw::Line)),
            ("ssh", b"SSH-2.0-OpenSSH\r\n".to_vec(), Err(Flaw::NotHttp)),
            ("a TLS alert", b"\x15\x03\x01\x00\x02".to_vec(), Err(Flaw::NotHttp)),
            ("four digits", b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(), Err(Flaw::NotHttp)),
            ("a zero", b"HTTP/1.1 099 x\r\n\r\n".to_vec(), Err(Flaw::NotHttp)),
            ("HTTP/2", b"HTTP/2 200\r\n\r\n".to_vec(), Err(Flaw::NotHttp)),
        ] {
            // The long responses are long in a body or a line, where the piece size does not matter.
            let small: &[usize] = if bytes.len() < 4096 { &[1, 7] } else { &[] };
            for piece in [4096, usize::MAX].iter().chain(small).copied() {
                assert_eq!(read(&bytes, piece), want, "{name}, in pieces of {piece}");
            }
        }
    }
}
