//! Entries and marks as they lie on a disk: what is read is written as the same bytes.

use lath_store::fuzzing::{entry, mark};

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(again) = entry("record/ec2.vpc/vpc-1", bytes) {
        assert_eq!(again, bytes);
    }
    if let Some(again) = mark(bytes) {
        assert_eq!(again, bytes);
    }
}
