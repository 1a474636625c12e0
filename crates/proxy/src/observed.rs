//! What the proxy reports.

use std::collections::BTreeMap;
use std::time::Duration;

use lath_feed::{Condition, Ejection, Snapshot, TargetHealth, TargetKey, TargetObserved};
use lath_health::HealthView;
use lath_model::Timestamp;
use lath_model::id::{
    ServiceId, ServiceNetworkResourceAssociationId, ServiceNetworkVpcAssociationId, TargetGroupId,
    VpcEndpointId,
};

/// What works, as of a snapshot version. Absence means: not known yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProxyObserved {
    /// The newest snapshot version that requests are answered by.
    pub version: u64,
    /// Service networks in VPCs: ready when every listener of every service is bound there.
    pub vpc_associations: BTreeMap<ServiceNetworkVpcAssociationId, Condition>,
    /// Endpoints: ready when every listener of every service of their network is bound at every address.
    pub vpc_endpoints: BTreeMap<VpcEndpointId, Condition>,
    /// Associations with resources: ready when they are reached in every associated VPC.
    pub resource_associations: BTreeMap<ServiceNetworkResourceAssociationId, Condition>,
    /// Services: ready when every listener is bound in every associated VPC.
    pub services: BTreeMap<ServiceId, Condition>,
    /// Requests in flight to draining targets.
    pub in_flight: BTreeMap<TargetGroupId, BTreeMap<TargetKey, u64>>,
    /// Targets that outlier detection leaves out.
    pub ejected: BTreeMap<TargetGroupId, BTreeMap<TargetKey, Ejection>>,
}

/// Target health as [`lath_feed::Observed`] wants it: what probes say, and of draining targets what is in
/// flight. One is drained when nothing is, or when `drain` has passed.
pub fn observed_targets(
    snapshot: &Snapshot,
    health: &HealthView,
    proxy: &ProxyObserved,
    drain: Duration,
    now: Timestamp,
) -> BTreeMap<TargetGroupId, BTreeMap<TargetKey, TargetObserved>> {
    let group_of = |group: &lath_feed::TargetGroup| {
        let one = |(key, target): (&TargetKey, &lath_feed::Target)| {
            let state = health
                .groups
                .get(&group.id)
                .and_then(|states| states.get(key));
            let mut observed = TargetObserved {
                health: health.health(group, key),
                reason: state.and_then(|state| state.reason).map(str::to_owned),
                since: state.map_or(now, |state| state.since),
                in_flight: 0,
                ejection: proxy
                    .ejected
                    .get(&group.id)
                    .and_then(|keys| keys.get(key).cloned()),
            };
            if let Some(since) = target.draining_since {
                let left = proxy
                    .in_flight
                    .get(&group.id)
                    .and_then(|keys| keys.get(key));
                let over = left == Some(&0) || now.since(since) >= drain;
                observed.health = if over {
                    TargetHealth::Drained
                } else {
                    TargetHealth::Draining
                };
                observed.reason = None;
                observed.since = since;
                observed.in_flight = left.copied().unwrap_or(0);
            }
            (key.clone(), observed)
        };
        group.targets.iter().map(one).collect()
    };
    snapshot
        .target_groups
        .values()
        .map(|group| (group.id.clone(), group_of(group)))
        .collect()
}
