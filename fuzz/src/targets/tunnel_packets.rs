//! Frames of a TUN device and packets of a tunnel's other end: cutting is bounded, and glueing loses nothing.
//! The bytes are packets, each with its length in two bytes before it.

use lath_tunnel::fuzzing::{frames, packets};

pub(crate) fn run(bytes: &[u8]) {
    assert!(packets(bytes.to_vec()).len() <= bytes.len().max(1));
    let (mut all, mut rest) = (Vec::new(), bytes);
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(more.len());
        all.push(more[..length].to_vec());
        rest = &more[length..];
    }
    let again: Vec<Vec<u8>> = frames(&all).into_iter().flat_map(packets).collect();
    assert_eq!(again.len(), all.len());
    for (again, sent) in again.iter().zip(&all) {
        assert_eq!(again.len(), sent.len());
    }
}
