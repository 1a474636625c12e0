//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use std::sync::Arc;

use lath_control::Cell;
use lath_lattice::Lattice;

#[test]
fn operations_need_what_the_reference_says() {
    let services = [lath_lattice::service(&Arc::new(Lattice {
        cell: Cell::for_test().0,
        records: |_, _, _, _| Vec::new(),
        canaries: Arc::new(lath_lattice::CanaryWatch::new(lath_clock::Clock::system())),
    }))];
    let differences: Vec<String> = services.iter().flat_map(lath_authz::compare).collect();
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
