//! The operations against the published model.

use std::process::Command;

use super::*;

/// The model as botocore has it; nothing where botocore is not installed.
fn model() -> Option<serde_json::Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/model/dump.py");
    let output = Command::new("python3")
        .args([script, "route53"])
        .output()
        .ok()?;
    if !output.status.success() {
        eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn operations_agree_with_the_published_model() {
    let Some(model) = model() else { return };
    let (cell, _node) = Cell::for_test();
    let service = service(&Arc::new(Route53::new(cell, &CONTRIBUTIONS)));
    assert_eq!(service.operations().count(), 45);
    let differences = lath_oracle::compare(&service, &model);
    let texts: Vec<String> = differences
        .iter()
        .filter(|difference| !difference.lax)
        .map(ToString::to_string)
        .collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
