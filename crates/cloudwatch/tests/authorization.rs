//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use lath_cloudwatch::{CloudWatch, Limits};
use lath_control::Cell;

#[test]
fn operations_need_what_the_reference_says() {
    let services = {
        let directory = tempfile::tempdir().unwrap();
        let cell = Cell::for_test().0;
        let app = CloudWatch::open(cell, directory.path(), Limits::default()).unwrap();
        lath_cloudwatch::services(&app)
    };
    let differences: Vec<String> = services.iter().flat_map(lath_authz::compare).collect();
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
