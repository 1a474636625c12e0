//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

mod nobody;

use std::sync::Arc;

#[test]
fn operations_need_what_the_reference_says() {
    let service = lath_cloudformation::service(&Arc::new(nobody::app()));
    let differences = lath_authz::compare(&service);
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
