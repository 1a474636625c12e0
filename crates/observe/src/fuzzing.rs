//! Doors for the targets in `fuzz/`, and for nobody else.

/// How many errors and warnings a dashboard's body has.
pub fn dashboard_findings(body: &str) -> (usize, usize) {
    let found = crate::cloudwatch::dashboard_body::check(body);
    (found.errors.len(), found.warnings.len())
}
