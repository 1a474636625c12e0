//! The guards around hyper: HTTP/1.1 framing without tolerance, of clients' requests and of targets' responses.
//!
//! RFC 9112 lets a recipient repair much (bare line feeds, repeated Content-Length, Content-Length beside
//! Transfer-Encoding). Two parsers that repair differently are a smuggling hole, and a response that is
//! repaired may come out cut, so what is ambiguous is refused. A guard follows the bytes of one connection on
//! their way to hyper. At a client's first offence it overwrites them with a NUL and empty lines, which hyper
//! answers, in order, with 400 and the end of the connection; a target's connection ends there, and the
//! client gets a 502, or sees its response break off.

mod head;
mod line;
#[cfg(test)]
mod tests;

use std::fmt;

use head::Head;
use line::{KEPT, Line};

/// AWS's limit on a request's headers together.
pub(crate) const MAX_REQUEST_HEAD: usize = 60 * 1024;
/// The longest head of a response: as long as hyper's buffer.
pub(crate) const MAX_RESPONSE_HEAD: usize = 128 * 1024;
/// The longest line of a chunk's size, extensions included.
const MAX_CHUNK_LINE: usize = 256;
/// The longest trailer section.
const MAX_TRAILERS: usize = 8 * 1024;
/// The most interim (1xx) responses to one request.
const MAX_INTERIM: usize = 32;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// The head is longer than 60 KB (a request's) or 128 KB (a response's).
    HeadTooLong,
    /// There are more than 100 headers.
    TooManyHeaders,
    /// A line ends with LF alone, or CR stands alone, or there is a NUL. LF alone is accepted in the head of
    /// a response.
    LineEnding,
    /// A header line begins with white space (obs-fold), or has some before its colon.
    Whitespace,
    /// Content-Length is not one plain number, or is repeated.
    ContentLength,
    /// Transfer-Encoding is not exactly `chunked`, or is repeated, or the response is HTTP/1.0.
    TransferEncoding,
    /// Content-Length and Transfer-Encoding stand side by side.
    BothLengths,
    /// A chunk's size or end is malformed.
    Chunk,
    /// The trailers are too long.
    Trailers,
    /// A response does not begin with `HTTP/1.` and a status of three digits.
    StatusLine,
    /// A response to no request.
    Unasked,
    /// Interim responses without end.
    Interim,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Offence {}

/// Follows one connection's messages byte by byte, wherever reads cut them.
#[derive(Debug)]
pub struct Guard {
    side: Side,
    state: State,
    line: Line,
    head: Head,
    offence: Option<Offence>,
}

/// Whose messages the guard follows.
#[derive(Debug)]
enum Side {
    Requests,
    Responses(Responses),
}

/// What is known of the responses on a connection.
#[derive(Debug, Default)]
struct Responses {
    /// Whether the request was a HEAD, so that no body follows the head.
    to_head: bool,
    /// The head of an interim response, as far as it was read.
    reading: Vec<u8>,
    /// Interim responses that were read and not taken yet.
    interim: Vec<Interim>,
    /// The number of interim responses to the present request.
    count: usize,
}

/// An interim (1xx) response, which precedes the response itself (RFC 9110 section 15.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interim {
    /// 100 to 199, without 101.
    pub status: u16,
    /// Its header lines as they came, perhaps with the status line before them.
    pub lines: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the head: the first line and headers.
    Head,
    /// In a body of which this much is left.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    /// After a chunk's data: CR LF.
    ChunkEnd,
    Trailers,
    /// In the body of a response that ends with the connection.
    UntilClose,
    /// No request waits for a response.
    Idle,
}

impl Default for Guard {
    /// A guard over requests.
    fn default() -> Self {
        Self::new(Side::Requests, State::Head)
    }
}

impl Guard {
    fn new(side: Side, state: State) -> Self {
        Self {
            side,
            state,
            line: Line::default(),
            head: Head::default(),
            offence: None,
        }
    }

    /// A guard over the responses on a connection to a target, where no request was sent yet.
    pub fn over_responses() -> Self {
        Self::new(Side::Responses(Responses::default()), State::Idle)
    }

    /// A request was sent: its response may come. `to_head`: it was a HEAD.
    pub fn expect_response(&mut self, to_head: bool) {
        if let Side::Responses(responses) = &mut self.side {
            responses.to_head = to_head;
            responses.count = 0;
            responses.interim.clear();
            self.head = Head::default();
            self.state = State::Head;
        }
    }

    /// The first offence, if there was one.
    pub fn offence(&self) -> Option<Offence> {
        self.offence
    }

    /// Whether the last message is complete and nothing of a next one has come; empty lines are nothing.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.state == State::Head
            && self.head.lines == 0
            && self.line.is_empty()
            && self.offence.is_none()
    }

    /// The interim responses that were read since this was asked last.
    pub fn take_interim(&mut self) -> Vec<Interim> {
        match &mut self.side {
            Side::Responses(responses) => std::mem::take(&mut responses.interim),
            Side::Requests => Vec::new(),
        }
    }

    /// Looks at bytes before hyper sees them. From an offence on all of them are poison.
    pub fn inspect(&mut self, bytes: &mut [u8]) {
        if self.offence.is_some() {
            bytes.fill(b'\n');
            return;
        }
        let sound = self.advance(bytes);
        if self.offence.is_some() {
            // Nowhere is a NUL allowed, and hyper looks at a head only when an empty line ends it.
            bytes[sound..].fill(b'\n');
            bytes[sound] = 0;
        }
    }

    /// Looks at bytes before hyper sees them; returns how many of them precede the offence, if there is one.
    pub fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.offence.is_none() {
            match self.step(&bytes[at..]) {
                Ok(taken) => at += taken,
                Err(offence) => self.offence = Some(offence),
            }
        }
        at
    }

    /// Takes in some bytes, at least one.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        match self.state {
            State::Body(left) => {
                let (taken, left) = take(left, bytes);
                self.state = if left == 0 {
                    self.message_complete()
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
            State::UntilClose => Ok(bytes.len()),
            State::Idle => Err(Offence::Unasked),
            State::Head => self.step_head(bytes),
            State::ChunkSize | State::ChunkEnd | State::Trailers => self.step_line(bytes),
        }
    }

    fn step_head(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        let before = self.head.is_interim();
        let mut taken = 0;
        if self.line.is_empty() {
            taken = self.whole_lines(bytes)?;
        }
        if taken == 0 {
            taken = self.step_line(bytes)?;
        }
        if let Side::Responses(responses) = &mut self.side {
            let piece = &bytes[..taken];
            responses.follow(before || self.head.is_interim(), piece, &mut self.head)?;
        }
        Ok(taken)
    }

    fn step_line(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        let bare_feed = self.state == State::Head && self.follows_responses();
        self.line.push(&bytes[..taken], bare_feed)?;
        self.check_length(taken)?;
        if end.is_some() {
            self.state = self.line_complete()?;
            self.line.clear();
        }
        Ok(taken)
    }

    fn follows_responses(&self) -> bool {
        matches!(self.side, Side::Responses(_))
    }

    fn longest_head(&self) -> usize {
        match self.side {
            Side::Requests => MAX_REQUEST_HEAD,
            Side::Responses(_) => MAX_RESPONSE_HEAD,
        }
    }

    /// Takes in the lines of the head that are here from beginning to end, as nearly always all are, without
    /// copying them. Anything odd is left for the way that sees pieces.
    fn whole_lines(&mut self, bytes: &[u8]) -> Result<usize, Offence> {
        let (longest, of_response) = (self.longest_head(), self.follows_responses());
        let mut taken = 0;
        while let Some(length) = line::end_of(&bytes[taken..]) {
            let end = taken + length;
            if !bytes[end..].starts_with(b"\r\n") || (length == 0 && self.head.lines == 0) {
                break;
            }
            self.head.length += length + 2;
            if self.head.length > longest {
                return Err(Offence::HeadTooLong);
            }
            let line = &bytes[taken..end];
            taken = end + 2;
            if line.is_empty() {
                self.state = self.head_complete()?;
                break;
            }
            if !self.head.passes_over(line) {
                let kept = &line[..length.min(KEPT)];
                self.head.line(kept, length > KEPT, of_response)?;
            }
        }
        Ok(taken)
    }

    fn check_length(&mut self, taken: usize) -> Result<(), Offence> {
        match self.state {
            State::Head | State::Trailers => {
                self.head.length += taken;
                match self.state {
                    State::Head if self.head.length > self.longest_head() => {
                        Err(Offence::HeadTooLong)
                    }
                    State::Trailers if self.head.length > MAX_TRAILERS => Err(Offence::Trailers),
                    _ => Ok(()),
                }
            }
            State::ChunkEnd if self.line.length() > 2 => Err(Offence::Chunk),
            State::ChunkSize if self.line.length() > MAX_CHUNK_LINE => Err(Offence::Chunk),
            _ => Ok(()),
        }
    }

    fn line_complete(&mut self) -> Result<State, Offence> {
        let of_response = self.follows_responses();
        let line = self.line.content();
        match self.state {
            State::Head if line.is_empty() && self.head.lines == 0 => {
                // An empty line before the first line is nothing (RFC 9112 section 2.2).
                Ok(State::Head)
            }
            State::Head if line.is_empty() => self.head_complete(),
            State::Head => self
                .head
                .line(line, self.line.is_cut(), of_response)
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
            State::Trailers if line.is_empty() => Ok(self.message_complete()),
            State::Trailers if matches!(line[0], b' ' | b'\t') => Err(Offence::Whitespace),
            State::Trailers => Ok(State::Trailers),
            State::Body(_) | State::ChunkData(_) | State::UntilClose | State::Idle => {
                Ok(self.state)
            }
        }
    }

    /// What follows a head (RFC 9112 section 6.3).
    fn head_complete(&mut self) -> Result<State, Offence> {
        let Side::Responses(responses) = &self.side else {
            return Ok(match (self.head.chunked, self.head.content_length) {
                (true, _) => State::ChunkSize,
                (false, Some(length)) if length > 0 => State::Body(length),
                (false, _) => self.message_complete(),
            });
        };
        if self.head.is_interim() {
            self.head.complete = true;
            return Ok(State::Head);
        }
        if self.head.chunked && self.head.is_http10 {
            return Err(Offence::TransferEncoding);
        }
        let bodiless = responses.to_head || matches!(self.head.status, 204 | 304);
        Ok(match (self.head.chunked, self.head.content_length) {
            _ if self.head.status == 101 => State::UntilClose,
            _ if bodiless => self.message_complete(),
            (true, _) => State::ChunkSize,
            (false, None) => State::UntilClose,
            (false, Some(0)) => self.message_complete(),
            (false, Some(length)) => State::Body(length),
        })
    }

    fn message_complete(&mut self) -> State {
        self.head = Head::default();
        match self.side {
            Side::Requests => State::Head,
            Side::Responses(_) => State::Idle,
        }
    }
}

impl Responses {
    /// Keeps a piece of an interim response's head, and begins with the next head when it is complete.
    fn follow(&mut self, interim: bool, piece: &[u8], head: &mut Head) -> Result<(), Offence> {
        if !interim {
            return Ok(());
        }
        self.reading.extend_from_slice(piece);
        if head.complete {
            self.count += 1;
            if self.count > MAX_INTERIM {
                return Err(Offence::Interim);
            }
            self.interim.push(Interim {
                status: head.status,
                lines: std::mem::take(&mut self.reading),
            });
            *head = Head::default();
        }
        Ok(())
    }
}

fn take(left: u64, bytes: &[u8]) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken, left - taken as u64)
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
