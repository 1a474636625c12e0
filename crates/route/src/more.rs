//! Conditions that VPC Lattice has not, compiled.

use std::borrow::Cow;

use lath_model::matching::{FieldCondition, MoreMatch, PathCondition, ValueCondition, pattern};
use regex::bytes::Regex;

use crate::{Head, MatchResult};

#[derive(Debug, Clone)]
pub(crate) struct More {
    /// `None`: one of them cannot be judged.
    conditions: Option<Conditions>,
}

#[derive(Debug, Clone)]
struct Conditions {
    path: Option<Path>,
    headers: Box<[(Box<str>, Value)]>,
    query: Box<[(Box<str>, Value)]>,
}

#[derive(Debug, Clone)]
enum Path {
    Exact(Box<str>),
    Prefix(Box<str>),
    Pattern(Regex),
}

#[derive(Debug, Clone)]
enum Value {
    Exact(Box<[u8]>),
    Pattern(Regex),
}

/// What a rule says of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnPath<'a> {
    /// This one.
    Exact(&'a str),
    /// Those that begin so, perhaps not all of them. Without a slash at its end.
    Prefix(&'a str),
    /// Those of a regular expression.
    Pattern,
}

impl More {
    /// What could not have been written here holds for nothing.
    pub(crate) fn compile(more: &MoreMatch) -> Self {
        let conditions = more.check().ok().and_then(|()| Conditions::compile(more));
        Self { conditions }
    }

    /// What it says of the path, and how many conditions it has on headers and on query parameters.
    pub(crate) fn standing(&self) -> (Option<OnPath<'_>>, usize, usize) {
        let Some(conditions) = &self.conditions else {
            return (None, 0, 0);
        };
        let path = conditions.path.as_ref().map(|path| match path {
            Path::Exact(path) => OnPath::Exact(path),
            Path::Prefix(path) => OnPath::Prefix(path),
            Path::Pattern(_) => OnPath::Pattern,
        });
        (path, conditions.headers.len(), conditions.query.len())
    }

    /// The first condition that fails decides.
    pub(crate) fn result(&self, head: &impl Head) -> MatchResult {
        let Some(Conditions {
            path,
            headers,
            query,
        }) = &self.conditions
        else {
            return MatchResult::Unusable;
        };
        if path.as_ref().is_some_and(|path| !path.holds(head.path())) {
            return MatchResult::Path;
        }
        let fails = |(name, value): &&(Box<str>, Value)| {
            !header_holds_by(name, head, |found| value.holds(found))
        };
        if let Some((name, _)) = headers.iter().find(fails) {
            return MatchResult::Header(name.to_string());
        }
        let fails = |(name, value): &&(Box<str>, Value)| {
            let found = first_value(head.query(), name);
            !found.is_some_and(|found| value.holds(&found))
        };
        match query.iter().find(fails) {
            Some((name, _)) => MatchResult::QueryParameter(name.to_string()),
            None => MatchResult::Matches,
        }
    }
}

impl Conditions {
    fn compile(more: &MoreMatch) -> Option<Self> {
        let fields = |fields: &[FieldCondition], folds: bool| {
            let compiled = fields.iter().map(|field| {
                let name = match folds {
                    true => field.name.to_ascii_lowercase(),
                    false => field.name.clone(),
                };
                Some((name.into_boxed_str(), Value::compile(&field.value)?))
            });
            compiled.collect::<Option<Box<[_]>>>()
        };
        let path = more.path.as_ref().map(|path| {
            Some(match path {
                PathCondition::Exact(path) => Path::Exact(path.as_str().into()),
                PathCondition::Prefix(path) => Path::Prefix(path.as_str().into()),
                PathCondition::RegularExpression(text) => Path::Pattern(pattern(text).ok()?),
            })
        });
        Some(Self {
            path: match path {
                None => None,
                Some(path) => Some(path?),
            },
            headers: fields(&more.headers, true)?,
            query: fields(&more.query_parameters, false)?,
        })
    }
}

impl Path {
    fn holds(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => **own == *path,
            Self::Prefix(own) => {
                let rest = path.strip_prefix(&**own);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Pattern(pattern) => pattern.is_match(path.as_bytes()),
        }
    }
}

impl Value {
    fn compile(value: &ValueCondition) -> Option<Self> {
        Some(match value {
            ValueCondition::Exact(text) => Self::Exact(text.as_bytes().into()),
            ValueCondition::RegularExpression(text) => Self::Pattern(pattern(text).ok()?),
        })
    }

    fn holds(&self, found: &[u8]) -> bool {
        match self {
            Self::Exact(own) => **own == *found,
            Self::Pattern(pattern) => pattern.is_match(found),
        }
    }
}

/// Any value may match. If a header is repeated, the comma-joined value may match too.
pub(crate) fn header_holds_by(name: &str, head: &impl Head, holds: impl Fn(&[u8]) -> bool) -> bool {
    let mut count = 0;
    for value in head.values(name) {
        if holds(value) {
            return true;
        }
        count += 1;
    }
    count > 1 && {
        let values: Vec<&[u8]> = head.values(name).collect();
        holds(&values.join(&b','))
    }
}

/// The first value of a query parameter, as auth policies read it: `%41` and `+` are decoded, invalid escapes stay.
fn first_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let found = pairs.find(|(key, _)| *decoded(key) == *name.as_bytes());
    found.map(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => u8::try_from(16 * high + low).ok(),
            _ => None,
        };
        match code {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlainHead;

    fn result(more: &MoreMatch, head: &PlainHead) -> MatchResult {
        More::compile(more).result(head)
    }

    #[test]
    fn a_prefix_is_one_of_whole_segments() {
        for (prefix, path, want) in [
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a", "/A", false),
            ("/a", "/", false),
            ("", "/", true),
            ("", "/x", true),
            ("", "*", false),
            ("/a/b", "/a/b/c", true),
            ("/a/b", "/a/bc", false),
        ] {
            let more = MoreMatch {
                path: Some(PathCondition::Prefix(prefix.to_owned())),
                ..MoreMatch::default()
            };
            let found = result(&more, &PlainHead::new("GET", path)) == MatchResult::Matches;
            assert_eq!(found, want, "{prefix:?} {path:?}");
        }
    }

    #[test]
    fn the_first_value_of_a_query_parameter_counts() {
        let exact = |name: &str, value: &str| FieldCondition {
            name: name.to_owned(),
            value: ValueCondition::Exact(value.to_owned()),
        };
        for (name, value, query, want) in [
            ("q", "1", "q=1", true),
            ("q", "1", "a=0&q=1&b", true),
            ("q", "1", "q=2&q=1", false),
            ("q", "1", "Q=1", false),
            ("q", "1", "", false),
            ("q", "", "q", true),
            ("q", "", "&&q=", true),
            ("a b", "c&d", "a+b=c%26d", true),
            ("q", "%zz+", "q=%zz%2b", true),
        ] {
            let more = MoreMatch {
                query_parameters: vec![exact(name, value)],
                ..MoreMatch::default()
            };
            let head = PlainHead::new("GET", "/").with_query(query);
            let found = result(&more, &head) == MatchResult::Matches;
            assert_eq!(found, want, "{name:?} {value:?} {query:?}");
        }
    }

    #[test]
    fn regular_expressions_match_whole_values() {
        let more = MoreMatch {
            path: Some(PathCondition::RegularExpression("/v[0-9]+/.*".into())),
            headers: vec![FieldCondition {
                name: "X-Kind".into(),
                value: ValueCondition::RegularExpression("a|b".into()),
            }],
            ..MoreMatch::default()
        };
        let head = |path: &str, kind: &str| PlainHead::new("GET", path).with_header("x-kind", kind);
        assert_eq!(result(&more, &head("/v12/x", "b")), MatchResult::Matches);
        assert_eq!(result(&more, &head("/a/v12/x", "b")), MatchResult::Path);
        let header = MatchResult::Header("x-kind".into());
        assert_eq!(result(&more, &head("/v12/x", "ab")), header);
    }

    #[test]
    fn what_cannot_be_judged_holds_for_nothing() {
        let more = MoreMatch {
            path: Some(PathCondition::RegularExpression("(".into())),
            ..MoreMatch::default()
        };
        let head = PlainHead::new("GET", "(");
        assert_eq!(result(&more, &head), MatchResult::Unusable);
    }
}
