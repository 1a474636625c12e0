//! Target groups and their members.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use lath_feed::{FunctionGroup, Snapshot, TargetGroup, TargetHealth};
use lath_health::{HealthView, Reach, Verified};
use lath_model::id::TargetGroupId;
use lath_model::lattice::{ProtocolVersion, TargetProtocol};

use crate::breaker::{Load, Policy};
use crate::counters::Counters;
use crate::outlier::Outliers;
use crate::slot::{GroupSlot, Members, TargetSlot, Turns};
use crate::state::State;

/// The target groups: what is counted of them stays.
pub(super) fn groups(
    snapshot: &Snapshot,
    health: &HealthView,
    previous: &State,
    lost: &BTreeSet<String>,
    threads: usize,
) -> HashMap<TargetGroupId, Arc<GroupSlot>> {
    for (id, slot) in &previous.groups {
        if !snapshot.target_groups.contains_key(id) && !snapshot.function_groups.contains_key(id) {
            slot.replace_members(Members::default());
        }
    }
    snapshot
        .target_groups
        .values()
        .map(|group| {
            let slot = previous
                .groups
                .get(&group.id)
                .cloned()
                .unwrap_or_else(|| Arc::new(new_group(group, threads)));
            let region = group.region.as_ref();
            let is_lost = region.is_some_and(|region| lost.contains(region));
            let before = slot.members.load_full();
            let mut members = members(group, health, &before, is_lost, threads);
            members.policy = policy(group, &slot, before.policy.as_ref());
            let detects = members.policy.as_ref().map(|it| it.outliers.is_some());
            if detects != Some(true) {
                members.known.values().for_each(|it| it.outlier.forget());
            }
            slot.replace_members(members);
            (group.id.clone(), slot)
        })
        .chain(functions(snapshot, previous, threads))
        .collect()
}

/// Groups of functions: what is counted of them stays, and the function changes in place.
fn functions(
    snapshot: &Snapshot,
    previous: &State,
    threads: usize,
) -> impl Iterator<Item = (TargetGroupId, Arc<GroupSlot>)> {
    snapshot.function_groups.values().map(move |group| {
        let before = previous.groups.get(&group.id);
        let known = before.filter(|it| it.function.is_some()).cloned();
        let slot = known.unwrap_or_else(|| Arc::new(function_group(group, threads)));
        if let Some(known) = &slot.function {
            known.store(Arc::clone(group));
        }
        (group.id.clone(), slot)
    })
}

fn function_group(group: &Arc<FunctionGroup>, threads: usize) -> GroupSlot {
    GroupSlot {
        id: group.id.clone(),
        arn: group.arn.clone(),
        reach: None,
        function: Some(ArcSwap::new(Arc::clone(group))),
        version: ProtocolVersion::Http1,
        secure: false,
        counters: Counters::new(threads),
        turns: Turns::new(threads),
        load: Arc::new(Load::new(threads)),
        outliers: Outliers::default(),
        members: Members::default().into_shared(),
    }
}

fn new_group(group: &TargetGroup, threads: usize) -> GroupSlot {
    GroupSlot {
        id: group.id.clone(),
        arn: group.arn.clone(),
        reach: Some(Reach::of(group)),
        function: None,
        version: group.protocol_version.unwrap_or(ProtocolVersion::Http1),
        secure: group.protocol == TargetProtocol::Https,
        counters: Counters::new(threads),
        turns: Turns::new(threads),
        load: Arc::new(Load::new(threads)),
        outliers: Outliers::default(),
        members: Members::default().into_shared(),
    }
}

/// A policy that cannot be obeyed, which only another region can have told, leaves the group as it is without one.
fn policy(
    group: &TargetGroup,
    slot: &GroupSlot,
    before: Option<&Arc<Policy>>,
) -> Option<Arc<Policy>> {
    let source = group.balancing.as_ref()?;
    if let Some(before) = before.filter(|it| it.source == *source) {
        return Some(Arc::clone(before));
    }
    let made = Policy::of(source, &slot.load);
    if made.is_none() {
        tracing::error!(target_group.id = %group.id, "a group's load balancing policy cannot be obeyed");
    }
    made.map(Arc::new)
}

/// Which targets a group has and which of them get new requests: the healthy and the unchecked ones; when
/// there is none of them, all (AWS fails open). Those of a region that is lost get none.
fn members(
    group: &TargetGroup,
    health: &HealthView,
    before: &Members,
    is_lost: bool,
    threads: usize,
) -> Members {
    let mut members = Members::default();
    let mut others = Vec::new();
    let known = before.known.values().find_map(|it| it.verified.as_ref());
    // Reading authorities costs: for no target, none is read.
    let source = group.tls.as_ref().filter(|_| !group.targets.is_empty());
    let verified = Verified::again(source, known);
    for (key, target) in &group.targets {
        let Some(address) = target.address.map(|ip| SocketAddr::new(ip, key.port)) else {
            continue;
        };
        let slot = before
            .known
            .get(key)
            .filter(|slot| slot.address == address && is_same(&slot.verified, &verified))
            .cloned()
            .unwrap_or_else(|| {
                Arc::new(TargetSlot::new(
                    key.clone(),
                    address,
                    (Reach::of(group), verified.clone()),
                    threads,
                ))
            });
        let draining = target.draining_since.is_some();
        slot.retired.store(draining, Relaxed);
        slot.lost.store(is_lost, Relaxed);
        members.known.insert(key.clone(), Arc::clone(&slot));
        match health.health(group, key) {
            _ if draining => members.draining.push(key.clone()),
            _ if is_lost => {}
            // A group that a rule began to use this moment is unused only in the view's past.
            TargetHealth::Healthy | TargetHealth::Unavailable => members.routable.push(slot),
            TargetHealth::Unused if group.health_check.is_none() => members.routable.push(slot),
            TargetHealth::Initial
            | TargetHealth::Unhealthy
            | TargetHealth::Unused
            | TargetHealth::Draining
            | TargetHealth::Drained => others.push(slot),
        }
    }
    members.healthy = !members.routable.is_empty();
    if !members.healthy {
        members.routable = others;
    }
    members
}

fn is_same(one: &Option<Arc<Verified>>, other: &Option<Arc<Verified>>) -> bool {
    one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
}

impl Members {
    fn into_shared(self) -> arc_swap::ArcSwap<Self> {
        arc_swap::ArcSwap::from_pointee(self)
    }
}

impl GroupSlot {
    /// Targets that are gone are retired, so that their idle connections are closed.
    fn replace_members(&self, members: Members) {
        let before = self.members.load();
        for (key, slot) in &before.known {
            let stays = members
                .known
                .get(key)
                .is_some_and(|now| Arc::ptr_eq(now, slot));
            if !stays {
                slot.retired.store(true, Relaxed);
            }
        }
        self.members.store(Arc::new(members));
    }
}
