//! What the tags of rules, listeners and services say of gateways.

use lath_model::lattice::Match;
use lath_route::{Merged, PlainHead, Router};

use crate::text;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    if let Some(listeners) = lath_lattice::fuzzing::gateway(text) {
        assert!((1..=64).contains(&listeners.len()));
        for (place, (name, host, _)) in listeners.iter().enumerate() {
            let mut others = listeners[..place].iter();
            assert!(!others.any(|(other, its, _)| other == name || its == host));
            host.iter().for_each(|host| is_host(host));
        }
    }
    if let Some(routes) = lath_lattice::fuzzing::gateway_routes(text) {
        assert!((1..=64).contains(&routes.len()));
        routes.iter().flat_map(|(_, hosts)| hosts).for_each(|host| is_host(host));
    }
    let Some(more) = lath_lattice::fuzzing::rule_match(text) else {
        return;
    };
    assert_eq!(more.check(), Ok(()));
    let (any, plain) = (Match::default(), Match::default());
    let one = Router::extended([(1, &any, Some(&more))]);
    let other = Router::compile([(1, &plain)]);
    let merged = Merged::of([("a", &one), ("b", &other)]);
    for path in ["/", "/a", "/a/b", "*", text] {
        let head = PlainHead::new("GET", path).with_header("x-a", text).with_query(text);
        let chosen = merged.choose(&head);
        let last = merged.explain(&head).pop().map(|(listener, rule, _)| (listener, rule));
        assert_eq!(chosen, last, "{path}");
        assert_eq!(chosen == Some((0, 0)), one.choose(&head).is_some());
    }
}

fn is_host(host: &str) {
    assert!(lath_model::traffic::is_hostname(host.strip_prefix("*.").unwrap_or(host)));
}
