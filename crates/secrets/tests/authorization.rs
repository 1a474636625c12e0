//! Compares the operations' permission statements with AWS's Service Authorization Reference.
//! `authorization.txt` lists the differences with their reasons.

use lath_model::{Owner, Partition};
use lath_secrets::{SecretsManager, secretsmanager_service};

#[test]
fn operations_need_what_the_reference_says() {
    let owner = Owner {
        partition: Partition::default(),
        account: "123456789012",
    };
    let service = secretsmanager_service(&SecretsManager::of(owner));
    let differences = lath_authz::compare(&service);
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|told| panic!("{told}"));
}
