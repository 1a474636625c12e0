//! The conditions of one rule, compiled.

use lath_model::lattice::{HeaderKind, Match, PathKind};

use crate::{Head, MatchResult};

#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    method: Option<Box<str>>,
    path: Option<Pattern>,
    headers: Vec<(Box<str>, Pattern)>,
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
    pub(crate) fn compile(conditions: &Match) -> Self {
        Self {
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
    }

    pub(crate) fn result(&self, head: &impl Head) -> MatchResult {
        if !self.method_holds(head) {
            return MatchResult::Method;
        }
        if !self.path_holds(head) {
            return MatchResult::Path;
        }
        self.headers
            .iter()
            .find(|(name, pattern)| !header_holds(name, pattern, head))
            .map_or(MatchResult::Matches, |(name, _)| {
                MatchResult::Header(name.to_string())
            })
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

/// Any value may match. If a header is repeated, the comma-joined value may match too.
fn header_holds(name: &str, pattern: &Pattern, head: &impl Head) -> bool {
    let mut count = 0;
    for value in head.values(name) {
        if pattern.holds(value) {
            return true;
        }
        count += 1;
    }
    count > 1 && {
        let values: Vec<&[u8]> = head.values(name).collect();
        pattern.holds(&values.join(&b','))
    }
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
