//! The API beside AWS's published model, which `tests/model/dump.py` wrote to the file `LATH_MODELS`.

use std::sync::Arc;

use lath_lambda::Lambda;

#[test]
fn every_operation_is_as_its_model_says() {
    // bin/lath's test of all services fails where the models are required and missing.
    let Some(path) = std::env::var_os("LATH_MODELS") else {
        return;
    };
    let models: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let app = Lambda {
        cell: lath_control::Cell::for_test().0,
        archives: lath_code::Archives::at("/nowhere"),
    };
    let service = lath_lambda::service(&Arc::new(app));
    let differences = lath_oracle::compare(&service, &models);
    let lines: Vec<String> = differences
        .iter()
        .filter(|it| !it.lax)
        .map(ToString::to_string)
        .collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    let strange = lath_oracle::unknown_refusals(&service, &models);
    assert!(strange.is_empty(), "{strange:?}");
}
