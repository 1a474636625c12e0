//! Keeps clusters as the newest snapshot wants them: their control planes, what these ask of Lath, the way to them from
//! outside, and the objects that Lath keeps in each. One task keeps one cluster.
//!
//! Processes are those of [`Instances`], which finds them again after a restart; everything else is a socket or an object
//! in a cluster's API, which the next look makes again.

mod endpoint;
mod keeper;
mod logs;
mod nodes;
mod objects;
mod plane;
mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lath_fabric::Fabric;
use lath_feed::stream::Source;
use lath_feed::telemetry::Sink;
use lath_feed::{ClusterObserved, SnapshotReceiver};
use lath_instance::Instances;
use lath_kubernetes::Binaries;
use lath_model::ManagedId;
use lath_net::Network;
use lath_net::accept::{Acceptor, ConnectionLimits};
use lath_net::descriptors::Purpose;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::callers::KnownCallers;
use crate::faults::Down;
use crate::network::NetworkObserved;
pub(crate) use nodes::setup_of;

/// Of all clusters, at once.
const CONNECTIONS: usize = 16_384;
/// Connections on which nothing happens are ended after this, where others want their place.
const IDLE: Duration = Duration::from_secs(60);

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
    pub(crate) source: watch::Receiver<Source>,
    pub(crate) sink: Arc<dyn Sink>,
    /// Images for nodes.
    pub(crate) images: PathBuf,
    pub(crate) say: watch::Sender<ClustersObserved>,
}

/// What the keepers of all clusters share.
struct Shared {
    parts: Parts,
    callers: KnownCallers,
    acceptor: Acceptor,
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
        callers: KnownCallers::new(parts.snapshots.clone()),
        acceptor: acceptor(),
        parts,
    });
    let mut keepers: BTreeMap<ManagedId, DropGuard> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut registries = nodes::Registries::default();
    let mut are_limits_raised = false;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        networks.borrow_and_update();
        keepers.retain(|id, _| snapshot.control_planes.contains_key(id));
        shared.parts.say.send_if_modified(|known| {
            let gone = known.keys().any(|id| !keepers.contains_key(id));
            if gone {
                Arc::make_mut(known).retain(|id, _| keepers.contains_key(id));
            }
            gone
        });
        if !are_limits_raised && !snapshot.control_planes.is_empty() {
            nodes::raise_limits();
            are_limits_raised = true;
        }
        for id in snapshot.control_planes.keys() {
            keepers.entry(id.clone()).or_insert_with(|| {
                let stop = stop.child_token();
                tasks.spawn(keeper::run(Arc::clone(&shared), id.clone(), stop.clone()));
                stop.drop_guard()
            });
        }
        registries.ensure(&shared, &snapshot).await;
        nodes::write_prefixes(&shared.parts.instances, &snapshot).await;
        tokio::select! {
            () = stop.cancelled() => break,
            gone = snapshots.changed() => if gone.is_err() { break },
            // A node's directory appears with its first boot.
            () = tokio::time::sleep(Duration::from_secs(1)), if nodes::any(&snapshot) => {}
            Some(_) = tasks.join_next() => {}
        }
    }
    drop(keepers);
    tasks.join_all().await;
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
