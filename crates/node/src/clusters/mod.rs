//! Keeps clusters as the newest snapshot wants them: their control planes, what these ask of Lath, the way to them from
//! outside, and the objects that Lath keeps in each. One task keeps one cluster.
//!
//! Processes are those of [`Instances`], which finds them again after a restart; everything else is a socket or an object
//! in a cluster's API, which the next look makes again.

mod agents;
mod authentication;
mod certificates;
mod doors;
pub(crate) mod drills;
mod endpoint;
mod injection;
mod issuers;
mod logs;
mod managed_objects;
mod nodes;
mod objects;
mod plane;
mod pods;
mod services;
mod supervisor;
mod waiting;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lath_clock::Clock;
use lath_fabric::Fabric;
use lath_feed::stream::Source;
use lath_feed::telemetry::Sink;
use lath_feed::{ClusterObserved, Condition, Snapshot, SnapshotReceiver};
use lath_instance::Instances;
use lath_kubernetes::Binaries;
use lath_model::{ManagedId, ManagedKind, WorkloadId};
use lath_net::Network;
use lath_net::accept::{Acceptor, ConnectionLimits};
use lath_net::descriptors::Purpose;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::Api;
use crate::callers::KnownCallers;
use crate::faults::{Down, Draining};
use crate::network::NetworkObserved;
pub(crate) use nodes::setup_of;

/// Of all clusters, at once.
const CONNECTIONS: usize = 16_384;
/// Connections on which nothing happens are ended after this, where others want their place.
const IDLE: Duration = Duration::from_secs(60);

/// How often nodes and control planes that leave are looked at although nothing changed.
const PERIOD: Duration = Duration::from_secs(1);

/// Clusters as a node sees them.
pub(crate) type ClustersObserved = Arc<BTreeMap<ManagedId, ClusterObserved>>;

/// What keeping clusters needs.
pub(crate) struct Parts {
    pub(crate) instances: Instances,
    pub(crate) fabric: Arc<Fabric>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) networks: watch::Receiver<NetworkObserved>,
    pub(crate) down: watch::Receiver<Down>,
    pub(crate) draining: watch::Receiver<Draining>,
    pub(crate) source: watch::Receiver<Source>,
    pub(crate) sink: Arc<dyn Sink>,
    /// Control, for the agents of pod identities.
    pub(crate) api: Arc<dyn Api>,
    /// Certifies pods.
    pub(crate) issuer: Arc<lath_svid::Issuer>,
    pub(crate) clock: Clock,
    /// Whether pods reach the AWS APIs.
    pub(crate) api_in_vpcs: bool,
    /// Images for nodes.
    pub(crate) images: PathBuf,
    pub(crate) image_sources: lath_registry::Sources,
    pub(crate) observed_tx: watch::Sender<ClustersObserved>,
}

/// What the supervisors of all clusters share.
struct Shared {
    parts: Parts,
    callers: KnownCallers,
    acceptor: Acceptor,
    agents: agents::Answering,
    /// Fetches images for all nodes, once one asked.
    pull_through: OnceLock<Arc<lath_registry::PullThrough>>,
}

/// The programs of Kubernetes, looked for once: where they are does not change while a process lives.
pub(crate) fn binaries() -> Result<&'static Binaries, String> {
    static FOUND: OnceLock<Result<Binaries, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| Binaries::find().map_err(|error| error.to_string()));
    found.as_ref().map_err(Clone::clone)
}

/// Keeps clusters until `stop`. Their processes stay.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    let mut snapshots = parts.snapshots.clone();
    let mut networks = parts.networks.clone();
    let shared = Arc::new(Shared {
        callers: KnownCallers::new(parts.snapshots.clone(), parts.clock.clone()),
        acceptor: acceptor(),
        agents: agents::Answering::default(),
        pull_through: OnceLock::new(),
        parts,
    });
    let mut supervisors = Supervisors::default();
    let mut registries = nodes::Registries::default();
    let mut agents = agents::Agents::default();
    let mut issuers = issuers::Issuers::default();
    let mut renewal = certificates::Renewal::default();
    let mut are_limits_raised = false;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        networks.borrow_and_update();
        supervisors.retain(&snapshot);
        let leaving = leaving(&shared.parts.instances, &snapshot);
        report_unsupervised(&shared.parts.observed_tx, &supervisors, &leaving);
        let has_clusters = !snapshot.control_planes.is_empty() || nodes::any(&snapshot);
        if !are_limits_raised && has_clusters {
            nodes::raise_limits();
            are_limits_raised = true;
        }
        for id in snapshot.control_planes.keys() {
            supervisors.begin(&shared, id, &stop);
        }
        registries.ensure(&shared, &snapshot).await;
        agents.ensure(&shared, &snapshot).await;
        issuers.ensure(&shared, &snapshot).await;
        nodes::write_prefixes(&shared.parts.instances, &snapshot).await;
        renewal.look(&shared.parts, &snapshot).await;
        tokio::select! {
            () = stop.cancelled() => break,
            gone = snapshots.changed() => if gone.is_err() { break },
            // A node's directory appears with its first boot, and certificates age.
            () = tokio::time::sleep(PERIOD), if nodes::any(&snapshot) || !snapshot.control_planes.is_empty() || !leaving.is_empty() => {}
            () = supervisors.one_ended() => {}
        }
    }
    drop(supervisors.running);
    supervisors.tasks.join_all().await;
}

/// Control planes that are not wanted, and of which there are processes or files: until they are gone, a cluster of the
/// same name must not be made.
fn leaving(instances: &Instances, snapshot: &Snapshot) -> BTreeSet<ManagedId> {
    let there = match instances.list() {
        Ok(there) => there,
        Err(error) => {
            tracing::warn!(%error, "the control planes on this host cannot be listed");
            return BTreeSet::new();
        }
    };
    let managed = there.into_iter().filter_map(|id| match id {
        WorkloadId::Managed(id) => Some(id),
        _ => None,
    });
    let planes = managed.filter(|id| id.kind() == ManagedKind::ControlPlane);
    planes
        .filter(|id| !snapshot.control_planes.contains_key(id))
        .collect()
}

/// Reports clusters without a supervisor: they are leaving, or are not there.
fn report_unsupervised(
    observed_tx: &watch::Sender<ClustersObserved>,
    supervisors: &Supervisors,
    leaving: &BTreeSet<ManagedId>,
) {
    observed_tx.send_if_modified(|known| {
        let mut now = (**known).clone();
        now.retain(|id, _| supervisors.running.contains_key(id));
        now.extend(leaving.iter().map(|id| (id.clone(), being_removed())));
        let differs = **known != now;
        if differs {
            *known = Arc::new(now);
        }
        differs
    });
}

fn being_removed() -> ClusterObserved {
    ClusterObserved {
        condition: Condition::Failed {
            reason: "it is being removed".to_owned(),
        },
        version: None,
        nodes: BTreeMap::new(),
        refused_addons: BTreeMap::new(),
        identity_provider: None,
        identity_provider_known: false,
        waiting: Vec::new(),
        branches: None,
    }
}

/// The tasks that keep clusters.
#[derive(Default)]
struct Supervisors {
    /// With the number of the task, which is not that of a later one for a cluster of the same name.
    running: BTreeMap<ManagedId, (u64, DropGuard)>,
    tasks: JoinSet<(ManagedId, u64)>,
    begun: u64,
}

impl Supervisors {
    fn retain(&mut self, snapshot: &Snapshot) {
        let is_wanted = |id: &ManagedId| snapshot.control_planes.contains_key(id);
        self.running.retain(|id, _| is_wanted(id));
    }

    fn begin(&mut self, shared: &Arc<Shared>, id: &ManagedId, stop: &CancellationToken) {
        self.begin_with(id, stop, |stop| {
            supervisor::run(Arc::clone(shared), id.clone(), stop)
        });
    }

    fn begin_with<F>(
        &mut self,
        id: &ManagedId,
        stop: &CancellationToken,
        keep: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.running.contains_key(id) {
            return;
        }
        self.begun += 1;
        let (number, stop) = (self.begun, stop.child_token());
        let (kept, id) = (keep(stop.clone()), id.clone());
        self.running.insert(id.clone(), (number, stop.drop_guard()));
        self.tasks.spawn(async move {
            kept.await;
            (id, number)
        });
    }

    /// Waits for one that ended: by itself it does so when a snapshot lacked its cluster, which may be back by now.
    async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((id, number))) => {
                let is_it = |(running, _): &(u64, DropGuard)| *running == number;
                if self.running.get(&id).is_some_and(is_it) {
                    self.running.remove(&id);
                }
            }
            // A panic has been reported, and ends the process.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }
}

fn acceptor() -> Acceptor {
    let total = Purpose::Clusters.share(CONNECTIONS) / 2;
    let per_place = total.div_ceil(2);
    let limits = ConnectionLimits {
        total,
        per_place,
        per_source: per_place,
        idle: IDLE,
    };
    Acceptor::new("clusters", limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ManagedId {
        ManagedId::new(ManagedKind::ControlPlane, "blue").unwrap()
    }

    #[tokio::test]
    async fn a_keeper_that_ended_may_be_begun_again_and_a_later_one_stays() {
        let stop = CancellationToken::new();
        let mut supervisors = Supervisors::default();
        supervisors.begin_with(&id(), &stop, |_| async {});
        supervisors.one_ended().await;
        assert!(supervisors.running.is_empty());
        supervisors.begin_with(&id(), &stop, |stop| async move { stop.cancelled().await });
        // The cluster went and came back before the end of its first supervisor was seen.
        supervisors.retain(&Snapshot::default());
        supervisors.begin_with(&id(), &stop, |stop| async move { stop.cancelled().await });
        supervisors.one_ended().await;
        assert!(supervisors.running.contains_key(&id()));
    }

    #[test]
    fn a_control_plane_that_leaves_is_told_of_until_it_is_gone() {
        let observed_tx = watch::Sender::new(ClustersObserved::default());
        let supervisors = Supervisors::default();
        report_unsupervised(&observed_tx, &supervisors, &BTreeSet::from([id()]));
        let reason = "it is being removed".to_owned();
        let failed = Condition::Failed { reason };
        assert_eq!(observed_tx.borrow()[&id()].condition, failed);
        report_unsupervised(&observed_tx, &supervisors, &BTreeSet::new());
        assert!(observed_tx.borrow().is_empty());
    }
}
