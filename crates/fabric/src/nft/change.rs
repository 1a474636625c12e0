//! What turns the actual table into the wanted one: one list, one transaction.

use std::fmt;
use std::time::Duration;

use super::{Base, Element, Key, KeyType, Rule, Set, Table, Timeout};

/// One step of a transaction, in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes the table, `owned` as [`Table::owned`] says.
    AddTable {
        /// Whether other processes are kept from changing it.
        owned: bool,
    },
    /// Removes the table with all that is in it.
    DeleteTable,
    /// Declares a set or map, without elements.
    AddSet(String, Set),
    /// Removes a set or map.
    DeleteSet(String),
    /// Declares a timeout.
    AddTimeout(Timeout),
    /// Removes a timeout.
    DeleteTimeout(Timeout),
    /// Makes a chain, without rules.
    AddChain(String, Option<Base>),
    /// Removes a chain.
    DeleteChain(String),
    /// Removes a chain's rules.
    FlushChain(String),
    /// Removes a set's elements.
    FlushSet(String),
    /// Removes elements.
    DeleteElements(String, Vec<Element>),
    /// Adds elements.
    AddElements(String, Vec<Element>),
    /// Adds elements that the kernel removes after these times.
    AddTimed(String, Vec<(Key, Duration)>),
    /// Appends a rule to a chain.
    AddRule(String, Rule),
}

/// What must be done, in an order that the kernel takes as one transaction. A set keeps the elements
/// that stay and a chain that is as it should be keeps its rules.
pub fn changes(actual: Option<&Table>, wanted: Option<&Table>) -> Vec<Change> {
    match (actual, wanted) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![Change::DeleteTable],
        (None, Some(wanted)) => from_nothing(wanted),
        (Some(actual), Some(wanted)) if declared_otherwise(actual, wanted) => {
            let mut all = vec![Change::DeleteTable];
            all.extend(from_nothing(wanted));
            all
        }
        (Some(actual), Some(wanted)) => between(actual, wanted),
    }
}

/// The wanted table with the elements that are there already: what protects what is still there goes on
/// doing so.
pub fn widened(actual: Option<&Table>, wanted: Option<&Table>) -> Option<Table> {
    let Some(mut wide) = wanted.cloned() else {
        return actual.cloned();
    };
    for (name, set) in &mut wide.sets {
        let known = actual
            .and_then(|table| table.sets.get(name))
            .filter(|k| k.same_kind(set));
        let more = known.filter(|k| k.key != KeyType::Ranges);
        for (key, value) in more.into_iter().flat_map(|k| &k.elements) {
            set.elements
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
    Some(wide)
}

/// A set or base chain of the same name is of another kind, or the table was not made as one that is owned:
/// these cannot be changed, only made anew.
fn declared_otherwise(actual: &Table, wanted: &Table) -> bool {
    let sets = wanted.sets.iter().any(|(name, set)| {
        actual
            .sets
            .get(name)
            .is_some_and(|known| !known.same_kind(set))
    });
    let chains = wanted.chains.iter().any(|(name, chain)| {
        actual
            .chains
            .get(name)
            .is_some_and(|known| known.base != chain.base)
    });
    sets || chains || actual.owned != wanted.owned
}

fn from_nothing(wanted: &Table) -> Vec<Change> {
    let owned = wanted.owned;
    let mut all = vec![Change::AddTable { owned }];
    all.extend(between(&Table::new(&wanted.name), wanted));
    all
}

fn between(actual: &Table, wanted: &Table) -> Vec<Change> {
    let mut all = Vec::new();
    let new = wanted.timeouts.difference(&actual.timeouts);
    all.extend(new.map(|timeout| Change::AddTimeout(*timeout)));
    for (name, set) in wanted
        .sets
        .iter()
        .filter(|(name, _)| !actual.sets.contains_key(*name))
    {
        all.push(Change::AddSet(
            name.clone(),
            Set {
                elements: [].into(),
                ..set.clone()
            },
        ));
    }
    for (name, chain) in wanted
        .chains
        .iter()
        .filter(|(name, _)| !actual.chains.contains_key(*name))
    {
        all.push(Change::AddChain(name.clone(), chain.base));
    }
    // Rules go before the sets and chains they refer to; new ones come after.
    for (name, chain) in &actual.chains {
        let stays = wanted
            .chains
            .get(name)
            .is_some_and(|w| w.rules == chain.rules);
        if !stays && !chain.rules.is_empty() {
            all.push(Change::FlushChain(name.clone()));
        }
    }
    for (name, set) in &actual.sets {
        all.extend(removals(name, set, wanted.sets.get(name)));
    }
    for (name, set) in &wanted.sets {
        all.extend(additions(name, actual.sets.get(name), set));
    }
    for (name, chain) in &wanted.chains {
        if actual
            .chains
            .get(name)
            .is_none_or(|known| known.rules != chain.rules)
        {
            all.extend(
                chain
                    .rules
                    .iter()
                    .map(|rule| Change::AddRule(name.clone(), rule.clone())),
            );
        }
    }
    let gone = actual
        .chains
        .keys()
        .filter(|name| !wanted.chains.contains_key(*name));
    all.extend(gone.map(|name| Change::DeleteChain(name.clone())));
    let gone = actual
        .sets
        .keys()
        .filter(|name| !wanted.sets.contains_key(*name));
    all.extend(gone.map(|name| Change::DeleteSet(name.clone())));
    let gone = actual.timeouts.difference(&wanted.timeouts);
    all.extend(gone.map(|timeout| Change::DeleteTimeout(*timeout)));
    all
}

fn removals(name: &str, actual: &Set, wanted: Option<&Set>) -> Option<Change> {
    if actual.elements.is_empty() || wanted.is_some_and(|w| w.elements == actual.elements) {
        return None;
    }
    // Ranges may overlap between the old and the new: all go, all come.
    let Some(wanted) = wanted.filter(|w| w.key != KeyType::Ranges) else {
        return Some(Change::FlushSet(name.to_owned()));
    };
    let gone: Vec<Element> = actual
        .elements
        .iter()
        .filter(|(key, value)| wanted.elements.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!gone.is_empty()).then(|| Change::DeleteElements(name.to_owned(), gone))
}

fn additions(name: &str, actual: Option<&Set>, wanted: &Set) -> Option<Change> {
    if actual.is_some_and(|a| a.elements == wanted.elements) {
        return None;
    }
    let kept = actual.filter(|_| wanted.key != KeyType::Ranges);
    let new: Vec<Element> = wanted
        .elements
        .iter()
        .filter(|(key, value)| kept.and_then(|k| k.elements.get(*key)) != Some(*value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!new.is_empty()).then(|| Change::AddElements(name.to_owned(), new))
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable { .. } => f.write_str("add table"),
            Self::DeleteTable => f.write_str("delete table"),
            Self::AddSet(name, set) => write!(f, "add set {name} {set}"),
            Self::DeleteSet(name) => write!(f, "delete set {name}"),
            Self::AddTimeout(timeout) => write!(f, "add timeout {}", timeout.name()),
            Self::DeleteTimeout(timeout) => write!(f, "delete timeout {}", timeout.name()),
            Self::AddChain(name, _) => write!(f, "add chain {name}"),
            Self::DeleteChain(name) => write!(f, "delete chain {name}"),
            Self::FlushChain(name) => write!(f, "flush chain {name}"),
            Self::FlushSet(name) => write!(f, "flush set {name}"),
            Self::DeleteElements(name, elements) => {
                write!(f, "delete from {name} {}", listed(elements))
            }
            Self::AddElements(name, elements) => write!(f, "add to {name} {}", listed(elements)),
            Self::AddTimed(name, elements) => {
                let words: Vec<String> = elements
                    .iter()
                    .map(|(key, time)| format!("{key} timeout {}ms", time.as_millis()))
                    .collect();
                write!(f, "add to {name} {{ {} }}", words.join(", "))
            }
            Self::AddRule(chain, rule) => write!(f, "add rule {chain} {rule}"),
        }
    }
}

fn listed(elements: &[Element]) -> String {
    let words: Vec<String> = elements
        .iter()
        .map(|(key, value)| format!("{key}{value}"))
        .collect();
    format!("{{ {} }}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::{Chain, Part, Value, Verdict};
    use super::*;

    fn table(members: &[u8], ranges: &[&str], rules: &[&str]) -> Table {
        let mut table = Table::new("lath");
        let mut set = Set::new(KeyType::Address);
        members
            .iter()
            .for_each(|m| set.insert(Key::Address(Ipv4Addr::new(10, 0, 0, *m))));
        table.sets.insert("sg_a".into(), set);
        table.sets.insert(
            "pl_a".into(),
            Set::of_blocks(ranges.iter().map(|r| r.parse().unwrap())),
        );
        let rules = rules.iter().map(|set| {
            Rule::new([
                Part::SourceIn((*set).into()),
                Part::Verdict(Verdict::Accept),
            ])
        });
        table.chains.insert("c".into(), Chain::new(rules.collect()));
        table
    }

    #[test]
    fn only_what_differs_is_changed() {
        let base = || Some(table(&[1, 2], &["10.0.0.0/8"], &["sg_a"]));
        for (name, actual, wanted, want) in [
            ("nothing", base(), base(), ""),
            ("gone", base(), None, "delete table"),
            (
                "made",
                None,
                Some(table(&[1], &[], &["sg_a"])),
                "add table; add set pl_a ranges; add set sg_a address; add chain c; \
                 add to sg_a { 10.0.0.1 }; add rule c ip saddr @sg_a accept",
            ),
            (
                "a member moves",
                base(),
                Some(table(&[2, 3], &["10.0.0.0/8"], &["sg_a"])),
                "delete from sg_a { 10.0.0.1 }; add to sg_a { 10.0.0.3 }",
            ),
            (
                "ranges are replaced",
                base(),
                Some(table(&[1, 2], &["10.0.0.0/9"], &["sg_a"])),
                "flush set pl_a; add to pl_a { 10.0.0.0-10.127.255.255 }",
            ),
            (
                "rules are replaced",
                base(),
                Some(table(&[1, 2], &["10.0.0.0/8"], &["pl_a"])),
                "flush chain c; add rule c ip saddr @pl_a accept",
            ),
        ] {
            let got: Vec<String> = changes(actual.as_ref(), wanted.as_ref())
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(got.join("; "), want, "{name}");
        }
    }

    #[test]
    fn a_set_of_another_kind_is_made_anew() {
        let actual = table(&[1], &[], &[]);
        let mut wanted = actual.clone();
        let mut set = Set::new(KeyType::Link);
        set.elements.insert(Key::Link("e1".into()), Value::None);
        wanted.sets.insert("sg_a".into(), set);
        let all = changes(Some(&actual), Some(&wanted));
        assert_eq!(
            all[..2],
            [Change::DeleteTable, Change::AddTable { owned: true }]
        );
    }

    #[test]
    fn a_table_that_others_could_change_is_made_anew() {
        let mut actual = table(&[1], &[], &[]);
        actual.owned = false;
        let all = changes(Some(&actual), Some(&table(&[1], &[], &[])));
        assert_eq!(
            all[..2],
            [Change::DeleteTable, Change::AddTable { owned: true }]
        );
    }
}
