//! Policies of rules and target groups, as users write them.

use http::header::{HeaderName, HeaderValue};
use lath_model::traffic::{HeaderEdits, PathChange};

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    if let Some(policy) = lath_lattice::fuzzing::load_balancing(text(bytes)) {
        assert_eq!(policy.check(), Ok(()));
        assert!(!policy.is_empty());
    }
    lath_lattice::fuzzing::canary(text(bytes));
    let Some(policy) = lath_lattice::fuzzing::traffic_policy(text(bytes)) else {
        return;
    };
    assert_eq!(policy.check(), Ok(()));
    sound(&policy.request_headers);
    sound(&policy.response_headers);
    let rewrite = policy.rewrite.iter();
    let paths = rewrite.filter_map(|it| it.path.as_ref());
    let redirect = policy.redirect.iter();
    let paths = paths.chain(redirect.filter_map(|it| it.path.as_ref()));
    paths.for_each(stays_a_path);
    assert!(policy.redirect.is_none() || !policy.concerns_targets());
}

/// No edit ends a line, frames a message, or says what only the proxy says.
fn sound(edits: &HeaderEdits) {
    let fields = edits.set.iter().chain(&edits.add);
    let names = fields.clone().map(|(name, _)| name);
    for name in names.chain(&edits.remove) {
        let name: HeaderName = name.parse().expect("a header's name");
        let own = ["host", "content-length", "transfer-encoding", "connection", "x-amzn-lattice-identity"];
        let folded = name.as_str().replace(|it: char| !it.is_ascii_alphanumeric(), "-");
        assert!(!own.contains(&folded.as_str()), "{name}");
    }
    for (_, value) in fields {
        let value: HeaderValue = value.parse().expect("a header's value");
        assert!(value.as_bytes().iter().all(|it| !b"\r\n\0".contains(it)));
    }
}

/// What a change makes of paths begins with a slash and has no query, fragment or white space.
fn stays_a_path(change: &PathChange) {
    let own = match change {
        PathChange::Full(_) => "/",
        PathChange::Prefix { from, .. } => from,
    };
    for path in ["/", "/a", "/a/b", "*", own, &format!("{own}/x")] {
        if let Some(changed) = change.of(path) {
            assert!(changed.starts_with('/'), "{path} -> {changed}");
            assert!(!changed.contains(['?', '#', ' ', '\r', '\n']), "{path} -> {changed}");
        }
    }
}
