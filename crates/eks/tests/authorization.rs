//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use std::sync::Arc;

use lath_eks::Eks;

#[test]
fn operations_need_what_the_reference_says() {
    let nothing = || Err(lath_kubernetes::binaries::BinariesError::NotNamed);
    let services = [lath_eks::service(&Arc::new(Eks {
        cell: lath_control::Cell::for_test().0,
        platform: lath_eks::Platform::new(nothing, |_| true),
    }))];
    let differences: Vec<String> = services.iter().flat_map(lath_authz::compare).collect();
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
