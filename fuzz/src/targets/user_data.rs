//! User data: gzip, MIME multipart and `#cloud-config`. What comes of it is bounded.

use lath_instance::fuzzing::user_data;

pub(crate) fn run(bytes: &[u8]) {
    let extent = user_data(bytes);
    assert!(extent.parts <= 64 && extent.problems <= 64);
    assert!(extent.bytes <= 256 << 20, "{extent:?}");
}
