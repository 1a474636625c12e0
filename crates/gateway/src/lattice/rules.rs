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
}

/// What has to be done, in this order except as `delete_first` says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Rules that become others, all in one request: no moment sees some of them changed.
    pub(super) update: Vec<(String, i32, Rule)>,
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
    for pair in &mut pairs {
        if pair.is_none() && !left.is_empty() {
            *pair = Some(left.remove(0));
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
            },
            action: Action::Fixed(status),
        }
    }

    fn there(id: &str, priority: i32, rule: &Rule) -> Known {
        Known {
            id: id.into(),
            priority,
            condition: Some(rule.condition.clone()),
            action: Some(rule.action.clone()),
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
