//! Matches of routes as conditions of rules, in the order that the Gateway API wants.
//!
//! Lattice's own conditions are asked for as far as they do. Where Gateways have addresses there is more, in the tag `lath:match`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::desired::{Condition, Path, Rule};
use crate::kinds::{self, GrpcMethod, Match, Method, NamedMatch, RouteKind};
use crate::long_tags;

/// How many headers a rule of Lattice can look at.
const MOST_HEADERS: usize = 5;
/// How many headers, and how many parameters, a rule of Lath's can look at.
const MOST_FIELDS: usize = 16;
/// The tag with what Lattice's conditions lack.
pub(crate) const TAG: &str = "lath:match";

/// What goes before what: an exact path, a regular expression, the longer prefix; a method; more headers; more parameters.
pub(crate) type Rank = (u8, Reverse<usize>, bool, Reverse<usize>, Reverse<usize>);

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

/// The conditions that a rule of a route stands for: any of them makes it match. The error says what there are no means
/// for.
pub(crate) fn conditions(
    kind: RouteKind,
    rule: &kinds::Rule,
    addresses: bool,
) -> Result<Vec<(Rank, Condition)>, String> {
    let all = [Match::default()];
    let matches = if rule.matches.is_empty() {
        &all
    } else {
        &rule.matches[..]
    };
    let mut found = Vec::new();
    for it in matches {
        let wanted = match kind {
            RouteKind::Http => http(it)?,
            RouteKind::Grpc => grpc(it)?,
            // The name in the client's greeting is all that there is, if there is one.
            RouteKind::Tls | RouteKind::Tcp => continue,
        };
        let rank = wanted.rank();
        let conditions = match (wanted.narrow(), addresses) {
            // A prefix is one rule of Lath's, and two of Lattice's.
            (Ok(conditions), true) if conditions.len() > 1 => vec![wanted.wide()?],
            (Ok(conditions), _) => conditions,
            (Err(_), true) => vec![wanted.wide()?],
            (Err(what), false) => return Err(what),
        };
        found.extend(conditions.into_iter().map(|it| (rank, it)));
    }
    Ok(found)
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Compared {
    Exact(String),
    /// By whole segments.
    Prefix(String),
    /// As a text that goes on anyhow.
    Start(String),
    Regex(String),
}

/// What a match of any kind of route looks at.
struct Wanted {
    path: Compared,
    method: Option<String>,
    headers: Vec<(String, Compared)>,
    parameters: Vec<(String, Compared)>,
    /// Of the path, for the order.
    length: usize,
}

impl Wanted {
    fn rank(&self) -> Rank {
        let class = match self.path {
            Compared::Exact(_) => 0,
            Compared::Regex(_) => 1,
            Compared::Prefix(_) | Compared::Start(_) => 2,
        };
        (
            class,
            Reverse(self.length),
            self.method.is_none(),
            Reverse(self.headers.len()),
            Reverse(self.parameters.len()),
        )
    }

    /// As conditions of Lattice's own.
    fn narrow(&self) -> Result<Vec<Condition>, String> {
        if !self.parameters.is_empty() {
            return Err("match on query parameters".to_owned());
        }
        if self.headers.len() > MOST_HEADERS {
            return Err(format!("match on more than {MOST_HEADERS} headers"));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in &self.headers {
            let Compared::Exact(value) = value else {
                return Err("match of headers by regular expressions".to_owned());
            };
            headers.insert(name.clone(), value.clone());
        }
        let paths = match &self.path {
            Compared::Exact(path) => vec![Path::Exact(path.clone())],
            Compared::Prefix(path) => prefix(path),
            Compared::Start(path) => vec![Path::Prefix(path.clone())],
            Compared::Regex(_) => {
                return Err("match of paths or methods by regular expressions".to_owned());
            }
        };
        let condition = |path| Condition {
            path,
            method: self.method.clone(),
            headers: headers.clone(),
            more: None,
        };
        Ok(paths.into_iter().map(condition).collect())
    }

    /// As one condition of Lath's. What it refuses is refused here, so that it does not keep other rules from being made.
    fn wide(&self) -> Result<Condition, String> {
        let mut more = serde_json::Map::new();
        let (kind, value) = match &self.path {
            Compared::Exact(path) => ("Exact", path.as_str()),
            Compared::Prefix(path) if path.is_empty() => ("PathPrefix", "/"),
            Compared::Prefix(path) => ("PathPrefix", path.as_str()),
            Compared::Start(path) => ("PathPrefix", path.trim_end_matches('/')),
            Compared::Regex(path) => ("RegularExpression", path.as_str()),
        };
        if (kind, value) != ("PathPrefix", "/") {
            more.insert("path".to_owned(), json!({"type": kind, "value": value}));
        }
        for (member, fields) in [
            ("headers", &self.headers),
            ("queryParameters", &self.parameters),
        ] {
            if fields.len() > MOST_FIELDS {
                return Err(format!("match on more than {MOST_FIELDS} {member}"));
            }
            let fields: Vec<Value> = fields
                .iter()
                .map(|(name, value)| {
                    let (kind, value) = match value {
                        Compared::Regex(value) => ("RegularExpression", value),
                        Compared::Exact(value)
                        | Compared::Prefix(value)
                        | Compared::Start(value) => ("Exact", value),
                    };
                    json!({"name": name, "type": kind, "value": value})
                })
                .collect();
            if !fields.is_empty() {
                more.insert(member.to_owned(), fields.into());
            }
        }
        let more = Value::from(more).to_string();
        if !long_tags::fits(&more, long_tags::FEW_PARTS) {
            return Err("match of that size".to_owned());
        }
        Ok(Condition {
            path: Path::Prefix("/".to_owned()),
            method: self.method.clone(),
            headers: BTreeMap::new(),
            more: Some(more),
        })
    }
}

/// Headers or parameters. Of two with one name, the first counts: so says the Gateway API.
fn fields(named: &[NamedMatch], fold: bool) -> Result<Vec<(String, Compared)>, String> {
    let mut found: Vec<(String, Compared)> = Vec::new();
    for field in named {
        let name = match fold {
            true => field.name.to_ascii_lowercase(),
            false => field.name.clone(),
        };
        if found.iter().any(|(it, _)| *it == name) {
            continue;
        }
        let value = field.value.clone();
        let value = match field.kind.as_deref().unwrap_or("Exact") {
            "Exact" => Compared::Exact(value),
            "RegularExpression" => Compared::Regex(value),
            other => return Err(format!("match of {name} by {other}")),
        };
        found.push((name, value));
    }
    Ok(found)
}

fn http(it: &Match) -> Result<Wanted, String> {
    let method = match &it.method {
        None => None,
        Some(Method::Http(method)) => Some(method.clone()),
        Some(Method::Grpc(_)) => return Err("such method".to_owned()),
    };
    let path = it.path.as_ref();
    let value = path.and_then(|it| it.value.as_deref()).unwrap_or("/");
    let kind = path.and_then(|it| it.kind.as_deref());
    let path = match kind.unwrap_or("PathPrefix") {
        "Exact" => Compared::Exact(value.to_owned()),
        "PathPrefix" => Compared::Prefix(value.trim_end_matches('/').to_owned()),
        "RegularExpression" => Compared::Regex(value.to_owned()),
        other => return Err(format!("match of paths by {other}")),
    };
    let length = match &path {
        Compared::Prefix(path) => path.len(),
        _ => value.len(),
    };
    Ok(Wanted {
        path,
        method,
        headers: fields(&it.headers, true)?,
        parameters: fields(&it.query_params, false)?,
        length,
    })
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

fn grpc(it: &Match) -> Result<Wanted, String> {
    let none = GrpcMethod::default();
    let method = match &it.method {
        None => &none,
        Some(Method::Grpc(method)) => method,
        Some(Method::Http(_)) => return Err("such method".to_owned()),
    };
    let kind = method.kind.as_deref().unwrap_or("Exact");
    let (service, method) = (method.service.as_deref(), method.method.as_deref());
    let path = match (kind, service, method) {
        ("Exact", Some(service), Some(method)) => Compared::Exact(format!("/{service}/{method}")),
        ("Exact", Some(service), None) => Compared::Start(format!("/{service}/")),
        (_, None, None) => Compared::Prefix(String::new()),
        // Names of methods have letters, digits and underscores.
        ("Exact", None, Some(method)) => Compared::Regex(format!("/[^/]+/{method}")),
        ("RegularExpression", service, method) => {
            let part =
                |it: Option<&str>| it.map_or_else(|| "[^/]+".to_owned(), |it| format!("(?:{it})"));
            Compared::Regex(format!("/{}/{}", part(service), part(method)))
        }
        (other, _, _) => return Err(format!("match of methods by {other}")),
    };
    Ok(Wanted {
        path,
        method: Some("POST".to_owned()),
        headers: fields(&it.headers, true)?,
        parameters: Vec::new(),
        length: service.map_or(0, str::len) + method.map_or(0, str::len),
    })
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
