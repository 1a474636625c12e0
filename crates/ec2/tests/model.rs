//! Every registered operation against the published model of EC2.

use std::process::Command;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2::Ec2;
use lath_oracle::compare;
use serde_json::Value;

/// The model, or nothing where botocore is not installed.
fn model() -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/model/dump.py");
    let output = Command::new("python3").args([script, "ec2"]).output();
    let output = output.ok().filter(|output| output.status.success());
    if output.is_none() {
        eprintln!("SKIPPED: python3 with botocore is not there");
    }
    Some(serde_json::from_slice(&output?.stdout).expect("the script prints JSON"))
}

#[test]
fn every_operation_is_as_the_model_says() {
    let Some(model) = model() else { return };
    let app = Arc::new(Ec2 {
        cell: Cell::for_test().0,
    });
    let wrong: Vec<String> = compare(&lath_ec2::service(&app), &model)
        .into_iter()
        .filter(|difference| !difference.lax)
        .map(|difference| difference.to_string())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
