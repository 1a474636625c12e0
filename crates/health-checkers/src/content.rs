//! Reads an endpoint's HTTP response: the head, and as much of the body as a search needs.

use std::io::Read as _;

use lath_health::{Flaw, Framing};

/// The search string must lie completely within this many bytes of the body, as in AWS.
const SEARCHED: usize = 5_120;

/// How much of an encoded body is read to get that many decoded bytes.
const MAX_BODY: usize = 64 << 10;

/// The result of reading a response so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress<T> {
    /// More must be read.
    Partial,
    /// The result.
    Done(T),
    /// It is not an HTTP response, or it contradicts itself.
    Malformed(Flaw),
}

/// A response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// The length of the head, where the body begins.
    length: usize,
    chunked: bool,
    coding: Coding,
    content_length: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
    Deflate,
    Other,
}

/// Reads the final head and skips interim ones (1xx). The rules are those of Lattice's checks.
pub(crate) fn head(bytes: &[u8]) -> Progress<Head> {
    match lath_health::Head::parse(bytes) {
        Ok(Some(head)) => Progress::Done(Head::of(&head)),
        Ok(None) => Progress::Partial,
        Err(flaw) => Progress::Malformed(flaw),
    }
}

impl Head {
    fn of(head: &lath_health::Head) -> Self {
        let coding = match head.header("content-encoding") {
            None | Some(b"" | b"identity") => Coding::Plain,
            Some(name) if name.eq_ignore_ascii_case(b"gzip") => Coding::Gzip,
            Some(name) if name.eq_ignore_ascii_case(b"deflate") => Coding::Deflate,
            Some(_) => Coding::Other,
        };
        let content_length = match head.framing {
            Framing::Empty => Some(0),
            Framing::Length(length) => Some(usize::try_from(length).unwrap_or(usize::MAX)),
            Framing::Chunked | Framing::Close => None,
        };
        Self {
            status: head.status,
            reason: head.reason().chars().take(80).collect(),
            length: head.length,
            chunked: head.framing == Framing::Chunked,
            coding,
            content_length,
        }
    }

    /// Whether `search` is in the first 5,120 bytes of the body. `bytes` is the response so far, head and body.
    /// `Partial` while more bytes could change the result.
    pub(crate) fn search(&self, bytes: &[u8], search: &str, ended: bool) -> Progress<bool> {
        let raw = bytes.get(self.length..).unwrap_or(&[]);
        let (body, whole) = self.body(raw);
        let decoded = decode(self.coding, &body);
        let searched = decoded.get(..SEARCHED).unwrap_or(&decoded);
        if contains(searched, search.as_bytes()) {
            return Progress::Done(true);
        }
        let enough = ended || whole || decoded.len() >= SEARCHED || raw.len() >= MAX_BODY;
        if enough {
            Progress::Done(false)
        } else {
            Progress::Partial
        }
    }

    /// The body without framing, and whether it is complete.
    fn body<'a>(&self, raw: &'a [u8]) -> (std::borrow::Cow<'a, [u8]>, bool) {
        if self.chunked {
            let (body, whole) = dechunk(raw);
            return (body.into(), whole);
        }
        match self.content_length {
            Some(length) => {
                let body = raw.get(..length).unwrap_or(raw);
                (body.into(), raw.len() >= length)
            }
            None => (raw.into(), false),
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Decodes the beginning of a body, at most the part that is searched.
fn decode(coding: Coding, body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let limit = SEARCHED as u64;
    // A decoding error is expected: the body may be incomplete.
    let _ = match coding {
        Coding::Plain | Coding::Other => body.take(limit).read_to_end(&mut decoded),
        Coding::Gzip => flate2::read::MultiGzDecoder::new(body)
            .take(limit)
            .read_to_end(&mut decoded),
        // RFC 9110, 8.4.1.2: `deflate` means zlib, but some servers send a raw deflate stream.
        Coding::Deflate if body.first().is_some_and(|first| first & 0x0f == 8) => {
            flate2::read::ZlibDecoder::new(body)
                .take(limit)
                .read_to_end(&mut decoded)
        }
        Coding::Deflate => flate2::read::DeflateDecoder::new(body)
            .take(limit)
            .read_to_end(&mut decoded),
    };
    decoded
}

/// The contents of chunks (RFC 9112, 7.1), and whether the last one was read. Stops at broken framing.
fn dechunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(raw) {
            Ok(httparse::Status::Complete((_, 0))) | Err(_) => return (body, true),
            Ok(httparse::Status::Partial) => return (body, false),
            Ok(httparse::Status::Complete((begin, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let rest = raw.get(begin..).unwrap_or(&[]);
                let Some(chunk) = rest.get(..size) else {
                    body.extend(rest);
                    return (body, false);
                };
                body.extend(chunk);
                raw = rest.get(size + 2..).unwrap_or(&[]);
                if body.len() >= MAX_BODY {
                    return (body, true);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn verdict(bytes: &[u8], search: &str, ended: bool) -> String {
        match head(bytes) {
            Progress::Partial => "partial".into(),
            Progress::Malformed(_) => "malformed".into(),
            Progress::Done(head) => {
                let found = head.search(bytes, search, ended);
                format!("{} {found:?}", head.status)
            }
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn responses_are_read_as_far_as_needed() {
        let at = |place: usize| {
            let mut body = vec![b'.'; place];
            body.extend(b"OK");
            [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &body].concat()
        };
        let coded = |coding: &str, body: &[u8]| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
            [head.as_bytes(), body].concat()
        };
        let zip = coded("gzip", &gzip(b"all is OK"));
        let flat = coded("deflate", &zlib(b"all is OK"));
        let bomb = coded("gzip", &gzip(&[b'.'; 10_000_000]));
        let (edge, over) = (at(5_118), at(5_119));
        let long = [
            b"HTTP/1.1 200 OK\r\na: ",
            &[b'x'; lath_health::MAX_HEAD][..],
        ]
        .concat();
        for (name, bytes, ended, want) in [
            ("nothing", &b""[..], false, "partial"),
            ("half a head", b"HTTP/1.1 200 OK\r\na: b", false, "partial"),
            ("not HTTP", b"SSH-2.0-OpenSSH\r\n", false, "malformed"),
            ("a long head", &long, false, "malformed"),
            ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nOK", false, "malformed"),
            ("both lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n", false, "malformed"),
            ("a bare line feed", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nOK", false, "malformed"),
            ("no body yet", b"HTTP/1.1 200 OK\r\n\r\n", false, "200 Partial"),
            ("found", b"HTTP/1.1 200 OK\r\n\r\nis OK", false, "200 Done(true)"),
            ("another case", b"HTTP/1.1 200 OK\r\n\r\nok", true, "200 Done(false)"),
            ("whole by length", b"HTTP/1.1 404 x\r\nContent-Length: 2\r\n\r\nNO", false, "404 Done(false)"),
            ("beyond its length", b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nNOOK", false, "200 Done(false)"),
            ("after an interim one", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nOK", false, "200 Done(true)"),
            ("over chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nO\r\n1\r\nK\r\n0\r\n\r\n", false, "200 Done(true)"),
            ("half a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nO", false, "200 Partial"),
            ("chunks without it", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nO\r\n0\r\n\r\n", false, "200 Done(false)"),
            ("up to the edge", &edge, false, "200 Done(true)"),
            ("over the edge", &over, false, "200 Done(false)"),
            ("gzip", &zip, false, "200 Done(true)"),
            ("deflate", &flat, false, "200 Done(true)"),
            ("a bomb", &bomb, false, "200 Done(false)"),
        ] {
            assert_eq!(verdict(bytes, "OK", ended), want, "{name}");
        }
    }
}
