//! Rule conditions: from the wire to the state and back.

use lath_model::lattice::{self, HeaderKind, Match, PathKind};

use crate::record::Rule;
use crate::shape::{HeaderMatch, HeaderMatchType, HttpMatch, PathMatch, PathMatchType, RuleMatch};

/// The conditions of a request that passed validation.
pub(crate) fn read(given: &RuleMatch) -> Match {
    let Some(http) = &given.http_match else {
        return Match::default();
    };
    let headers = http.header_matches.iter().flatten();
    Match {
        method: http.method.clone().filter(|method| !method.is_empty()),
        path: http.path_match.as_ref().and_then(path),
        headers: headers.filter_map(header).collect(),
    }
}

fn path(given: &PathMatch) -> Option<lattice::PathMatch> {
    let exact = given.kind.exact.as_ref().map(|v| (PathKind::Exact, v));
    let prefix = given.kind.prefix.as_ref().map(|v| (PathKind::Prefix, v));
    let (kind, value) = exact.or(prefix)?;
    Some(lattice::PathMatch {
        kind,
        value: value.clone(),
        case_sensitive: given.case_sensitive.unwrap_or(false),
    })
}

fn header(given: &HeaderMatch) -> Option<lattice::HeaderMatch> {
    let of = |value: &Option<String>, kind| value.clone().map(|value| (kind, value));
    let (kind, value) = of(&given.kind.exact, HeaderKind::Exact)
        .or_else(|| of(&given.kind.prefix, HeaderKind::Prefix))
        .or_else(|| of(&given.kind.contains, HeaderKind::Contains))?;
    Some(lattice::HeaderMatch {
        name: given.name.clone(),
        kind,
        value,
        case_sensitive: given.case_sensitive.unwrap_or(false),
    })
}

/// The conditions as the wire shows them; a default rule has none.
pub(crate) fn show(rule: &Rule) -> Option<RuleMatch> {
    rule.priority?;
    let Match {
        method,
        path,
        headers,
    } = &rule.conditions;
    Some(RuleMatch {
        http_match: Some(HttpMatch {
            method: method.clone(),
            path_match: path.as_ref().map(show_path),
            header_matches: Some(headers.iter().map(show_header).collect()),
        }),
    })
}

fn show_path(path: &lattice::PathMatch) -> PathMatch {
    let when = |kind| (path.kind == kind).then(|| path.value.clone());
    PathMatch {
        kind: PathMatchType {
            exact: when(PathKind::Exact),
            prefix: when(PathKind::Prefix),
        },
        case_sensitive: Some(path.case_sensitive),
    }
}

fn show_header(header: &lattice::HeaderMatch) -> HeaderMatch {
    let when = |kind| (header.kind == kind).then(|| header.value.clone());
    HeaderMatch {
        name: header.name.clone(),
        kind: HeaderMatchType {
            exact: when(HeaderKind::Exact),
            prefix: when(HeaderKind::Prefix),
            contains: when(HeaderKind::Contains),
        },
        case_sensitive: Some(header.case_sensitive),
    }
}
