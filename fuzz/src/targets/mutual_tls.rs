//! What the tag of a listener asks of clients, and that of a target group of targets.

use crate::text;

pub(super) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let of_clients = lath_lattice::fuzzing::mutual_tls(text);
    let of_targets = lath_lattice::fuzzing::target_tls(text);
    of_clients.into_iter().chain(of_targets).for_each(check);
}

fn check(anchors: Vec<String>) {
    assert!(anchors.len() <= 16);
    let mut once = anchors.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), anchors.len(), "each stands there once");
}
