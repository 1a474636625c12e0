//! Puts together what the parts of a node say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::{
    Condition, InstanceObserved, InstancePhase, Observed, PeerState, RegionObserved, Snapshot,
    SnapshotReceiver, TransitPeer, Vpc,
};
use lath_function::FunctionsObserved;
use lath_health::{HealthReceiver, PeersReceiver};
use lath_health_checkers::ObservedChecks;
use lath_instance::Bound;
use lath_model::id::{
    InstanceId, ResourceGatewayId, ServiceNetworkResourceAssociationId,
    ServiceNetworkVpcAssociationId, TransitGatewayAttachmentId, VpcId,
};
use lath_model::{Timestamp, WorkloadId};
use lath_proxy::{ProxyObserved, observed_targets};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clusters::ClustersObserved;
use crate::instances::is_cut_off;
use crate::network::NetworkObserved;

/// Where each part reports its actual state.
pub(crate) struct Parts {
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) network: watch::Receiver<NetworkObserved>,
    pub(crate) resolvers: watch::Receiver<Bound>,
    pub(crate) metadata: watch::Receiver<Bound>,
    pub(crate) instances: watch::Receiver<BTreeMap<WorkloadId, InstanceObserved>>,
    pub(crate) health: HealthReceiver,
    pub(crate) proxy: watch::Receiver<ProxyObserved>,
    pub(crate) checks: watch::Receiver<Arc<ObservedChecks>>,
    pub(crate) dns: watch::Receiver<u64>,
    pub(crate) tunnels: watch::Receiver<Arc<BTreeMap<TransitGatewayAttachmentId, Condition>>>,
    pub(crate) peers: PeersReceiver,
    pub(crate) clusters: watch::Receiver<ClustersObserved>,
    pub(crate) functions: watch::Receiver<FunctionsObserved>,
    /// How long a deregistered target may finish requests.
    pub(crate) drain: Duration,
    pub(crate) clock: Clock,
    /// Since when the network of instances that run is not as it should be.
    pub(crate) cut_off: BTreeMap<InstanceId, Timestamp>,
}

/// Drain times end without anything else changing.
const PERIOD: Duration = Duration::from_secs(1);
/// Changes that come together are reported together.
const SETTLE: Duration = Duration::from_millis(2);

pub(crate) async fn run(
    mut parts: Parts,
    observed_tx: watch::Sender<Arc<Observed>>,
    stop: CancellationToken,
) {
    loop {
        let observed = parts.observe(parts.clock.now());
        observed_tx.send_if_modified(|known| {
            let differs = **known != observed;
            if differs {
                *known = Arc::new(observed);
            }
            differs
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = parts.changed() => tokio::time::sleep(SETTLE).await,
        }
    }
}

impl Parts {
    /// Returns when any part says something else, or after a while.
    async fn changed(&mut self) {
        // A part that has ended says nothing any more: the others still count.
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            Ok(()) = self.snapshots.changed() => {}
            Ok(()) = self.network.changed() => {}
            Ok(()) = self.resolvers.changed() => {}
            Ok(()) = self.metadata.changed() => {}
            Ok(()) = self.instances.changed() => {}
            Ok(()) = self.health.changed() => {}
            Ok(()) = self.proxy.changed() => {}
            Ok(()) = self.checks.changed() => {}
            Ok(()) = self.dns.changed() => {}
            Ok(()) = self.tunnels.changed() => {}
            Ok(()) = self.peers.changed() => {}
            Ok(()) = self.clusters.changed() => {}
            Ok(()) = self.functions.changed() => {}
        }
    }

    fn observe(&mut self, now: Timestamp) -> Observed {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let network = self.network.borrow_and_update().clone();
        let resolvers = self.resolvers.borrow_and_update().clone();
        let metadata = self.metadata.borrow_and_update().clone();
        let instances = self.instances.borrow_and_update().clone();
        let instances = connected(instances, &snapshot, &network, &mut self.cut_off, now);
        let health = Arc::clone(&self.health.borrow_and_update());
        let proxy = self.proxy.borrow_and_update().clone();
        let tunnels = Arc::clone(&self.tunnels.borrow_and_update());
        let vpcs = vpcs(&snapshot, &network, &resolvers, &metadata);
        let mut transit_attachments = attachments(&snapshot, &network);
        transit_attachments.extend(tunnels.iter().map(|(id, it)| (id.clone(), it.clone())));
        Observed {
            clusters: (**self.clusters.borrow_and_update()).clone(),
            functions: (**self.functions.borrow_and_update()).clone(),
            applied_version: network.version,
            vpc_associations: associations(&snapshot, &vpcs, &proxy),
            targets: observed_targets(&snapshot, &health, &proxy, self.drain, now),
            resource_gateways: gateways(&snapshot, &vpcs),
            resource_associations: led(proxy.resource_associations, network.version),
            services: proxy.services,
            transit_gateways: conditions(&network, &network.report.transit_gateways),
            transit_attachments,
            health_checks: (**self.checks.borrow_and_update()).clone(),
            dns_version: *self.dns.borrow_and_update(),
            regions: regions(&self.peers.borrow_and_update()),
            nat_gateways: conditions(&network, &network.report.nat_gateways),
            vpc_endpoints: proxy.vpc_endpoints,
            vpcs,
            instances,
        }
    }
}

/// One whose links and addresses are not there is not running, whatever its processes do, since they were lost.
fn connected(
    workloads: BTreeMap<WorkloadId, InstanceObserved>,
    snapshot: &Snapshot,
    network: &NetworkObserved,
    cut_off: &mut BTreeMap<InstanceId, Timestamp>,
    now: Timestamp,
) -> BTreeMap<InstanceId, InstanceObserved> {
    let is_lost = |id: &InstanceId| {
        let known = snapshot.instances.get(id);
        known.is_some_and(|it| is_cut_off(snapshot, network, it))
    };
    cut_off.retain(|id, _| is_lost(id));
    // What other services run is theirs to report.
    let instances = workloads.into_iter();
    let instances = instances.filter_map(|(id, observed)| Some((id.instance()?.clone(), observed)));
    let mut instances: BTreeMap<_, _> = instances.collect();
    for (id, observed) in &mut instances {
        if observed.state == InstancePhase::Running && is_lost(id) {
            observed.state = InstancePhase::Starting;
            observed.since = *cut_off.entry(id.clone()).or_insert(now);
        }
    }
    instances
}

fn regions(peers: &BTreeMap<String, PeerState>) -> BTreeMap<String, RegionObserved> {
    let seen = |peer: &PeerState| RegionObserved {
        connected: peer.connected,
        since: peer.since,
    };
    let seen = |(region, peer): (&String, _)| (region.clone(), seen(peer));
    peers.iter().map(seen).collect()
}

/// A VPC works when its router is made, and its resolver and metadata service answer.
fn vpcs(
    snapshot: &Snapshot,
    network: &NetworkObserved,
    resolvers: &Bound,
    metadata: &Bound,
) -> BTreeMap<VpcId, Condition> {
    let mut conditions = BTreeMap::new();
    for (id, outcome) in &network.report.vpcs {
        let resolver = snapshot
            .vpcs
            .get(id)
            .filter(|vpc: &&Arc<Vpc>| vpc.dns_support)
            .map(|_| resolvers);
        let mut parts = vec![Some(outcome.clone())];
        parts.extend(resolver.map(|bound| bound.get(id).cloned()));
        parts.push(metadata.get(id).cloned());
        // A part that has said nothing yet: the VPC is still being made.
        if let Some(parts) = parts.into_iter().collect::<Option<Vec<_>>>() {
            let condition = match parts.into_iter().collect::<Result<Vec<()>, String>>() {
                Ok(_) => Condition::Ready {
                    version: network.version,
                },
                Err(reason) => Condition::Failed { reason },
            };
            conditions.insert(id.clone(), condition);
        }
    }
    conditions
}

/// What the fabric says of its own.
fn conditions<K: Clone + Ord>(
    network: &NetworkObserved,
    outcomes: &BTreeMap<K, Result<(), String>>,
) -> BTreeMap<K, Condition> {
    let version = network.version;
    let condition = |outcome: &Result<(), String>| match outcome {
        Ok(()) => Condition::Ready { version },
        Err(reason) => Condition::Failed {
            reason: reason.clone(),
        },
    };
    outcomes
        .iter()
        .map(|(id, outcome)| (id.clone(), condition(outcome)))
        .collect()
}

/// Attachments whose packets the fabric carries. The carriers of other attachments report those.
fn attachments(
    snapshot: &Snapshot,
    network: &NetworkObserved,
) -> BTreeMap<TransitGatewayAttachmentId, Condition> {
    let gateways = snapshot.transit_gateways.values();
    let tunnels: BTreeSet<&TransitGatewayAttachmentId> = gateways
        .flat_map(|gateway| gateway.attachments.values())
        .filter(|attachment| matches!(attachment.to, TransitPeer::Tunnel(_)))
        .map(|attachment| &attachment.id)
        .collect();
    let mut conditions = conditions(network, &network.report.transit_attachments);
    conditions.retain(|id, _| !tunnels.contains(id));
    conditions
}

/// A gateway works when its VPC does: its addresses are the router's.
fn gateways(
    snapshot: &Snapshot,
    vpcs: &BTreeMap<VpcId, Condition>,
) -> BTreeMap<ResourceGatewayId, Condition> {
    let gateways = snapshot.resource_gateways.iter();
    gateways
        .filter_map(|(id, gateway)| Some((id.clone(), vpcs.get(&gateway.vpc)?.clone())))
        .collect()
}

/// Resources are reached when their sockets are open, and the routers lead their ports there.
fn led(
    mut bound: BTreeMap<ServiceNetworkResourceAssociationId, Condition>,
    applied: u64,
) -> BTreeMap<ServiceNetworkResourceAssociationId, Condition> {
    for condition in bound.values_mut() {
        if let Condition::Ready { version } = condition {
            *version = applied.min(*version);
        }
    }
    bound
}

/// A service network works in a VPC when its listeners are bound there and the VPC itself works.
fn associations(
    snapshot: &Snapshot,
    vpcs: &BTreeMap<VpcId, Condition>,
    proxy: &ProxyObserved,
) -> BTreeMap<ServiceNetworkVpcAssociationId, Condition> {
    let vpc_of: BTreeMap<_, _> = snapshot
        .vpcs
        .iter()
        .filter_map(|(vpc, plan)| Some((plan.lattice.as_ref()?.id.clone(), vpc)))
        .collect();
    let both = |(id, bound): (&ServiceNetworkVpcAssociationId, &Condition)| {
        let condition = match vpc_of.get(id) {
            None => bound.clone(),
            Some(vpc) => match vpcs.get(*vpc)? {
                Condition::Ready { .. } => bound.clone(),
                failed @ Condition::Failed { .. } => failed.clone(),
            },
        };
        Some((id.clone(), condition))
    };
    proxy.vpc_associations.iter().filter_map(both).collect()
}
