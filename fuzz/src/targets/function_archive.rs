//! Archives of functions' code.

pub(crate) fn run(bytes: &[u8]) {
    lath_code::fuzzing::archive(bytes);
}
