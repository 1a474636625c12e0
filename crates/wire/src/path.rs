//! REST paths: templates and what they match.

use std::collections::BTreeMap;

use crate::Route;

/// A route's template, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    method: &'static str,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Fixed(&'static str),
    Label(&'static str),
    /// `{Name+}`: the rest of the path.
    Greedy(&'static str),
}

impl Template {
    pub(crate) fn of(route: &Route) -> Self {
        let path = route.path.split('?').next().unwrap_or_default();
        Self {
            method: route.method,
            segments: trimmed(path).map(Segment::of).collect(),
        }
    }

    /// The labels of a path that this template matches, decoded after splitting: an ARN's `%2F` does
    /// not end its segment.
    pub(crate) fn labels(
        &self,
        method: &str,
        path: &str,
    ) -> Option<BTreeMap<&'static str, String>> {
        if method != self.method {
            return None;
        }
        let mut labels = BTreeMap::new();
        let given: Vec<&str> = trimmed(path).collect();
        let mut left = given.as_slice();
        for segment in &self.segments {
            let (first, rest) = left.split_first()?;
            match segment {
                Segment::Fixed(text) if text == first => left = rest,
                Segment::Fixed(_) => return None,
                Segment::Label(name) => {
                    labels.insert(*name, label(first)?);
                    left = rest;
                }
                Segment::Greedy(name) => {
                    labels.insert(*name, label(&left.join("/"))?);
                    left = &[];
                }
            }
        }
        left.is_empty().then_some(labels)
    }

    /// Orders templates so that a fixed segment is tried before a label in the same place.
    pub(crate) fn rank(&self) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Fixed(_) => 0,
            Segment::Label(_) => 1,
            Segment::Greedy(_) => 2,
        };
        self.segments.iter().map(rank).collect()
    }
}

impl Segment {
    fn of(text: &'static str) -> Self {
        let label = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match label {
            None => Self::Fixed(text),
            Some(name) => name
                .strip_suffix('+')
                .map_or(Self::Label(name), Self::Greedy),
        }
    }
}

/// The segments, without the slash in front and one at the end.
fn trimmed(path: &str) -> std::str::Split<'_, char> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path).split('/')
}

fn label(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    String::from_utf8(lath_sigv4::percent_decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_whole_paths() {
        let cases = [
            ("/services/{id}", "GET", "/services/svc-1", Some("svc-1")),
            ("/services/{id}", "GET", "/services/svc-1/", Some("svc-1")),
            (
                "/services/{id}",
                "GET",
                "/services/arn%3Aaws%3Ax%2Fsvc-1",
                Some("arn:aws:x/svc-1"),
            ),
            ("/services/{id}", "GET", "/services/", None),
            ("/services/{id}", "GET", "/services/a/b", None),
            ("/services/{id}", "POST", "/services/a", None),
            ("/services/{id}", "GET", "/services/%ff", None),
            ("/keys/{id+}", "GET", "/keys/a/b%2Fc", Some("a/b/c")),
        ];
        for (template, method, path, want) in cases {
            let labels = Template::of(&Route::get(template, 200)).labels(method, path);
            let got = labels.and_then(|labels| labels.get("id").cloned());
            assert_eq!(got.as_deref(), want, "{template} {path}");
        }
    }
}
