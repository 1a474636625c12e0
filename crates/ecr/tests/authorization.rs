//! What the operations state of permissions, beside AWS's Service Authorization Reference. What differs stands in
//! `authorization.txt` with the reason.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lath_ecr::{Ecr, Login, Logins};
use lath_registry::Images;
use lath_wire::{Ask, Authorize, Caller, Denied};

struct Nobody;

impl Authorize for Nobody {
    fn authorize(&self, _: &Ask<'_>) -> Result<(), Denied> {
        Err(Denied::Credentials)
    }
}

impl Logins for Nobody {
    fn login(&self, _: &Caller, _: Duration) -> Option<Login> {
        None
    }

    fn caller(&self, _: &str, _: &str, _: Option<IpAddr>) -> Option<Caller> {
        None
    }

    fn seal(&self, plain: &str) -> String {
        plain.to_owned()
    }

    fn open(&self, _: &str) -> Option<String> {
        None
    }

    fn judge(&self) -> &dyn Authorize {
        self
    }
}

#[test]
fn operations_need_what_the_reference_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let images = Images::open(directory.path()).expect("a store");
    let cell = lath_control::Cell::for_test().0;
    let app = Ecr::new(cell, images, Arc::new(Nobody), String::new());
    let differences = lath_authz::compare(&lath_ecr::service(&Arc::new(app)));
    let list = include_str!("authorization.txt");
    lath_authz::judged(&differences, list).unwrap_or_else(|error| panic!("{error}"));
}
