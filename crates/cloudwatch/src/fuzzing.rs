//! Entry points for the targets in `fuzz/` only.

/// How many errors and warnings a dashboard's body has.
pub fn dashboard_findings(body: &str) -> (usize, usize) {
    let found = crate::monitoring::dashboard_body::check(body);
    (found.errors.len(), found.warnings.len())
}
