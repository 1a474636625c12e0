//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use std::sync::Arc;

use lath_lambda::Lambda;

#[test]
fn operations_need_what_the_reference_says() {
    let app = Lambda {
        cell: lath_control::Cell::for_test().0,
        archives: lath_code::Archives::at("/nowhere"),
    };
    let differences = lath_authz::compare(&lath_lambda::service(&Arc::new(app)));
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
