//! What a probed target answers: once there is a verdict, no further byte changes it.
#![no_main]

use lath_health::{StatusLine, status_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(512)];
    let mut before = StatusLine::Partial;
    for length in 0..=bytes.len() {
        let now = status_of(&bytes[..length]);
        assert!(
            before == StatusLine::Partial || now == before,
            "{before:?} became {now:?}"
        );
        if let StatusLine::Status(status) = now {
            assert!(status == 101 || (200..1000).contains(&status), "{status}");
        }
        before = now;
    }
});
