//! Requests to a region's gateway: a head is whole or it is not, whatever follows, and an empty region leads
//! nowhere.

use lath_feed::Snapshot;
use lath_mesh::fuzzing::{authority, ways};

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(Some((asked, length))) = authority(bytes) {
        assert!(bytes[..length].ends_with(b"\r\n\r\n"));
        assert!(!asked.is_empty() && !asked.contains([' ', '\r', '\n']));
        assert_eq!(authority(&bytes[..length]), Ok(Some((asked, length))));
        assert_eq!(ways(&Snapshot::default(), asked), 0);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(ways(&Snapshot::default(), text), 0);
    }
}
