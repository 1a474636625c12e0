//! REST paths: percent-decoding gives no more than was sent, and undoes itself for plain text.
#![no_main]

use lath_wire::Route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let route = Route::get(
        "/services/{serviceIdentifier}/listeners/{listenerIdentifier}",
        200,
    );
    if let Some(labels) = route.labels("GET", path) {
        assert_eq!(labels.len(), 2);
        assert!(
            labels
                .values()
                .all(|label| !label.is_empty() && label.len() <= path.len())
        );
    }
    assert!(route.labels("POST", path).is_none());
});
