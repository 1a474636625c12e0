//! Which rule a request meets, and which target group then gets it.
//!
//! Pure: values in, a choice out; no clock, socket or randomness. A [`Router`] is compiled once per
//! listener and asked once per request; [`Router::explain`] gives the same answer with its reasons.
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
mod weighted;

pub use explain::{Explanation, Step, Verdict};
pub use head::{Head, PlainHead};
pub use weighted::Weighted;

use lath_model::lattice::Match;
use matcher::Matcher;

/// The rules of one listener, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Router {
    rules: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    priority: u32,
    /// The rule's place in what the router was compiled from.
    position: usize,
    matcher: Matcher,
}

impl Router {
    /// Compiles rules, given as priority and conditions. They are asked by ascending priority whatever
    /// the order they come in; of equal priorities the earlier one wins.
    pub fn compile<'a>(rules: impl IntoIterator<Item = (u32, &'a Match)>) -> Self {
        let mut rules: Vec<Entry> = rules
            .into_iter()
            .enumerate()
            .map(|(position, (priority, conditions))| Entry {
                priority,
                position,
                matcher: Matcher::compile(conditions),
            })
            .collect();
        rules.sort_by_key(|rule| (rule.priority, rule.position));
        Self { rules }
    }

    /// The position (in what was compiled) of the rule that the request meets; `None` is the default
    /// rule.
    pub fn choose(&self, head: &impl Head) -> Option<usize> {
        self.rules
            .iter()
            .find(|rule| rule.matcher.holds(head))
            .map(|rule| rule.position)
    }

    /// The same choice as [`Self::choose`], with what was asked on the way.
    pub fn explain(&self, head: &impl Head) -> Explanation {
        let mut steps = Vec::new();
        for rule in &self.rules {
            let verdict = rule.matcher.verdict(head);
            let holds = verdict == Verdict::Holds;
            steps.push(Step {
                position: rule.position,
                priority: rule.priority,
                verdict,
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
