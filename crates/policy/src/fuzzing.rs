//! Entry points for the targets in `fuzz/` only.

use crate::reading::Readings;
use crate::{
    Attached, Context, Grammar, Kind, Outcome, Policy, Principal, Request, Rule, evaluate,
};

/// Parses a document in every grammar and evaluates one request. With a deny of everything the result must
/// never be an allow.
pub fn read_and_ask(document: &str, action: &str, resource: &str) {
    for grammar in [Grammar::Identity, Grammar::Resource, Grammar::Trust] {
        let Ok(policy) = Policy::parse(document, grammar) else {
            continue;
        };
        let facts = Context::default()
            .with("aws:SourceIp", "10.0.0.1")
            .with("aws:username", resource);
        let request = Request {
            principal: &Principal::user("123456789012", "arn:aws:iam::123456789012:user/ann"),
            action,
            resource,
            facts: &facts,
        };
        let attached = Attached {
            name: "fuzz",
            kind: Kind::Identity,
            policy: &policy,
        };
        let decision = evaluate(&request, &[attached], Rule::SameAccount);
        let denied = decision
            .explanation()
            .iter()
            .any(|line| line.ends_with(": denies"));
        assert!(!denied || decision.outcome == Outcome::ExplicitDeny);
    }
}

/// A policy must also decide on the path that a target makes of a path. So the readings of a reading must add
/// nothing, and must contain no dot segment.
pub fn read_path(path: &str) {
    let readings = Readings::of(path);
    for reading in readings.allowed.iter().chain(&readings.not_denied) {
        assert!(reading.starts_with('/'), "{path}: {reading}");
        let dots = |segment: &str| matches!(segment, "." | "..");
        assert!(!reading.split('/').any(dots), "{path}: {reading}");
    }
    if let Some(loosest) = readings.allowed.last() {
        let again = Readings::of(loosest);
        assert!(again.allowed.is_empty(), "{path}: {loosest}: {again:?}");
    }
}
