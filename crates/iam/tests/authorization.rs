//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use std::sync::Arc;

use lath_control::Cell;
use lath_iam::Iam;

#[test]
fn operations_need_what_the_reference_says() {
    let services = [lath_iam::service(&Arc::new(Iam::new(
        Cell::for_test().0,
        Arc::default(),
    )))];
    let differences: Vec<String> = services.iter().flat_map(lath_authz::compare).collect();
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
