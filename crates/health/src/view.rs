//! The probed health, published as a level.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_feed::{TargetGroup, TargetHealth, TargetKey};
use lath_model::Timestamp;
use lath_model::id::TargetGroupId;

/// A receiver of the newest view.
pub type HealthReceiver = tokio::sync::watch::Receiver<Arc<HealthView>>;

/// The health of every target of every group that the engine knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HealthView {
    /// The version of the snapshot that the engine follows.
    pub version: u64,
    /// By group. A group's `Arc` stays the same while nothing in it changes.
    pub groups: BTreeMap<TargetGroupId, Arc<GroupHealth>>,
}

/// The health of a group's targets.
pub type GroupHealth = BTreeMap<TargetKey, TargetState>;

/// One target's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetState {
    /// The health, as in ListTargets.
    pub health: TargetHealth,
    /// `HealthCheckFailed` for an unhealthy target; `None` for others.
    pub reason: Option<&'static str>,
    /// The exact failure, for logs and operators.
    pub detail: Option<String>,
    /// The time of the last change.
    pub since: Timestamp,
}

impl HealthView {
    /// The health of a target. For a target that the engine does not know yet, its initial health.
    pub fn health(&self, group: &TargetGroup, key: &TargetKey) -> TargetHealth {
        self.groups
            .get(&group.id)
            .and_then(|targets| targets.get(key))
            .map_or_else(|| initial(group, key), |state| state.health)
    }
}

/// A target's health before its first probe.
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
