use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// `name: value` with incremental indexing.
fn indexed(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |octets: &[u8]| vec![u8::try_from(octets.len()).unwrap()];
    [
        vec![0x40],
        length(name),
        name.to_vec(),
        length(value),
        value.to_vec(),
    ]
    .concat()
}

/// GET http://a/ and these fields.
fn request(more: &[u8]) -> Vec<u8> {
    [&[0x82, 0x86, 0x84, 0x01, 1, b'a'], more].concat()
}

fn followed(bytes: &[u8], cut: usize) -> (Vec<u8>, usize) {
    let (mut guard, mut out) = (Http2Guard::default(), Vec::new());
    for piece in bytes.chunks(cut.max(1)) {
        guard.follow(piece, &mut out);
    }
    (out, guard.malformed())
}

#[test]
fn names_and_values_are_those_that_h2_can_hold() {
    for octet in 0..=u8::MAX {
        let text = [b'a', octet, b'a'];
        let name = http::HeaderName::from_lowercase(&text);
        // The http crate also takes the quotation mark, which is of no token (RFC 9110 section 5.6.2).
        assert_eq!(is_name(&text), name.is_ok() && octet != b'"', "{octet}");
        let value = http::HeaderValue::from_bytes(&text);
        assert_eq!(is_value(&text), value.is_ok(), "{octet}");
    }
    for length in [0, 1, (1 << 16) - 1, 1 << 16] {
        let name = vec![b'a'; length];
        assert_eq!(
            is_name(&name),
            http::HeaderName::from_lowercase(&name).is_ok(),
            "{length}"
        );
    }
}

#[test]
fn malformed_fields_are_found_and_only_they() {
    for (name, value, malformed) in [
        (&b"x-a"[..], &b"1"[..], false),
        (b"x-a", b"", false),
        (b"x-a", b"caf\xe9", false),
        (b"x_under", b"1 2", false),
        (b"content-length", b"0", false),
        (b"X-A", b"1", true),
        (b"x a", b"1", true),
        (b"", b"1", true),
        (b"x\x80", b"1", true),
        (b"x:a", b"1", true),
        (b"x-a", b" 1", true),
        (b"x-a", b"1\t", true),
        (b"x-a", b"a\r\nb", true),
        (b"x-a", b"a\0b", true),
        (b":status", b"200", true),
        (b":bogus", b"1", true),
        (b":path", b"\xff", true),
        (b":method", b"G T", true),
    ] {
        let block = request(&indexed(name, value));
        let bytes = [PREFACE, &frame(HEADERS, 5, 1, &block)].concat();
        for cut in [1, 7, bytes.len()] {
            let (out, count) = followed(&bytes, cut);
            assert_eq!(count, usize::from(malformed), "{name:?}: {value:?}");
            assert_eq!(out != bytes, malformed, "{name:?}: {value:?}");
        }
    }
}

#[test]
fn lengths_are_not_repeated_and_trailers_have_no_pseudo_headers() {
    let twice = [
        indexed(b"content-length", b"0"),
        indexed(b"content-length", b"0"),
    ]
    .concat();
    let (_, count) = followed(
        &[PREFACE, &frame(HEADERS, 5, 1, &request(&twice))].concat(),
        99,
    );
    assert_eq!(count, 1);
    for (trailer, malformed) in [(indexed(b"x-sum", b"1"), 0), (vec![0x84], 1)] {
        let head = frame(HEADERS, END_HEADERS, 1, &request(&[]));
        let bytes = [
            PREFACE,
            &head,
            &frame(0, 0, 1, b"data"),
            &frame(HEADERS, 5, 1, &trailer),
        ];
        assert_eq!(followed(&bytes.concat(), 99).1, malformed);
    }
}

#[test]
fn after_a_malformed_block_later_ones_need_nothing_of_it() {
    let first = request(&indexed(b"X-Bad", b"1"));
    let second = request(&indexed(b"x-good", b"2"));
    // The newest entry of the table, then the one before.
    let third = request(&[0xbe, 0xbf]);
    let bytes = [
        PREFACE,
        &frame(4, 0, 0, b""),
        &frame(HEADERS, 5, 1, &first),
        &frame(HEADERS, 5, 3, &second),
        &frame(HEADERS, 5, 5, &third),
    ]
    .concat();
    let (out, malformed) = followed(&bytes, 5);
    assert_eq!(malformed, 2, "the third names the malformed field again");
    let mut fresh = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("x-good", "2"),
    ] {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        let sound = true;
        hpack::write(&Field { name, value, sound }, &mut fresh);
    }
    let mut poisoned = Vec::new();
    hpack::write(&POISON, &mut poisoned);
    let want = [
        PREFACE,
        &frame(4, 0, 0, b""),
        &frame(HEADERS, 5, 1, &poisoned),
        &frame(HEADERS, 5, 3, &fresh),
        &frame(HEADERS, 5, 5, &poisoned),
    ];
    assert_eq!(out, want.concat());
}

#[test]
fn blocks_in_pieces_with_padding_and_priority_are_read() {
    let block = request(&indexed(b"X-Bad", b"1"));
    let (start, end) = block.split_at(4);
    let padded = [&[2][..], &[0, 0, 0, 0, 16], start, &[0, 0]].concat();
    let bytes = [
        PREFACE,
        &frame(HEADERS, END_STREAM | PADDED | PRIORITY, 1, &padded),
        &frame(CONTINUATION, 0, 1, &end[..3]),
        &frame(CONTINUATION, END_HEADERS, 1, &end[3..]),
    ]
    .concat();
    for cut in [1, 8, bytes.len()] {
        let (out, malformed) = followed(&bytes, cut);
        assert_eq!(malformed, 1);
        assert_eq!(
            out[PREFACE.len() + 3..PREFACE.len() + 5],
            [HEADERS, END_STREAM | END_HEADERS]
        );
    }
}

#[test]
fn what_breaks_the_connection_is_left_to_h2() {
    let unfinished = frame(HEADERS, 0, 1, &request(&[]));
    for bad in [
        [&unfinished[..], &frame(0, 0, 1, b"x")].concat(),
        [&unfinished[..], &frame(CONTINUATION, 4, 3, b"")].concat(),
        frame(CONTINUATION, 4, 1, b"\x82"),
        frame(HEADERS, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]),
        frame(HEADERS, 5 | PADDED, 1, &[9, 0x82]),
        frame(0, 0, 1, &vec![0; MAX_FRAME + 1]),
    ] {
        let bytes = [PREFACE, &bad, b"whatever follows"].concat();
        for cut in [1, 10, bytes.len()] {
            assert_eq!(followed(&bytes, cut), (bytes.clone(), 0));
        }
    }
}
