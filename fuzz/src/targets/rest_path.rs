//! REST paths: percent-decoding gives no more than was sent, and undoes itself for plain text.

use lath_wire::Route;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let path = text(bytes);
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
}
