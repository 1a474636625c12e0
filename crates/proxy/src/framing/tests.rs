//! Framing of both directions as tables: what passes, and what is an offence.

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
fn ambiguous_requests_are_refused_wherever_reads_cut_them() {
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    let most = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
    let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(61 * 1024));
    let post =
        |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
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

/// The offence in a target's bytes after one request, and what was sound before it.
fn response_offence(to_head: bool, text: &[u8], cut: usize) -> (Option<Offence>, usize) {
    let mut guard = Guard::over_responses();
    guard.expect_response(to_head);
    let sound = text
        .chunks(cut.max(1))
        .map(|piece| guard.advance(piece))
        .sum();
    (guard.offence(), sound)
}

#[test]
fn ambiguous_responses_are_refused_wherever_reads_cut_them() {
    use Offence::*;
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(129 * 1024));
    let endless = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33);
    let most = "HTTP/1.1 100 Continue\r\n\r\n".repeat(32) + "HTTP/1.1 204 X\r\n\r\n";
    let (get, head) = (false, true);
    for (name, to_head, text, want) in [
        (
            "length",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            None,
        ),
        (
            "no reason",
            get,
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            None,
        ),
        (
            "chunked",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
            None,
        ),
        (
            "trailers",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 42\r\n\r\n",
            None,
        ),
        (
            "until close",
            get,
            "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n",
            None,
        ),
        ("HTTP/1.0", get, "HTTP/1.0 200 OK\r\n\r\npart\0\n", None),
        (
            "bare line feeds",
            get,
            "HTTP/1.0 200 OK\nContent-Length: 2\n\nok",
            None,
        ),
        (
            "to HEAD",
            head,
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            None,
        ),
        (
            "204 with a length",
            get,
            "HTTP/1.1 204 X\r\nContent-Length: 100\r\n\r\n",
            None,
        ),
        (
            "304 with a length",
            get,
            "HTTP/1.1 304 X\r\nContent-Length: 100\r\n\r\n",
            None,
        ),
        (
            "hints",
            get,
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            None,
        ),
        ("many interim ones", get, &most, None),
        ("endless interim ones", get, &endless, Some(Interim)),
        (
            "both lengths",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Some(BothLengths),
        ),
        (
            "both, turned",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            Some(BothLengths),
        ),
        (
            "both to HEAD",
            head,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            Some(BothLengths),
        ),
        (
            "two lengths",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n",
            Some(ContentLength),
        ),
        (
            "the same twice",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            Some(ContentLength),
        ),
        (
            "a list of lengths",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            Some(ContentLength),
        ),
        (
            "a negative length",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            Some(ContentLength),
        ),
        (
            "a lost coding",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            Some(TransferEncoding),
        ),
        (
            "coding after chunked",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n",
            Some(TransferEncoding),
        ),
        (
            "a coding without chunks",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            Some(TransferEncoding),
        ),
        (
            "chunked in HTTP/1.0",
            get,
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Some(TransferEncoding),
        ),
        (
            "space before colon",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
            Some(Whitespace),
        ),
        (
            "obs-fold",
            get,
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            Some(Whitespace),
        ),
        (
            "bare carriage return",
            get,
            "HTTP/1.1 200 OK\r\nA: b\rContent-Length: 3\r\n\r\n",
            Some(LineEnding),
        ),
        (
            "nul",
            get,
            "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            Some(LineEnding),
        ),
        ("no HTTP", get, "SSH-2.0-OpenSSH\r\n", Some(StatusLine)),
        ("HTTP/2.0", get, "HTTP/2.0 200 OK\r\n\r\n", Some(StatusLine)),
        (
            "two digits",
            get,
            "HTTP/1.1 20 OK\r\n\r\n",
            Some(StatusLine),
        ),
        (
            "four digits",
            get,
            "HTTP/1.1 2000 OK\r\n\r\n",
            Some(StatusLine),
        ),
        ("101 headers", get, &many, Some(TooManyHeaders)),
        ("129 KB head", get, &long, Some(HeadTooLong)),
        (
            "chunk size",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Some(Chunk),
        ),
        (
            "chunk too long",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            Some(Chunk),
        ),
        (
            "bare feed after size",
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
            Some(LineEnding),
        ),
        (
            "more than the length",
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
            Some(Unasked),
        ),
        (
            "a body to HEAD",
            head,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            Some(Unasked),
        ),
        (
            "a second response",
            get,
            "HTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Some(Unasked),
        ),
    ] {
        for cut in [1, 2, 3, 7, 64, text.len()] {
            let (offence, _) = response_offence(to_head, text.as_bytes(), cut);
            assert_eq!(offence, want, "{name}, cut at {cut}");
        }
    }
    assert_eq!(
        response_offence(get, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy", 64),
        (Some(Unasked), 39),
        "what precedes an offence stays"
    );
    let mut idle = Guard::over_responses();
    idle.advance(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
    assert_eq!(idle.offence(), Some(Unasked), "nothing was asked");
}

#[test]
fn interim_responses_are_kept_wherever_reads_cut_them() {
    let text = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Long-Enough-To-Be-Cut-By-What-Is-Kept-Of-A-Line: 0123456789012345678901234567890123456789\r\n\r\n\
                 HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    for cut in [1, 2, 3, 7, 64, text.len()] {
        let mut guard = Guard::over_responses();
        guard.expect_response(false);
        let mut interim = Vec::new();
        for piece in text.chunks(cut) {
            guard.advance(piece);
            interim.extend(guard.take_interim());
        }
        let statuses: Vec<_> = interim.iter().map(|it| it.status).collect();
        assert_eq!(statuses, [103, 100], "cut at {cut}");
        let lines = String::from_utf8_lossy(&interim[0].lines);
        assert!(lines.contains("Link: </a>\r\n"), "cut at {cut}: {lines}");
        assert!(
            lines.ends_with(": 0123456789012345678901234567890123456789\r\n\r\n"),
            "cut at {cut}: {lines}"
        );
        assert!(
            interim.iter().all(|it| it.lines.len() < 300),
            "cut at {cut}"
        );
    }
}

proptest! {
    #[test]
    fn cuts_do_not_matter(text in "(GET / HTTP/1.1\r\n|[aC]: [0-9]{1,2}\r?\n|Content-Length: [0-3]\r\n|\r\n|\n|[a-c\r]{0,4}){0,9}", cut in 1_usize..9) {
        prop_assert_eq!(offence(text.as_bytes(), cut), offence(text.as_bytes(), text.len()));
    }

    #[test]
    fn cuts_of_responses_do_not_matter(text in "(HTTP/1.[01] (103|200|204|304) X\r\n|[aC]: [0-9]{1,2}\r?\n|Content-Length: [0-3]\r\n|Transfer-Encoding: chunked\r\n|[0-2]\r\n|\r\n|\n|[a-c\r]{0,4}){0,9}", cut in 1_usize..9, to_head in proptest::bool::ANY) {
        let whole = response_offence(to_head, text.as_bytes(), text.len());
        let pieces = response_offence(to_head, text.as_bytes(), cut);
        prop_assert_eq!(whole.0, pieces.0);
    }
}
