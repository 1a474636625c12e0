//! What functions answer to requests of Lattice.

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some((status, headers, _)) = lath_proxy::fuzzing::function_reply(text) {
        assert!((200..600).contains(&status));
        assert!(headers <= 100);
    }
}
