//! Compares the operations' permission statements with AWS's Service Authorization Reference.
//! `authorization.txt` lists the differences with their reasons.

use std::sync::Arc;

use lath_judge::Judge;
use lath_secrets::RootKey;
use lath_sts::Sts;

#[test]
fn operations_need_what_the_reference_says() {
    let services = {
        let key = RootKey::random().unwrap();
        let sts = Arc::new(Sts::new(Arc::new(Judge::new(key, "123456789012"))));
        [
            lath_sts::sts_service(&sts),
            lath_sts::eks_auth_service(&sts),
        ]
    };
    let differences: Vec<String> = services.iter().flat_map(lath_authz::compare).collect();
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
