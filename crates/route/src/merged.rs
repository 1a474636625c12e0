//! Rules of several listeners as one list, in the order of the Gateway API.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::matcher::{Matcher, Standing};
use crate::more::OnPath;
use crate::{Head, MatchResult, Router};

/// The rules of several listeners, of which a request gets the most specific one that it matches
/// (<https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule>): first by its path, an exact one before one of a regular
/// expression before a longer prefix before a shorter one, then one with a method, then by the number of conditions on headers,
/// then on query parameters, then by the text that its listener is ordered by, and last by its priority.
///
/// Rules are found by their paths: what a request costs is the rules of paths that lead to it, and those whose path is a
/// regular expression or one in which case does not count.
#[derive(Debug, Default)]
pub struct Merged {
    /// In their order.
    rules: Vec<Rule>,
    /// Places in the order, ascending, by path.
    exact: HashMap<Box<str>, Vec<usize>>,
    prefixes: HashMap<Box<str>, Vec<usize>>,
    /// The lengths of prefixes, the longest first.
    lengths: Vec<usize>,
    /// Those that cannot be found by a path.
    others: Vec<usize>,
}

#[derive(Debug)]
struct Rule {
    matcher: Arc<Matcher>,
    listener: usize,
    position: usize,
}

impl Merged {
    /// Of listeners, each with the text that decides between rules that are equally specific.
    pub fn of<'a>(listeners: impl IntoIterator<Item = (&'a str, &'a Router)>) -> Self {
        let listeners = listeners.into_iter().enumerate();
        let rules = listeners.flat_map(|(listener, (order, router))| {
            let rules = router.rules.iter();
            rules.map(move |it| {
                let rank = rank(it.matcher.standing());
                (rank, order, it.priority, listener, it)
            })
        });
        let mut ordered: Vec<_> = rules.collect();
        ordered.sort_by(|one, other| {
            let key = |it: &(Rank, &'a str, u32, usize, _)| (it.0, it.1, it.2, it.3);
            key(one).cmp(&key(other))
        });
        let mut merged = Self::default();
        for (place, (_, _, _, listener, entry)) in ordered.into_iter().enumerate() {
            merged.index(place, entry.matcher.standing());
            merged.rules.push(Rule {
                matcher: Arc::clone(&entry.matcher),
                listener,
                position: entry.position,
            });
        }
        merged.lengths = merged.prefixes.keys().map(|it| it.len()).collect();
        merged
            .lengths
            .sort_unstable_by_key(|length| Reverse(*length));
        merged.lengths.dedup();
        merged
    }

    fn index(&mut self, place: usize, standing: Standing<'_>) {
        let places = match standing.path {
            OnPath::Exact(path) if !standing.folds => self.exact.entry(path.into()).or_default(),
            OnPath::Prefix(path) if !standing.folds => {
                self.prefixes.entry(path.into()).or_default()
            }
            OnPath::Exact(_) | OnPath::Prefix(_) | OnPath::Pattern => &mut self.others,
        };
        places.push(place);
    }

    /// The rule that the request matches: its listener's place among those that were given, and its own position in the list that
    /// the listener's router was compiled of.
    pub fn choose(&self, head: &impl Head) -> Option<(usize, usize)> {
        let mut best = self.rules.len();
        let path = head.path();
        if let Some(places) = self.exact.get(path) {
            self.look(places, head, &mut best);
        }
        self.look(&self.others, head, &mut best);
        for length in &self.lengths {
            let prefix = path.get(..*length);
            if let Some(places) = prefix.and_then(|prefix| self.prefixes.get(prefix)) {
                self.look(places, head, &mut best);
            }
        }
        let rule = self.rules.get(best)?;
        Some((rule.listener, rule.position))
    }

    /// Puts the first of these rules that holds into `best`, if it stands before that.
    fn look(&self, places: &[usize], head: &impl Head, best: &mut usize) {
        let before = places.iter().take_while(|place| **place < *best);
        let mut holding = before.filter(|place| self.rules[**place].matcher.holds(head));
        if let Some(place) = holding.next() {
            *best = *place;
        }
    }

    /// Makes the same choice as [`Self::choose`] by trying all rules in their order, and lists what came of each: the listener's
    /// place, the rule's position and the result.
    pub fn explain(&self, head: &impl Head) -> Vec<(usize, usize, MatchResult)> {
        let mut steps = Vec::new();
        for rule in &self.rules {
            let result = rule.matcher.result(head);
            let holds = result == MatchResult::Matches;
            steps.push((rule.listener, rule.position, result));
            if holds {
                break;
            }
        }
        steps
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// Ascending: the more specific rule comes first.
type Rank = (u8, Reverse<usize>, bool, Reverse<usize>, Reverse<usize>);

fn rank(standing: Standing<'_>) -> Rank {
    let (class, length) = match standing.path {
        OnPath::Exact(_) => (0, 0),
        OnPath::Pattern => (1, 0),
        OnPath::Prefix(path) => (2, path.len()),
    };
    (
        class,
        Reverse(length),
        !standing.has_method,
        Reverse(standing.headers),
        Reverse(standing.query),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlainHead;
    use lath_model::lattice::{Match, PathKind, PathMatch};
    use lath_model::matching::{FieldCondition, MoreMatch, PathCondition, ValueCondition};

    fn any() -> Match {
        native(PathKind::Prefix, "/")
    }

    fn native(kind: PathKind, value: &str) -> Match {
        Match {
            path: Some(PathMatch {
                kind,
                value: value.to_owned(),
                case_sensitive: false,
            }),
            ..Match::default()
        }
    }

    fn more(path: PathCondition) -> MoreMatch {
        MoreMatch {
            path: Some(path),
            ..MoreMatch::default()
        }
    }

    fn field(name: &str) -> Vec<FieldCondition> {
        vec![FieldCondition {
            name: name.to_owned(),
            value: ValueCondition::Exact("1".to_owned()),
        }]
    }

    #[test]
    fn the_most_specific_rule_is_chosen() {
        let exact = more(PathCondition::Exact("/a/b".into()));
        let pattern = more(PathCondition::RegularExpression("/a/.*".into()));
        let long = more(PathCondition::Prefix("/a/b".into()));
        let short = more(PathCondition::Prefix("/a".into()));
        let root = more(PathCondition::Prefix(String::new()));
        let with_header = MoreMatch {
            headers: field("x-a"),
            ..root.clone()
        };
        let with_query = MoreMatch {
            query_parameters: field("q"),
            ..root.clone()
        };
        let posted = Match {
            method: Some("POST".into()),
            ..any()
        };
        let any = any();
        let folded = native(PathKind::Exact, "/Fold");
        let one = Router::extended([
            (1, &any, Some(&root)),
            (2, &any, Some(&short)),
            (3, &any, Some(&pattern)),
            (4, &any, Some(&with_query)),
            (5, &folded, None),
        ]);
        let other = Router::extended([
            (1, &any, Some(&long)),
            (2, &any, Some(&exact)),
            (3, &any, Some(&with_header)),
            (4, &posted, Some(&root)),
        ]);
        let merged = Merged::of([("b", &one), ("a", &other)]);
        let get = |path: &str| PlainHead::new("GET", path);
        for (head, want) in [
            (get("/a/b"), Some((1, 1))),
            (get("/a/c"), Some((0, 2))),
            (get("/a"), Some((0, 1))),
            (get("/ab"), Some((0, 0))),
            (get("/").with_header("x-a", "1"), Some((1, 2))),
            (get("/").with_query("q=1"), Some((0, 3))),
            (
                get("/").with_query("q=1").with_header("x-a", "1"),
                Some((1, 2)),
            ),
            (
                PlainHead::new("POST", "/").with_header("x-a", "1"),
                Some((1, 3)),
            ),
            (get("/fOLD"), Some((0, 4))),
            (get("*"), None),
        ] {
            let chosen = merged.choose(&head);
            assert_eq!(chosen, want, "{head:?}");
            let last = merged.explain(&head).pop();
            let last = last.filter(|(_, _, result)| *result == MatchResult::Matches);
            assert_eq!(last.map(|(listener, rule, _)| (listener, rule)), want);
        }
    }

    #[test]
    fn order_and_priority_decide_between_equals() {
        let root = more(PathCondition::Prefix(String::new()));
        let any = any();
        let router = Router::extended([(2, &any, Some(&root)), (1, &any, Some(&root))]);
        let merged = Merged::of([("b", &router), ("a", &router)]);
        let head = PlainHead::new("GET", "/");
        assert_eq!(merged.choose(&head), Some((1, 1)));
        // A plain prefix of Lattice ranks with its length, and goes beyond segments.
        let prefix = native(PathKind::Prefix, "/ab");
        let plain = Router::compile([(1, &prefix)]);
        let merged = Merged::of([("a", &router), ("z", &plain)]);
        assert_eq!(merged.choose(&PlainHead::new("GET", "/abc")), Some((1, 0)));
        assert_eq!(merged.choose(&PlainHead::new("GET", "/AB/c")), Some((1, 0)));
        assert!(Merged::default().is_empty());
    }
}
