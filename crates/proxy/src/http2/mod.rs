//! The guard in front of hyper for HTTP/2: a malformed field costs its stream, not the connection.
//!
//! RFC 9113 section 8.1.1 calls a request with a malformed field a stream error. The h2 crate ends the whole
//! connection when a field has a name or value that it cannot hold, and looks away where trailers have
//! pseudo-headers or values have spaces around them. So the guard reads each header block beside h2. A block that
//! is malformed it replaces by one that h2 knows to be malformed and answers with RST_STREAM (PROTOCOL_ERROR).
//! What the replaced block defined for later ones h2 then does not know: from there on the guard writes every
//! block anew, in the form that defines and needs nothing.
//!
//! Whatever else is wrong with the connection is left to h2: the guard lets all bytes pass from there on.

mod hpack;
mod huffman;
#[cfg(test)]
mod tests;

use http::Method;

use hpack::{Field, Table};

/// RFC 9113 section 3.4, as every connection begins.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest payload of a frame that hyper allows (SETTINGS_MAX_FRAME_SIZE).
const MAX_FRAME: usize = 16 * 1024;
/// The most frames' bytes of one block that are held back, and the longest list of fields; beyond, h2 ends the
/// connection.
const MAX_BLOCK: usize = 512 * 1024;
const FRAME_HEAD: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Follows what a client sends on one HTTP/2 connection.
#[derive(Debug)]
pub struct Http2Guard {
    state: State,
    /// The head of a frame of which only a part has come, in the first octets.
    head: [u8; FRAME_HEAD],
    headed: usize,
    /// The header block that is being read.
    block: Block,
    table: Table,
    /// The highest stream so far: headers on another one are trailers.
    highest: u32,
    /// Whether h2 does not know what earlier blocks defined.
    rewrites: bool,
    /// The number of malformed blocks.
    malformed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the preface, of which this much is left.
    Preface(usize),
    FrameHead,
    /// In a payload that is none of the guard's business, of which this much is left.
    Pass(usize),
    /// In the payload of HEADERS or CONTINUATION, of which this much is left.
    Gather(usize),
    /// All that follows is left to h2.
    Blind,
}

/// A header block, possibly in several frames.
#[derive(Debug, Default)]
struct Block {
    stream: u32,
    flags: u8,
    /// Its frames as they came.
    frames: Vec<u8>,
    /// Where the present frame's payload begins in them.
    payload: usize,
    fragments: Vec<u8>,
}

/// The frame is malformed in a way that ends the connection.
struct Broken;

/// Where what h2 may read goes.
pub(crate) trait Out {
    /// Adds bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Out for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The head of a frame (RFC 9113 section 4.1).
#[derive(Debug, Clone, Copy)]
struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    fn read([a, b, c, kind, flags, stream @ ..]: [u8; FRAME_HEAD]) -> Self {
        Self {
            length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// Whether it carries a header block or a part of one.
    fn is_of_block(self) -> bool {
        self.kind == HEADERS || self.kind == CONTINUATION
    }
}

impl Default for Http2Guard {
    fn default() -> Self {
        Self {
            state: State::Preface(PREFACE.len()),
            head: [0; FRAME_HEAD],
            headed: 0,
            block: Block::default(),
            table: Table::default(),
            highest: 0,
            rewrites: false,
            malformed: 0,
        }
    }
}

impl Http2Guard {
    /// How many blocks were malformed.
    pub fn malformed(&self) -> usize {
        self.malformed
    }

    /// Takes what came from the client, and adds what h2 may read to `out`. A header block is held back until
    /// it is complete.
    pub fn follow(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.pass(bytes, out);
    }

    /// As [`Self::follow`].
    pub(crate) fn pass(&mut self, mut bytes: &[u8], out: &mut impl Out) {
        while !bytes.is_empty() {
            let taken = match self.whole(bytes, out) {
                0 => self.step(bytes, out),
                taken => taken,
            };
            bytes = &bytes[taken..];
        }
    }

    /// Takes a frame that begins here without copying it, as nearly all can be: a header block in one piece, or
    /// what is none of the guard's business. Returns how much it took; what is odd is left to [`Self::step`].
    fn whole(&mut self, bytes: &[u8], out: &mut impl Out) -> usize {
        let begins = self.state == State::FrameHead && self.headed == 0 && !self.block.is_open();
        let Some((head, rest)) = bytes.split_first_chunk().filter(|_| begins) else {
            return 0;
        };
        let head = FrameHead::read(*head);
        if head.length > MAX_FRAME {
            return 0;
        }
        let (count, end) = (head.length.min(rest.len()), FRAME_HEAD + head.length);
        if !head.is_of_block() {
            out.put(&bytes[..FRAME_HEAD + count]);
            self.passes(head.length - count);
            return FRAME_HEAD + count;
        }
        let whole = head.kind == HEADERS && head.flags & END_HEADERS != 0 && head.stream != 0;
        if !whole || count < head.length {
            return 0;
        }
        let Ok(fragment) = fragment(&rest[..count], head.flags) else {
            return 0;
        };
        match self.judge(fragment, head.stream) {
            Ok(None) => out.put(&bytes[..end]),
            Ok(Some(written)) => write(&written, head.stream, head.flags, out),
            Err(Broken) => {
                out.put(&bytes[..end]);
                self.state = State::Blind;
            }
        }
        end
    }

    fn step(&mut self, bytes: &[u8], out: &mut impl Out) -> usize {
        match self.state {
            State::Blind => {
                out.put(bytes);
                bytes.len()
            }
            State::Preface(left) | State::Pass(left) => {
                let count = left.min(bytes.len());
                out.put(&bytes[..count]);
                self.state = match (self.state, left - count) {
                    (_, 0) => State::FrameHead,
                    (State::Preface(_), left) => State::Preface(left),
                    (_, left) => State::Pass(left),
                };
                count
            }
            State::FrameHead => {
                let count = (FRAME_HEAD - self.headed).min(bytes.len());
                self.head[self.headed..self.headed + count].copy_from_slice(&bytes[..count]);
                self.headed += count;
                if self.headed == FRAME_HEAD {
                    self.headed = 0;
                    self.frame_begins(out);
                }
                count
            }
            State::Gather(left) => {
                let count = left.min(bytes.len());
                self.block.frames.extend_from_slice(&bytes[..count]);
                self.state = State::Gather(left - count);
                if left == count {
                    self.frame_ends(out);
                }
                count
            }
        }
    }

    /// A payload of this length passes.
    fn passes(&mut self, length: usize) {
        self.state = match length {
            0 => State::FrameHead,
            length => State::Pass(length),
        };
    }

    fn frame_begins(&mut self, out: &mut impl Out) {
        let head = FrameHead::read(self.head);
        let is_open = self.block.is_open();
        let sound = match head.kind {
            HEADERS => !is_open && head.stream != 0,
            CONTINUATION => is_open && head.stream == self.block.stream,
            _ => !is_open,
        };
        if !sound || head.length > MAX_FRAME || self.block.frames.len() > MAX_BLOCK {
            self.block.frames.extend_from_slice(&self.head);
            return self.go_blind(out);
        }
        if head.is_of_block() {
            self.block.begin(head, &self.head);
            self.state = State::Gather(head.length);
            if head.length == 0 {
                self.frame_ends(out);
            }
        } else {
            out.put(&self.head);
            self.passes(head.length);
        }
    }

    fn frame_ends(&mut self, out: &mut impl Out) {
        self.state = State::FrameHead;
        let complete = match self.block.frame_ends() {
            Ok(false) => return,
            Ok(true) => std::mem::take(&mut self.block),
            Err(Broken) => return self.go_blind(out),
        };
        match self.judge(&complete.fragments, complete.stream) {
            Err(Broken) => {
                out.put(&complete.frames);
                self.state = State::Blind;
            }
            Ok(None) => out.put(&complete.frames),
            Ok(Some(written)) => write(&written, complete.stream, complete.flags, out),
        }
    }

    /// What h2 gets instead of the block, if it must not get it as it came.
    fn judge(&mut self, block: &[u8], stream: u32) -> Result<Option<Vec<u8>>, Broken> {
        let mut judge = Judge {
            trailers: stream <= self.highest,
            ..Judge::default()
        };
        let (mut size, mut written) = (0, Vec::new());
        let rewrites = self.rewrites;
        let read = self.table.read(block, is_sound, |field| {
            size += field.size();
            judge.see(&field);
            if rewrites {
                hpack::write(&field, &mut written);
            }
            size <= MAX_BLOCK
        });
        if read.is_err() || size > MAX_BLOCK {
            return Err(Broken);
        }
        self.highest = self.highest.max(stream);
        if judge.malformed {
            self.malformed += 1;
            self.rewrites = true;
            written.clear();
            hpack::write(&POISON, &mut written);
        }
        Ok(self.rewrites.then_some(written))
    }

    fn go_blind(&mut self, out: &mut impl Out) {
        out.put(&self.block.frames);
        self.block = Block::default();
        self.state = State::Blind;
    }
}

/// What h2 knows to be malformed: HTTP/2 has no such field.
const POISON: Field<'_> = Field {
    name: b"connection",
    value: b"malformed",
    sound: false,
};

impl Block {
    fn is_open(&self) -> bool {
        !self.frames.is_empty()
    }

    fn begin(&mut self, head: FrameHead, octets: &[u8]) {
        if head.kind == HEADERS {
            self.stream = head.stream;
            self.flags = head.flags;
        } else {
            self.flags = (self.flags & !(PADDED | PRIORITY)) | (head.flags & END_HEADERS);
        }
        self.frames.extend_from_slice(octets);
        self.payload = self.frames.len();
    }

    /// A frame is complete; returns whether the block is.
    fn frame_ends(&mut self) -> Result<bool, Broken> {
        let fragment = fragment(&self.frames[self.payload..], self.flags)?;
        self.fragments.extend_from_slice(fragment);
        Ok(self.flags & END_HEADERS != 0)
    }
}

/// The part of a block that a payload carries, without padding and priority (RFC 9113 section 6.2).
fn fragment(payload: &[u8], flags: u8) -> Result<&[u8], Broken> {
    let mut fragment = payload;
    if flags & PADDED != 0 {
        let (padding, rest) = fragment.split_first().ok_or(Broken)?;
        let end = rest
            .len()
            .checked_sub(usize::from(*padding))
            .ok_or(Broken)?;
        fragment = &rest[..end];
    }
    if flags & PRIORITY != 0 {
        fragment = fragment.get(5..).ok_or(Broken)?;
    }
    Ok(fragment)
}

/// Writes a block in frames of its own. `flags`: of the block that it replaces.
fn write(block: &[u8], stream: u32, flags: u8, out: &mut impl Out) {
    let mut pieces = block.chunks(MAX_FRAME).peekable();
    let (mut kind, mut flags) = (HEADERS, flags & END_STREAM);
    loop {
        let piece = pieces.next().unwrap_or_default();
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        let length = u32::try_from(piece.len()).unwrap_or(0);
        out.put(&length.to_be_bytes()[1..]);
        out.put(&[kind, flags]);
        out.put(&stream.to_be_bytes());
        out.put(piece);
        if flags & END_HEADERS != 0 {
            return;
        }
        (kind, flags) = (CONTINUATION, 0);
    }
}

/// Looks at the fields of one block.
#[derive(Debug, Default)]
struct Judge {
    trailers: bool,
    has_length: bool,
    malformed: bool,
}

impl Judge {
    fn see(&mut self, field: &Field<'_>) {
        let misplaced = self.trailers && field.name.first() == Some(&b':');
        let is_length = field.name == b"content-length";
        self.malformed |= !field.sound || misplaced || (is_length && self.has_length);
        self.has_length |= is_length;
    }
}

/// Whether h2 may get the field. `known`: the name is that of a field which is sound.
fn is_sound(name: &[u8], value: &[u8], known: bool) -> bool {
    match name.first() {
        Some(b':') => is_pseudo(name, value),
        _ => (known || is_name(name)) && is_value(value),
    }
}

/// RFC 9113 section 8.3.1, as far as the block can be handed on: h2 sees to what is absent or repeated.
fn is_pseudo(name: &[u8], value: &[u8]) -> bool {
    match name {
        b":method" => Method::from_bytes(value).is_ok(),
        b":scheme" | b":authority" | b":path" => std::str::from_utf8(value).is_ok(),
        _ => false,
    }
}

/// RFC 9113 section 8.2.1, and what h2's types can hold; without making them, since this is done for every field.
fn is_value(value: &[u8]) -> bool {
    let is_space = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    value
        .iter()
        .fold(true, |all, octet| all & is_of_value(*octet))
        && !is_space(value.first())
        && !is_space(value.last())
}

/// A token in small letters.
fn is_name(name: &[u8]) -> bool {
    let is_of_name = |octet: &u8| OF_NAMES[usize::from(*octet)];
    (1..1 << 16).contains(&name.len()) && name.iter().all(is_of_name)
}

/// The octets of tokens (RFC 9110 section 5.6.2), less the capitals.
const OF_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let octets = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
    let mut at = 0;
    while at < octets.len() {
        table[octets[at] as usize] = true;
        at += 1;
    }
    table
};

fn is_of_value(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}
