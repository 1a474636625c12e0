//! Compares the operations' permission statements with AWS's Service Authorization Reference.
//! `authorization.txt` lists the differences with their reasons.

use std::sync::Arc;

use lath_identity::{Identity, RootKey};

#[test]
fn operations_need_what_the_reference_says() {
    let services = {
        let key = RootKey::random().unwrap();
        let identity = Arc::new(Identity::new(key, "123456789012"));
        [
            lath_identity::sts_service(&identity),
            lath_identity::secretsmanager_service(&identity),
            lath_identity::eks_auth_service(&identity),
        ]
    };
    let differences: Vec<String> = services.iter().flat_map(lath_authz::compare).collect();
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
