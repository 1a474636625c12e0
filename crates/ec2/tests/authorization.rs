//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use std::sync::Arc;

use lath_control::Cell;
use lath_ec2::Ec2;

#[test]
fn operations_need_what_the_reference_says() {
    let services = [lath_ec2::service(&Arc::new(Ec2 {
        cell: Cell::for_test().0,
    }))];
    let differences: Vec<String> = services.iter().flat_map(lath_authz::compare).collect();
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|told| panic!("{told}"));
}
