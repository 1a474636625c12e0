//! Every registered operation against the published model of CloudFormation.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod nobody;

use std::process::Command;
use std::sync::Arc;

use lath_oracle::compare;
use serde_json::Value;

/// The model, or nothing where botocore is not installed.
fn models() -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/model/dump.py");
    let output = Command::new("python3")
        .args([script, "cloudformation"])
        .output();
    let output = output.ok().filter(|output| output.status.success());
    if output.is_none() {
        eprintln!("SKIPPED: python3 with botocore is not there");
    }
    Some(serde_json::from_slice(&output?.stdout).unwrap())
}

#[test]
fn every_operation_is_as_the_model_says() {
    let Some(models) = models() else { return };
    let service = lath_cloudformation::service(&Arc::new(nobody::app()));
    let wrong: Vec<String> = compare(&service, &models)
        .into_iter()
        .filter(|difference| !difference.lax)
        .map(|difference| difference.to_string())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{}", lath_oracle::compat_table([&service], &models));
}
