//! The conditions of one rule, compiled.

use lath_model::lattice::{HeaderKind, Match, PathKind};
use lath_model::matching::MoreMatch;

use crate::more::{More, OnPath, header_holds_by};
use crate::{Head, MatchResult};

#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    method: Option<Box<str>>,
    path: Option<Pattern>,
    headers: Vec<(Box<str>, Pattern)>,
    /// Conditions that VPC Lattice has not; seldom any.
    more: Option<Box<More>>,
}

/// What the Gateway API ranks a rule by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) path: OnPath<'a>,
    /// Whether the path is written in small letters and holds in any.
    pub(crate) folds: bool,
    pub(crate) has_method: bool,
    /// How many conditions it has on headers and on query parameters.
    pub(crate) headers: usize,
    pub(crate) query: usize,
}

/// A text, and how it must match.
#[derive(Debug, Clone)]
struct Pattern {
    kind: HeaderKind,
    /// The text; in lower case if the match ignores case.
    value: Box<[u8]>,
    case_sensitive: bool,
}

impl Matcher {
    pub(crate) fn compile(conditions: &Match, more: Option<&MoreMatch>) -> Self {
        Self {
            more: more.map(|it| Box::new(More::compile(it))),
            method: conditions.method.as_deref().map(Into::into),
            path: conditions.path.as_ref().map(|path| {
                let kind = match path.kind {
                    PathKind::Exact => HeaderKind::Exact,
                    PathKind::Prefix => HeaderKind::Prefix,
                };
                Pattern::new(kind, &path.value, path.case_sensitive)
            }),
            headers: conditions
                .headers
                .iter()
                .map(|header| {
                    let pattern = Pattern::new(header.kind, &header.value, header.case_sensitive);
                    (header.name.to_ascii_lowercase().into(), pattern)
                })
                .collect(),
        }
    }

    pub(crate) fn holds(&self, head: &impl Head) -> bool {
        self.method_holds(head)
            && self.path_holds(head)
            && self
                .headers
                .iter()
                .all(|(name, pattern)| header_holds(name, pattern, head))
            && self
                .more
                .as_ref()
                .is_none_or(|more| more.result(head) == MatchResult::Matches)
    }

    pub(crate) fn result(&self, head: &impl Head) -> MatchResult {
        if !self.method_holds(head) {
            return MatchResult::Method;
        }
        if !self.path_holds(head) {
            return MatchResult::Path;
        }
        let mut headers = self.headers.iter();
        match headers.find(|(name, pattern)| !header_holds(name, pattern, head)) {
            Some((name, _)) => MatchResult::Header(name.to_string()),
            None => self
                .more
                .as_ref()
                .map_or(MatchResult::Matches, |more| more.result(head)),
        }
    }

    /// What the Gateway API ranks rules by.
    pub(crate) fn standing(&self) -> Standing<'_> {
        let (path, headers, query) = match &self.more {
            Some(more) => more.standing(),
            None => (None, 0, 0),
        };
        let own = || self.path.as_ref().map(Pattern::on_path);
        let (path, folds) = match path {
            Some(path) => (path, false),
            None => own().unwrap_or((OnPath::Prefix(""), false)),
        };
        Standing {
            path,
            folds,
            has_method: self.method.is_some(),
            headers: headers + self.headers.len(),
            query,
        }
    }

    fn method_holds(&self, head: &impl Head) -> bool {
        self.method
            .as_deref()
            .is_none_or(|method| method == head.method())
    }

    fn path_holds(&self, head: &impl Head) -> bool {
        self.path
            .as_ref()
            .is_none_or(|pattern| pattern.holds(head.path().as_bytes()))
    }
}

fn header_holds(name: &str, pattern: &Pattern, head: &impl Head) -> bool {
    header_holds_by(name, head, |value| pattern.holds(value))
}

impl Pattern {
    fn new(kind: HeaderKind, value: &str, case_sensitive: bool) -> Self {
        let value = if case_sensitive {
            value.to_owned()
        } else {
            value.to_ascii_lowercase()
        };
        Self {
            kind,
            value: value.into_bytes().into(),
            case_sensitive,
        }
    }

    /// What it says as a condition on the path, and whether case does not count.
    fn on_path(&self) -> (OnPath<'_>, bool) {
        // It was made of a text.
        let value = std::str::from_utf8(&self.value).unwrap_or_default();
        let folds = !self.case_sensitive && value.bytes().any(|it| it.is_ascii_alphabetic());
        let path = match self.kind {
            HeaderKind::Exact => OnPath::Exact(value),
            HeaderKind::Prefix => OnPath::Prefix(value.strip_suffix('/').unwrap_or(value)),
            HeaderKind::Contains => OnPath::Pattern,
        };
        (path, folds)
    }

    fn holds(&self, text: &[u8]) -> bool {
        match self.kind {
            HeaderKind::Exact => self.same(text),
            HeaderKind::Prefix => text
                .get(..self.value.len())
                .is_some_and(|start| self.same(start)),
            HeaderKind::Contains => {
                self.value.is_empty()
                    || text
                        .windows(self.value.len())
                        .any(|window| self.same(window))
            }
        }
    }

    fn same(&self, text: &[u8]) -> bool {
        if self.case_sensitive {
            text == &*self.value
        } else {
            text.eq_ignore_ascii_case(&self.value)
        }
    }
}
