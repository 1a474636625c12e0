//! User data: gzip, MIME multipart and `#cloud-config`. What comes of it is bounded.
#![no_main]

use lath_instance::fuzzing::user_data;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let extent = user_data(bytes);
    assert!(extent.parts <= 64 && extent.problems <= 64);
    assert!(extent.bytes <= 256 << 20, "{extent:?}");
});
