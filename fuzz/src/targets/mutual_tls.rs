//! What the tag of a listener asks of clients.

use crate::text;

pub(super) fn run(bytes: &[u8]) {
    let Some(anchors) = lath_lattice::fuzzing::mutual_tls(text(bytes)) else {
        return;
    };
    assert!(anchors.len() <= 16);
    let mut once = anchors.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), anchors.len(), "each stands there once");
}
