//! The guard over HTTP/2 clients: what it hands on does not depend on how reads cut the bytes; nothing is lost,
//! and nothing is changed while no block was malformed. The first byte is the length of the pieces.

use lath_proxy::Http2Guard;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) fn run(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let bytes = [PREFACE, bytes].concat();
    let (whole, malformed) = follow(&bytes, bytes.len());
    let (cut, malformed_cut) = follow(&bytes, usize::from(size).max(1));
    assert_eq!((&whole, malformed), (&cut, malformed_cut));
    if malformed == 0 {
        assert!(bytes.starts_with(&whole), "a sound connection passes as it is");
    }
    // What was handed on has no malformed block any more but those that h2 refuses by itself.
    let (again, left) = follow(&whole, whole.len());
    assert_eq!(left, 0);
    assert!(whole.starts_with(&again));
}

fn follow(bytes: &[u8], size: usize) -> (Vec<u8>, usize) {
    let (mut guard, mut out) = (Http2Guard::default(), Vec::new());
    for piece in bytes.chunks(size) {
        guard.follow(piece, &mut out);
    }
    (out, guard.malformed())
}
