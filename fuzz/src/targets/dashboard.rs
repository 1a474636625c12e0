//! Dashboard bodies: what is said about one is no more than a few findings for each of its values.

use lath_cloudwatch::fuzzing::dashboard_findings;

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let body = text(bytes);
    let (errors, warnings) = dashboard_findings(body);
    assert!(errors + warnings <= 8 * (body.len() + 1));
    if serde_json::from_str::<serde_json::Value>(body).is_err() {
        assert_eq!((errors, warnings), (1, 0));
    }
}
