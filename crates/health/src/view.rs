//! What probes say, as a level that anyone may read.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_feed::{TargetGroup, TargetHealth, TargetKey};
use lath_model::Timestamp;
use lath_model::id::TargetGroupId;

/// Where the newest view is read.
pub type HealthReceiver = tokio::sync::watch::Receiver<Arc<HealthView>>;

/// The health of every target of every group that the engine knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HealthView {
    /// The newest snapshot version that the engine obeys.
    pub version: u64,
    /// By group. A group's `Arc` stays the same while nothing in it changes.
    pub groups: BTreeMap<TargetGroupId, Arc<GroupHealth>>,
}

/// The health of a group's targets.
pub type GroupHealth = BTreeMap<TargetKey, TargetState>;

/// One target's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetState {
    /// As ListTargets shows it.
    pub health: TargetHealth,
    /// `HealthCheckFailed` for an unhealthy target; nothing for others.
    pub reason: Option<&'static str>,
    /// What exactly went wrong, for logs and people.
    pub detail: Option<String>,
    /// Since when it is so.
    pub since: Timestamp,
}

impl HealthView {
    /// The health of a target; of one that the engine has not met yet, what it will begin with.
    pub fn health(&self, group: &TargetGroup, key: &TargetKey) -> TargetHealth {
        self.groups
            .get(&group.id)
            .and_then(|targets| targets.get(key))
            .map_or_else(|| initial(group, key), |state| state.health)
    }
}

/// What a target's health is before any probe.
pub(crate) fn initial(group: &TargetGroup, key: &TargetKey) -> TargetHealth {
    let draining = group
        .targets
        .get(key)
        .is_some_and(|target| target.draining_since.is_some());
    match () {
        () if draining => TargetHealth::Draining,
        () if !group.in_use => TargetHealth::Unused,
        () if group.health_check.is_none() => TargetHealth::Unavailable,
        () => TargetHealth::Initial,
    }
}
