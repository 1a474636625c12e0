//! The operations against the published model.

use std::process::Command;

use super::*;

/// The model as botocore has it; nothing where botocore is not installed.
fn model() -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/model/dump.py");
    let output = Command::new("python3")
        .args([script, "vpc-lattice"])
        .output()
        .ok()?;
    if !output.status.success() {
        eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}

fn registered() -> Service {
    let (cell, _node) = Cell::for_test();
    service(&Arc::new(Lattice {
        cell,
        records: proofs,
        canaries: Arc::new(crate::CanaryWatch::new(lath_clock::Clock::system())),
    }))
}

#[test]
fn every_operation_has_a_route_of_its_own() {
    let service = registered();
    let route = |name| service.route(name).map(|route| (route.path, route.method));
    let mut routes: Vec<_> = service.operations().map(route).collect();
    let count = routes.len();
    routes.sort_unstable();
    routes.dedup();
    assert_eq!((routes.len(), count), (73, 73));
}

#[test]
fn operations_agree_with_the_published_model() {
    let Some(model) = model() else { return };
    let differences = lath_oracle::compare(&registered(), &model);
    let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}
