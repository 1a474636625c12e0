//! The feed between processes: bytes that are read as a message are written as one that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lath_feed::fuzzing::messages(bytes));
