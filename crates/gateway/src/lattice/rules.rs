//! Which rules of a listener have to change, so that they become those that should be.

use std::collections::BTreeSet;

use crate::desired::{Action, Condition, Rule, priorities};

/// A rule that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) priority: i32,
    pub(super) condition: Option<Condition>,
    pub(super) action: Option<Action>,
    pub(super) arn: String,
    /// The text of its traffic policy.
    pub(super) policy: Option<String>,
}

/// A rule that is there gets another traffic policy, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retag {
    pub(super) arn: String,
    pub(super) policy: Option<String>,
}

/// What has to be done, in this order except as `delete_first` says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Rules that become others, all in one request: no moment sees some of them changed.
    pub(super) update: Vec<(String, i32, Rule)>,
    /// Policies that change before that, and after it: a forward action takes every policy, a fixed response does not, so that the
    /// one of the two comes first that makes the other possible.
    pub(super) retag: (Vec<Retag>, Vec<Retag>),
    pub(super) create: Vec<(i32, Rule)>,
    pub(super) delete: Vec<String>,
    /// Whether what is deleted has a priority that what is changed needs.
    pub(super) delete_first: bool,
}

/// Compares. Rules with the same condition are the same; what is left on both sides becomes one another, so that a
/// changed rule is never absent.
pub(super) fn changes(known: &[Known], desired: &[Rule], most: i32) -> Option<Changes> {
    let mut left: Vec<&Known> = known.iter().collect();
    left.sort_by_key(|it| it.priority);
    let mut pairs: Vec<Option<&Known>> = Vec::new();
    for rule in desired {
        let at = left
            .iter()
            .position(|it| it.condition.as_ref() == Some(&rule.condition));
        pairs.push(at.map(|at| left.remove(at)));
    }
    for (pair, rule) in pairs.iter_mut().zip(desired) {
        // What has a text in tags becomes no other rule: for a moment, one's text would be the other's.
        let plain = left.iter().position(|it| {
            let more = it.condition.as_ref().and_then(|it| it.more.as_ref());
            it.policy.is_none() && more.is_none()
        });
        if pair.is_none() && rule.traffic.is_none() && rule.condition.more.is_none() {
            *pair = plain.map(|at| left.remove(at));
        }
    }
    let taken: BTreeSet<i32> = left.iter().map(|it| it.priority).collect();
    let before: Vec<_> = pairs.iter().map(|it| it.map(|it| it.priority)).collect();
    let after = priorities(&before, &taken, most)?;
    let mut changes = Changes {
        delete: left.iter().map(|it| it.id.clone()).collect(),
        ..Changes::default()
    };
    for ((rule, pair), priority) in desired.iter().zip(pairs).zip(after) {
        let Some(it) = pair else {
            changes.create.push((priority, rule.clone()));
            continue;
        };
        let same = it.condition.as_ref() == Some(&rule.condition)
            && it.action.as_ref() == Some(&rule.action)
            && it.priority == priority;
        let policy = rule.policy();
        if it.policy != policy {
            let retag = Retag {
                arn: it.arn.clone(),
                policy,
            };
            match rule.action {
                Action::Fixed(_) => changes.retag.0.push(retag),
                Action::Forward(_) => changes.retag.1.push(retag),
            }
        }
        if !same {
            changes.delete_first |= taken.contains(&priority);
            changes.update.push((it.id.clone(), priority, rule.clone()));
        }
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Path;

    fn rule(path: &str, status: i32) -> Rule {
        Rule {
            condition: Condition {
                path: Path::Prefix(path.into()),
                method: None,
                headers: Default::default(),
                more: None,
            },
            action: Action::Fixed(status),
            traffic: None,
        }
    }

    fn there(id: &str, priority: i32, rule: &Rule) -> Known {
        Known {
            id: id.into(),
            priority,
            condition: Some(rule.condition.clone()),
            action: Some(rule.action.clone()),
            arn: format!("arn:{id}"),
            policy: rule.policy(),
        }
    }

    #[test]
    fn what_is_as_it_should_be_costs_nothing() {
        let (a, b) = (rule("/a", 404), rule("/b", 404));
        let known = [there("1", 30, &a), there("2", 60, &b)];
        assert_eq!(changes(&known, &[a, b], 100), Some(Changes::default()));
    }

    #[test]
    fn a_new_action_is_one_update() {
        let (a, b) = (rule("/a", 404), rule("/b", 404));
        let known = [there("1", 30, &a), there("2", 60, &b)];
        let changes = changes(&known, &[a, rule("/b", 500)], 100).unwrap();
        assert_eq!(changes.update, [("2".to_owned(), 60, rule("/b", 500))]);
        assert!(changes.create.is_empty() && changes.delete.is_empty());
    }

    #[test]
    fn a_new_condition_takes_the_place_of_one_that_goes() {
        let (a, b) = (rule("/a", 404), rule("/b", 404));
        let known = [there("1", 30, &a), there("2", 60, &b)];
        let changes = changes(&known, &[rule("/c", 404), b], 100).unwrap();
        assert_eq!(changes.update, [("1".to_owned(), 30, rule("/c", 404))]);
        assert!(changes.create.is_empty() && changes.delete.is_empty());
    }

    #[test]
    fn a_policy_that_changes_comes_when_it_fits_and_never_with_anothers_condition() {
        let filter = |value: &str| {
            let rule = serde_json::json!({"filters": [{"type": "ResponseHeaderModifier",
                "responseHeaderModifier": {"set": [{"name": "x-a", "value": value}]}}]});
            let rule = serde_json::from_value(rule).unwrap();
            crate::traffic::asked(&rule, "lath-session")
                .unwrap()
                .traffic(false, Vec::new(), crate::traffic::Beside::default())
                .unwrap()
        };
        let with = |rule: Rule, value: &str| Rule {
            traffic: filter(value),
            ..rule
        };
        let (a, b) = (rule("/a", 404), with(rule("/b", 404), "1"));
        let known = [there("1", 30, &a), there("2", 60, &b)];
        assert_eq!(
            changes(&known, &[a.clone(), b.clone()], 100),
            Some(Changes::default())
        );
        let changed = changes(&known, &[a.clone(), with(rule("/b", 404), "2")], 100).unwrap();
        let text = r#"{"responseHeaders":{"set":{"x-a":"2"}}}"#;
        let retag = Retag {
            arn: "arn:2".into(),
            policy: Some(text.into()),
        };
        assert_eq!(changed.retag, (vec![retag], vec![]));
        assert!(changed.update.is_empty());
        let forward = Rule {
            action: Action::Forward(Default::default()),
            ..rule("/b", 404)
        };
        let changed = changes(&known, &[a.clone(), forward], 100).unwrap();
        assert_eq!((changed.retag.0.len(), changed.retag.1.len()), (0, 1));
        assert_eq!(changed.retag.1[0].policy, None);
        // Another condition is another rule.
        let changed = changes(&known, &[a, with(rule("/c", 404), "1")], 100).unwrap();
        assert_eq!(
            (changed.create.len(), changed.delete),
            (1, vec!["2".to_owned()])
        );
    }

    #[test]
    fn an_order_that_turns_round_is_one_request_without_clashes() {
        let (a, b, c) = (rule("/a", 404), rule("/b", 404), rule("/c", 404));
        let known = [there("1", 1, &a), there("2", 2, &b), there("3", 3, &c)];
        let changes = changes(&known, &[c, b, a], 100).unwrap();
        let mut all: Vec<i32> = known.iter().map(|it| it.priority).collect();
        for (id, priority, _) in &changes.update {
            let at = known.iter().position(|it| it.id == *id).unwrap();
            all[at] = *priority;
        }
        assert!(all[2] < all[1] && all[1] < all[0], "{all:?}");
    }

    #[test]
    fn a_rule_that_goes_makes_room_first_when_its_priority_is_needed() {
        let all: Vec<_> = (0..4).map(|it| rule(&format!("/{it}"), 404)).collect();
        let known: Vec<_> = (1..)
            .zip(&all)
            .map(|(at, it)| there(&at.to_string(), at, it))
            .collect();
        let desired = [all[3].clone(), all[1].clone(), all[0].clone()];
        let changes = changes(&known, &desired, 4).unwrap();
        assert_eq!(changes.delete, ["3"]);
        assert!(changes.delete_first, "{changes:?}");
    }
}
