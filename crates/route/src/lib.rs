//! Finds the rule that a request matches, and chooses the target group that gets it.
//!
//! Pure: no clock, socket or randomness. A [`Router`] is compiled once per listener and evaluated once per request.
//! [`Router::explain`] makes the same choice and explains it.
//!
//! ```
//! use lath_model::lattice::{Match, PathKind, PathMatch};
//! use lath_route::{PlainHead, Router};
//!
//! let api = Match {
//!     path: Some(PathMatch { kind: PathKind::Prefix, value: "/api".into(), case_sensitive: false }),
//!     ..Match::default()
//! };
//! let router = Router::compile([(1, &api)]);
//! assert_eq!(router.choose(&PlainHead::new("GET", "/API/users")), Some(0));
//! assert_eq!(router.choose(&PlainHead::new("GET", "/")), None);
//! ```

mod explain;
mod head;
mod matcher;
mod merged;
mod more;
mod weighted;

pub use explain::{Explanation, MatchResult, Step};
pub use head::{Head, PlainHead};
pub use merged::Merged;
pub use weighted::Weighted;

use std::sync::Arc;

use lath_model::lattice::Match;
use lath_model::matching::MoreMatch;
use matcher::Matcher;

/// The compiled rules of one listener.
#[derive(Debug, Clone, Default)]
pub struct Router {
    rules: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    priority: u32,
    /// The rule's position in the list that was compiled.
    position: usize,
    matcher: Arc<Matcher>,
}

impl Router {
    /// Compiles rules, given as priority and conditions in any order. Rules are evaluated by ascending
    /// priority; of equal priorities the earlier rule wins.
    pub fn compile<'a>(rules: impl IntoIterator<Item = (u32, &'a Match)>) -> Self {
        let plain = rules.into_iter();
        Self::extended(plain.map(|(priority, conditions)| (priority, conditions, None)))
    }

    /// As [`Self::compile`], of rules that may have conditions that VPC Lattice has not.
    pub fn extended<'a>(
        rules: impl IntoIterator<Item = (u32, &'a Match, Option<&'a MoreMatch>)>,
    ) -> Self {
        let mut rules: Vec<Entry> = rules
            .into_iter()
            .enumerate()
            .map(|(position, (priority, conditions, more))| Entry {
                priority,
                position,
                matcher: Arc::new(Matcher::compile(conditions, more)),
            })
            .collect();
        rules.sort_by_key(|rule| (rule.priority, rule.position));
        Self { rules }
    }

    /// The position in the compiled list of the rule that the request matches; `None` is the default rule.
    pub fn choose(&self, head: &impl Head) -> Option<usize> {
        self.rules
            .iter()
            .find(|rule| rule.matcher.holds(head))
            .map(|rule| rule.position)
    }

    /// Makes the same choice as [`Self::choose`] and lists the evaluated rules.
    pub fn explain(&self, head: &impl Head) -> Explanation {
        let mut steps = Vec::new();
        for rule in &self.rules {
            let result = rule.matcher.result(head);
            let holds = result == MatchResult::Matches;
            steps.push(Step {
                position: rule.position,
                priority: rule.priority,
                result,
            });
            if holds {
                return Explanation {
                    chosen: Some(rule.position),
                    steps,
                };
            }
        }
        Explanation {
            chosen: None,
            steps,
        }
    }
}
