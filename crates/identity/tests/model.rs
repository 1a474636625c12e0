//! Compares every registered operation with the published models of STS, Secrets Manager and EKS Auth.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;
use std::sync::Arc;

use lath_identity::{Identity, RootKey, eks_auth_service, secretsmanager_service, sts_service};
use lath_oracle::compare;
use serde_json::Value;

/// The models; `None` when botocore is not installed.
fn models() -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/model/dump.py");
    let output = Command::new("python3")
        .args([script, "sts", "secretsmanager", "eks-auth"])
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
    let identity = Arc::new(Identity::new(RootKey::random().unwrap(), "123456789012"));
    let services = [
        sts_service(&identity),
        secretsmanager_service(&identity),
        eks_auth_service(&identity),
    ];
    for service in services {
        let wrong: Vec<String> = compare(&service, &models)
            .into_iter()
            .filter(|difference| !difference.lax)
            .map(|difference| difference.to_string())
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
