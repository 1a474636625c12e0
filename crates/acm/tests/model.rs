//! The API beside AWS's published models, which `tests/model/dump.py` wrote to the file `LATH_MODELS`.

use std::sync::Arc;

use lath_acm::{Acm, Pca};

#[test]
fn every_operation_is_as_its_model_says() {
    // bin/lath's test of all services fails where the models are required and missing.
    let Some(path) = std::env::var_os("LATH_MODELS") else {
        return;
    };
    let models = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cell = lath_control::Cell::for_test().0;
    let acm = Acm {
        cell: cell.clone(),
        records: |_, _, _, _| Vec::new(),
    };
    let services = [
        lath_acm::service(&Arc::new(acm)),
        lath_acm::pca_service(&Arc::new(Pca { cell })),
    ];
    for service in &services {
        let differences = lath_oracle::compare(service, &models);
        let lines: Vec<String> = differences
            .iter()
            .filter(|it| !it.lax)
            .map(|it| format!("{}: {it}", service.info().model))
            .collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
        let strange = lath_oracle::unknown_refusals(service, &models);
        assert!(strange.is_empty(), "{strange:?}");
    }
}
