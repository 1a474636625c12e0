//! The feed between processes: bytes that are read as a message are written as one that reads the same.

pub(crate) fn run(bytes: &[u8]) {
    lath_feed::fuzzing::messages(bytes);
}
