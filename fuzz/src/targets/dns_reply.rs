//! What an upstream resolver sends: only what answers our question is passed on, and no more of it than
//! the client takes. The first byte is half the client's limit, the rest the upstream's bytes.

use lath_dns::{decode_query, fuzzing};

/// `web.example. A IN`, number 7.
const QUESTION: &[u8] =
    b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x07example\x00\x00\x01\x00\x01";

pub(crate) fn run(bytes: &[u8]) {
    let Some((limit, reply)) = bytes.split_first() else {
        return;
    };
    let query = decode_query(QUESTION).expect("a question");
    if !fuzzing::is_answer(reply, 9, &query) {
        return;
    }
    assert!(reply.starts_with(&[0, 9]) && reply[2] & 0x80 != 0);
    assert!(!fuzzing::is_answer(reply, 10, &query));
    let limit = 512 + 2 * usize::from(*limit);
    let relayed = fuzzing::relayed(&query, reply.to_vec(), limit);
    assert!(relayed.len() <= limit);
    assert!(relayed.starts_with(&[0, 7]) && relayed[2] & 0x80 != 0);
}
