//! What several nodes say, as one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::stream::Report;
use crate::{Condition, Ejection, Observed, TargetKey, TargetObserved};

/// A node of a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(String);

impl NodeId {
    /// The node of this name, which is unique in its region: 1 to 63 letters, digits, `-` and `.`.
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        let valid = (1..=63).contains(&name.len()) && name.bytes().all(allowed);
        valid.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a name that [`NodeId::new`] takes: one from outside may be none.
    pub fn is_valid(&self) -> bool {
        Self::new(&self.0).is_some()
    }
}

impl Default for NodeId {
    /// The node on control's own machine, and every node of a version that had one in each region.
    fn default() -> Self {
        Self("local".into())
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How long what a node said counts after it went, while others are there. A node that restarts is back sooner.
pub const ABSENCE: Duration = Duration::from_secs(30);

/// What each node said last.
#[derive(Debug, Default)]
pub struct Merged {
    nodes: BTreeMap<NodeId, Said>,
}

#[derive(Debug)]
struct Said {
    observed: Arc<Observed>,
    /// Since when it has not been there.
    absent: Option<Instant>,
}

impl Merged {
    /// A node is to be there, and nothing is known of it yet: for as long as an absent one counts, nothing is obeyed by all.
    pub fn expect(&mut self, node: &NodeId, now: Instant) {
        self.nodes.entry(node.clone()).or_insert_with(|| Said {
            observed: Arc::default(),
            absent: Some(now),
        });
    }

    /// A node is there and says this.
    pub fn observe(&mut self, node: &NodeId, observed: Arc<Observed>) {
        let absent = None;
        self.nodes.insert(node.clone(), Said { observed, absent });
    }

    /// A node is there and says what changed.
    pub(crate) fn change(&mut self, node: &NodeId, report: Report) {
        if let Some(said) = self.nodes.get_mut(node) {
            report.apply(Arc::make_mut(&mut said.observed));
        }
    }

    /// A node is there, and has not said anything yet: what it said before counts.
    pub fn come(&mut self, node: &NodeId) {
        if let Some(said) = self.nodes.get_mut(node) {
            said.absent = None;
        }
    }

    /// A node has gone.
    pub fn go(&mut self, node: &NodeId, now: Instant) {
        if let Some(said) = self.nodes.get_mut(node) {
            said.absent = Some(now);
        }
    }

    /// When to look again, because what an absent node said stops counting.
    pub fn next(&self) -> Option<Instant> {
        let absent = self.nodes.values().filter_map(|said| said.absent);
        let present = self.nodes.values().any(|said| said.absent.is_none());
        absent
            .min()
            .filter(|_| present)
            .map(|since| since + ABSENCE)
    }

    /// The actual state, as far as the nodes report it. Where none is left, what the last ones said stands: an absent node is not an
    /// empty one.
    pub fn observed(&mut self, now: Instant) -> Arc<Observed> {
        let present = self.nodes.values().any(|said| said.absent.is_none());
        if present {
            self.nodes
                .retain(|_, said| said.absent.is_none_or(|since| now < since + ABSENCE));
        }
        let mut all = self.nodes.values().map(|said| &said.observed);
        let Some(first) = all.next() else {
            return Arc::default();
        };
        // One node's word is passed on as it is.
        all.fold(Arc::clone(first), |merged, next| {
            Arc::new(both(&merged, next))
        })
    }
}

/// What two nodes say together: something works when it works at each that has it, and a version is obeyed when both obey
/// it. Of what moves between nodes, the newest word counts.
fn both(one: &Observed, other: &Observed) -> Observed {
    let mut all = one.clone();
    all.applied_version = one.applied_version.min(other.applied_version);
    all.dns_version = one.dns_version.min(other.dns_version);
    join(&mut all.vpcs, &other.vpcs, worse);
    join(&mut all.vpc_associations, &other.vpc_associations, worse);
    join(&mut all.services, &other.services, worse);
    join(&mut all.transit_gateways, &other.transit_gateways, worse);
    join(
        &mut all.transit_attachments,
        &other.transit_attachments,
        worse,
    );
    join(&mut all.nat_gateways, &other.nat_gateways, worse);
    join(&mut all.vpc_endpoints, &other.vpc_endpoints, worse);
    join(&mut all.resource_gateways, &other.resource_gateways, worse);
    join(
        &mut all.resource_associations,
        &other.resource_associations,
        worse,
    );
    join(&mut all.instances, &other.instances, |one, other| {
        (other.boot, other.since) > (one.boot, one.since)
    });
    join(&mut all.regions, &other.regions, |one, other| {
        (other.connected, other.since) > (one.connected, one.since)
    });
    join(&mut all.health_checks, &other.health_checks, |_, _| false);
    join(&mut all.clusters, &other.clusters, |_, _| false);
    join(&mut all.functions, &other.functions, |one, other| {
        (other.revision, &other.unique_id) > (one.revision, &one.unique_id)
    });
    for (group, targets) in &other.targets {
        let known = all.targets.entry(group.clone()).or_default();
        // Each node leaves targets out by what it saw itself.
        let ejections = [&*known, targets].map(ejections_of);
        join(known, targets, |one, other| other.since > one.since);
        for (target, ejection) in ejections.into_iter().flatten() {
            if let Some(known) = known.get_mut(&target) {
                let later = known
                    .ejection
                    .as_ref()
                    .is_none_or(|it| it.until < ejection.until);
                known.ejection = if later {
                    Some(ejection)
                } else {
                    known.ejection.take()
                };
            }
        }
    }
    all
}

fn ejections_of(targets: &BTreeMap<TargetKey, TargetObserved>) -> Vec<(TargetKey, Ejection)> {
    let targets = targets.iter();
    targets
        .filter_map(|(key, it)| Some((key.clone(), it.ejection.clone()?)))
        .collect()
}

/// Adds what `other` has; where both have something, its word counts if `prefer` says so.
fn join<K: Ord + Clone, V: Clone>(
    all: &mut BTreeMap<K, V>,
    other: &BTreeMap<K, V>,
    prefer: impl Fn(&V, &V) -> bool,
) {
    for (key, value) in other {
        if all.get(key).is_none_or(|known| prefer(known, value)) {
            all.insert(key.clone(), value.clone());
        }
    }
}

/// Whether the other condition is the one that counts for both.
fn worse(one: &Condition, other: &Condition) -> bool {
    match (one, other) {
        (Condition::Ready { version: one }, Condition::Ready { version: other }) => other < one,
        (Condition::Ready { .. }, Condition::Failed { .. }) => true,
        (Condition::Failed { .. }, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_model::id::VpcId;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn said(version: u64, vpcs: &[(&str, Condition)]) -> Arc<Observed> {
        let vpcs = vpcs
            .iter()
            .map(|(id, it)| (id.parse().unwrap(), it.clone()));
        Arc::new(Observed {
            applied_version: version,
            dns_version: version,
            vpcs: vpcs.collect(),
            ..Observed::default()
        })
    }

    fn ready(version: u64) -> Condition {
        Condition::Ready { version }
    }

    fn failed() -> Condition {
        let reason = "no link".to_owned();
        Condition::Failed { reason }
    }

    const A: &str = "vpc-00000000000000001";
    const B: &str = "vpc-00000000000000002";
    const C: &str = "vpc-00000000000000003";

    #[test]
    fn something_works_when_it_works_wherever_it_is() {
        let now = Instant::now();
        let mut merged = Merged::default();
        assert_eq!(*merged.observed(now), Observed::default());
        let one = said(7, &[(A, ready(7)), (B, ready(7)), (C, failed())]);
        merged.observe(&node("one"), Arc::clone(&one));
        assert!(Arc::ptr_eq(&merged.observed(now), &one));
        merged.observe(&node("two"), said(5, &[(A, ready(4)), (C, ready(5))]));
        let all = merged.observed(now);
        assert_eq!((all.applied_version, all.dns_version), (5, 5));
        let of = |id: &str| all.vpcs[&id.parse::<VpcId>().unwrap()].clone();
        assert_eq!((of(A), of(B), of(C)), (ready(4), ready(7), failed()));
    }

    #[test]
    fn an_absent_node_counts_for_a_while_and_the_last_one_for_good() {
        let now = Instant::now();
        let mut merged = Merged::default();
        merged.observe(&node("one"), said(7, &[(A, ready(7))]));
        merged.observe(&node("two"), said(5, &[(B, ready(5))]));
        assert_eq!(merged.next(), None);
        merged.go(&node("two"), now);
        assert_eq!(merged.next(), Some(now + ABSENCE));
        assert_eq!(merged.observed(now).applied_version, 5);
        assert_eq!(merged.observed(now + ABSENCE), said(7, &[(A, ready(7))]));
        assert_eq!(merged.next(), None);
        merged.go(&node("one"), now + ABSENCE);
        assert_eq!(merged.next(), None, "there is no other");
        let later = now + ABSENCE * 9;
        assert_eq!(merged.observed(later).applied_version, 7);
        merged.come(&node("one"));
        assert_eq!(merged.observed(later).applied_version, 7);
    }

    #[test]
    fn nothing_is_obeyed_by_all_before_each_expected_node_has_said_something() {
        let now = Instant::now();
        let mut merged = Merged::default();
        merged.observe(&node("one"), said(7, &[(A, ready(7))]));
        for name in ["one", "two"] {
            merged.expect(&node(name), now);
        }
        let all = merged.observed(now);
        assert_eq!((all.applied_version, all.vpcs.len()), (0, 1));
        assert_eq!(merged.next(), Some(now + ABSENCE));
        merged.observe(&node("two"), said(5, &[(B, ready(5))]));
        assert_eq!(merged.observed(now).applied_version, 5);
        merged.expect(&node("three"), now);
        assert_eq!(merged.observed(now + ABSENCE).applied_version, 5);
    }

    #[test]
    fn names_of_nodes_are_short_and_plain() {
        assert!(NodeId::default().is_valid());
        let long = "a".repeat(64);
        for name in ["", "a b", "a/b", "ä", long.as_str()] {
            assert_eq!(NodeId::new(name), None, "{name}");
        }
    }
}
