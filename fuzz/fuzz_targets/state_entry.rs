//! Entries and marks as they lie on a disk: what is read is written as the same bytes.
#![no_main]

use lath_store::fuzzing::{entry, mark};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(again) = entry("record/ec2.vpc/vpc-1", bytes) {
        assert_eq!(again, bytes);
    }
    if let Some(again) = mark(bytes) {
        assert_eq!(again, bytes);
    }
});
