//! Matches of routes as conditions of Lattice's rules, in the order that the Gateway API wants.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::desired::{Condition, Path, Rule};
use crate::kinds::{self, GrpcMethod, Match, Method, NamedMatch, RouteKind};

/// How many headers a rule of Lattice can look at.
const MOST_HEADERS: usize = 5;

/// What goes before what: an exact path, the longer path, a method, more headers.
pub(crate) type Rank = (bool, Reverse<usize>, bool, Reverse<usize>);

/// What a rule wants to be done that Lattice has no means for.
pub(crate) fn lacking(rule: &kinds::Rule) -> Option<String> {
    if let Some(filter) = rule.filters.first() {
        return Some(format!("filter {}", filter.kind));
    }
    let fields = [
        ("timeouts", &rule.timeouts),
        ("retry", &rule.retry),
        ("sessionPersistence", &rule.session_persistence),
    ];
    let mut asked = fields.into_iter().filter(|(_, value)| value.is_some());
    asked.next().map(|(field, _)| field.to_owned())
}

/// The conditions that a rule of a route stands for: any of them makes it match. The error says what Lattice has no means
/// for.
pub(crate) fn conditions(
    kind: RouteKind,
    rule: &kinds::Rule,
) -> Result<Vec<(Rank, Condition)>, String> {
    let all = [Match::default()];
    let matches = if rule.matches.is_empty() {
        &all
    } else {
        &rule.matches[..]
    };
    let mut found = Vec::new();
    for it in matches {
        found.extend(match kind {
            RouteKind::Http => http(it)?,
            RouteKind::Grpc => grpc(it)?,
            // The name in the client's greeting is all that there is.
            RouteKind::Tls => Vec::new(),
        });
    }
    Ok(found)
}

fn headers(named: &[NamedMatch]) -> Result<BTreeMap<String, String>, String> {
    if named.len() > MOST_HEADERS {
        return Err(format!("match on more than {MOST_HEADERS} headers"));
    }
    let mut headers = BTreeMap::new();
    for header in named {
        if header.kind.as_deref().unwrap_or("Exact") != "Exact" {
            return Err("match of headers by regular expressions".to_owned());
        }
        // Of two with one name, the first counts: so says the Gateway API.
        headers
            .entry(header.name.to_ascii_lowercase())
            .or_insert_with(|| header.value.clone());
    }
    Ok(headers)
}

fn http(it: &Match) -> Result<Vec<(Rank, Condition)>, String> {
    if !it.query_params.is_empty() {
        return Err("match on query parameters".to_owned());
    }
    let method = match &it.method {
        None => None,
        Some(Method::Http(method)) => Some(method.clone()),
        Some(Method::Grpc(_)) => return Err("such method".to_owned()),
    };
    let headers = headers(&it.headers)?;
    let path = it.path.as_ref();
    let value = path.and_then(|it| it.value.as_deref()).unwrap_or("/");
    let (exact, length, paths) = match path
        .and_then(|it| it.kind.as_deref())
        .unwrap_or("PathPrefix")
    {
        "Exact" => (true, value.len(), vec![Path::Exact(value.to_owned())]),
        "PathPrefix" => {
            let value = value.trim_end_matches('/');
            (false, value.len(), prefix(value))
        }
        _ => return Err("match of paths by regular expressions".to_owned()),
    };
    let rank = (
        !exact,
        Reverse(length),
        method.is_none(),
        Reverse(headers.len()),
    );
    let paths = paths.into_iter();
    Ok(paths
        .map(|path| {
            let (method, headers) = (method.clone(), headers.clone());
            let condition = Condition {
                path,
                method,
                headers,
            };
            (rank, condition)
        })
        .collect())
}

/// A prefix of the Gateway API ends where a segment does; one of Lattice ends anywhere. Two conditions make the one of the
/// other.
fn prefix(value: &str) -> Vec<Path> {
    if value.is_empty() {
        return vec![Path::Prefix("/".to_owned())];
    }
    vec![
        Path::Exact(value.to_owned()),
        Path::Prefix(format!("{value}/")),
    ]
}

fn grpc(it: &Match) -> Result<Vec<(Rank, Condition)>, String> {
    let none = GrpcMethod::default();
    let method = match &it.method {
        None => &none,
        Some(Method::Grpc(method)) => method,
        Some(Method::Http(_)) => return Err("such method".to_owned()),
    };
    if method.kind.as_deref().unwrap_or("Exact") != "Exact" {
        return Err("match of methods by regular expressions".to_owned());
    }
    let (service, method) = (method.service.as_deref(), method.method.as_deref());
    let path = match (service, method) {
        (Some(service), Some(method)) => Path::Exact(format!("/{service}/{method}")),
        (Some(service), None) => Path::Prefix(format!("/{service}/")),
        (None, None) => Path::Prefix("/".to_owned()),
        (None, Some(_)) => return Err("match of a method of any service".to_owned()),
    };
    let headers = headers(&it.headers)?;
    let length = service.map_or(0, str::len) + method.map_or(0, str::len);
    let exact = matches!(path, Path::Exact(_));
    let rank = (!exact, Reverse(length), false, Reverse(headers.len()));
    let method = Some("POST".to_owned());
    Ok(vec![(
        rank,
        Condition {
            path,
            method,
            headers,
        },
    )])
}

/// Puts rules into the order in which they are tried; of two with one condition, the second could never match. Those that
/// have a priority, by their places in the route, come first, the smaller one before the larger one.
pub(crate) fn in_order(
    mut rules: Vec<(Rank, usize, Rule)>,
    priorities: &BTreeMap<usize, i32>,
) -> Vec<Rule> {
    let asked = |at: &usize| priorities.get(at).copied().unwrap_or(i32::MAX);
    rules.sort_by_key(|(rank, at, _)| (asked(at), *rank, *at));
    let mut seen = BTreeSet::new();
    rules.retain(|(_, _, rule)| seen.insert(rule.condition.clone()));
    rules.into_iter().map(|(_, _, rule)| rule).collect()
}
