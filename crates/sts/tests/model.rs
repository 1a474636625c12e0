//! Compares every registered operation with the published models of STS and EKS Auth.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;
use std::sync::Arc;

use lath_judge::Judge;
use lath_oracle::compare;
use lath_secrets::RootKey;
use lath_sts::{Sts, eks_auth_service, sts_service};
use serde_json::Value;

/// The models; `None` when botocore is not installed.
fn models() -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/model/dump.py");
    let output = Command::new("python3")
        .args([script, "sts", "eks-auth"])
        .output();
    let output = output.ok().filter(|output| output.status.success());
    if output.is_none() {
        eprintln!("SKIPPED: python3 with botocore is not there");
    }
    Some(serde_json::from_slice(&output?.stdout).unwrap())
}

#[test]
fn every_operation_is_as_the_models_say() {
    let Some(models) = models() else { return };
    let judge = Judge::new(RootKey::random().unwrap(), "123456789012");
    let sts = Arc::new(Sts::new(Arc::new(judge)));
    let services = [sts_service(&sts), eks_auth_service(&sts)];
    for service in services {
        let wrong: Vec<String> = compare(&service, &models)
            .into_iter()
            .filter(|difference| !difference.lax)
            .map(|difference| difference.to_string())
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
