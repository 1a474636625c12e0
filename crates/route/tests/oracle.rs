//! Compares the compiled router with a slow, obvious one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use lath_model::lattice::{HeaderKind, HeaderMatch, Match, PathKind, PathMatch};
use lath_route::{Head, PlainHead, Router, Weighted};
use proptest::prelude::*;

fn holds_slowly(conditions: &Match, head: &PlainHead) -> bool {
    let fold = |text: &str, sensitive: bool| {
        if sensitive {
            text.to_owned()
        } else {
            text.to_ascii_lowercase()
        }
    };
    let method = conditions
        .method
        .as_ref()
        .is_none_or(|method| method == head.method());
    let path = conditions.path.as_ref().is_none_or(|path| {
        let (have, want) = (
            fold(head.path(), path.case_sensitive),
            fold(&path.value, path.case_sensitive),
        );
        match path.kind {
            PathKind::Exact => have == want,
            PathKind::Prefix => have.starts_with(&want),
        }
    });
    let headers = conditions.headers.iter().all(|header| {
        let name = header.name.to_ascii_lowercase();
        let mut values: Vec<String> = head
            .values(&name)
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
            .collect();
        if values.len() > 1 {
            values.push(values.join(","));
        }
        let want = fold(&header.value, header.case_sensitive);
        values
            .iter()
            .map(|value| fold(value, header.case_sensitive))
            .any(|have| match header.kind {
                HeaderKind::Exact => have == want,
                HeaderKind::Prefix => have.starts_with(&want),
                HeaderKind::Contains => have.contains(&want),
            })
    });
    method && path && headers
}

fn choose_slowly(rules: &[(u32, Match)], head: &PlainHead) -> Option<usize> {
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by_key(|index| rules[*index].0);
    order
        .into_iter()
        .find(|index| holds_slowly(&rules[*index].1, head))
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    ("/[aAbB/]{0,3}", any::<bool>(), any::<bool>()).prop_map(|(value, exact, case_sensitive)| {
        let kind = if exact {
            PathKind::Exact
        } else {
            PathKind::Prefix
        };
        PathMatch {
            kind,
            value,
            case_sensitive,
        }
    })
}

fn header_match() -> impl Strategy<Value = HeaderMatch> {
    ("[xX]-[aAb]", "[aAb,]{0,3}", 0..3, any::<bool>()).prop_map(
        |(name, value, kind, case_sensitive)| {
            let kind = [HeaderKind::Exact, HeaderKind::Prefix, HeaderKind::Contains][kind as usize];
            HeaderMatch {
                name,
                kind,
                value,
                case_sensitive,
            }
        },
    )
}

fn conditions() -> impl Strategy<Value = Match> {
    (
        proptest::option::of("GET|POST|get"),
        proptest::option::of(path_match()),
        proptest::collection::vec(header_match(), 0..3),
    )
        .prop_map(|(method, path, headers)| Match {
            method,
            path,
            headers,
        })
}

fn head() -> impl Strategy<Value = PlainHead> {
    (
        "GET|POST|get",
        "/[aAbB/]{0,4}",
        proptest::collection::vec(("x-[aAb]", "[aAb,]{0,4}"), 0..4),
    )
        .prop_map(|(method, path, headers)| {
            headers
                .iter()
                .fold(PlainHead::new(&method, &path), |head, (name, value)| {
                    head.with_header(name, value)
                })
        })
}

proptest! {
    #[test]
    fn the_router_agrees_with_the_oracle(
        rules in proptest::collection::vec((1_u32..2000, conditions()), 0..8),
        head in head(),
    ) {
        let router = Router::compile(rules.iter().map(|(priority, conditions)| (*priority, conditions)));
        let want = choose_slowly(&rules, &head);
        prop_assert_eq!(router.choose(&head), want);
        prop_assert_eq!(router.explain(&head).chosen, want);
    }

    #[test]
    fn every_period_gives_exact_shares(weights in proptest::collection::vec(0_u32..1000, 1..11)) {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let Some(weighted) = Weighted::new(&weights) else {
            prop_assert_eq!(total, 0);
            return Ok(());
        };
        let mut counts = vec![0_u64; weights.len()];
        for turn in 0..total {
            counts[weighted.pick(turn)] += 1;
        }
        prop_assert_eq!(counts, weights.iter().map(|weight| u64::from(*weight)).collect::<Vec<_>>());
    }
}
