//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use std::sync::Arc;

use lath_acm::{Acm, Pca};

#[test]
fn operations_need_what_the_reference_says() {
    let app = Acm {
        cell: lath_control::Cell::for_test().0,
        records: |_, _, _, _| Vec::new(),
    };
    let pca = Pca {
        cell: app.cell.clone(),
    };
    let mut differences = lath_authz::compare(&lath_acm::service(&Arc::new(app)));
    differences.extend(lath_authz::compare(&lath_acm::pca_service(&Arc::new(pca))));
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
