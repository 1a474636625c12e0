//! Instances that are nodes of clusters.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lath_feed::{Instance, Power, Snapshot};
use lath_instance::{Instances, Setup};
use lath_kubernetes::REGISTRY_PORT;
use lath_kubernetes::node::{self, Node};
use lath_model::WorkloadId;
use lath_model::id::InstanceId;
use lath_net::{Place, listen};
use lath_registry::{Access, Images};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;

/// What an instance gets to be the node that it is; nothing when it is none.
///
/// # Errors
/// When it cannot be a node here, or not yet; in words a user can act on.
pub(crate) fn setup_of(snapshot: &Snapshot, instance: &Instance) -> Result<Setup, String> {
    let Some(membership) = &instance.cluster else {
        return Ok(Setup::default());
    };
    let plane = snapshot.control_planes.get(&membership.cluster);
    let plane =
        plane.ok_or_else(|| format!("its cluster {:?} is not there", membership.cluster))?;
    let workload = WorkloadId::from(instance.id.clone());
    let mut interfaces = snapshot.interfaces_of(&workload);
    let primary = interfaces.find(|it| it.device_at(&workload) == Some(0));
    let address = primary.and_then(|it| it.private_addresses().next());
    let node = Node {
        instance,
        membership,
        plane,
        address: address.ok_or("it has no address")?,
        region: &snapshot.region,
        lath: lath()?,
    };
    node::setup(&node, super::binaries()?).map_err(|error| error.to_string())
}

/// Lath's own program.
fn lath() -> Result<&'static Path, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| std::env::current_exe().map_err(|error| error.to_string()));
    found.as_deref().map_err(Clone::clone)
}

/// How many files of all nodes' programs the host watches for them. They all count against its root, and two clusters of
/// three nodes reach what many hosts allow.
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for some 250 nodes.
const INOTIFY_INSTANCES: u64 = 8192;

/// Raises the host's limit on watchers of files, which nodes share, once there is a cluster. It stays.
pub(super) fn raise_limits() {
    let value = || {
        std::fs::read_to_string(INOTIFY)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    if value().is_none_or(|it| it >= INOTIFY_INSTANCES) {
        return;
    }
    match std::fs::write(INOTIFY, INOTIFY_INSTANCES.to_string()) {
        Ok(()) => tracing::info!(
            value = INOTIFY_INSTANCES,
            "fs.inotify.max_user_instances was raised for nodes of clusters"
        ),
        Err(error) => tracing::warn!(
            %error,
            "fs.inotify.max_user_instances is small, and nodes of clusters may fail for that"
        ),
    }
}

/// Whether the snapshot has nodes of clusters.
pub(super) fn any(snapshot: &Snapshot) -> bool {
    snapshot.instances.values().any(|it| it.cluster.is_some())
}

/// Tells every node the blocks from which its pods get addresses.
pub(super) async fn write_prefixes(instances: &Instances, snapshot: &Snapshot) {
    let mut wanted = Vec::new();
    let nodes = snapshot.instances.values();
    for instance in nodes.filter(|it| it.cluster.is_some() && it.power == Power::On) {
        let workload = WorkloadId::from(instance.id.clone());
        let text = {
            let mut interfaces = snapshot.interfaces_of(&workload);
            let primary = interfaces.find(|it| it.device_at(&workload) == Some(0));
            primary.map(|it| serde_json::json!(it.prefixes).to_string())
        };
        wanted.extend(text.map(|text| (workload, text)));
    }
    if wanted.is_empty() {
        return;
    }
    let instances = instances.clone();
    let written = tokio::task::spawn_blocking(move || {
        for (workload, text) in wanted {
            let directory = Path::new(node::LATH_DIRECTORY);
            let written =
                instances.write_file(&workload, directory, node::PREFIXES, text.as_bytes());
            match written {
                // Its first boot makes the directory.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(
                    instance.id = %workload, %error,
                    "a node cannot be told the addresses of its pods"
                ),
                Ok(()) => {}
            }
        }
    });
    // A panic has been reported.
    drop(written.await);
}

/// Registries inside nodes: each pulls from 127.0.0.1 of its own network.
#[derive(Default)]
pub(super) struct Registries {
    /// With the namespace that the listener is in.
    serving: BTreeMap<InstanceId, (u64, DropGuard)>,
    told: Option<String>,
}

impl Registries {
    /// Listeners as the snapshot wants them, where the nodes' networks are there.
    pub(super) async fn ensure(&mut self, shared: &Shared, snapshot: &Snapshot) {
        let is_node = |id: &InstanceId| {
            let instance = snapshot.instances.get(id);
            instance.is_some_and(|it| it.cluster.is_some() && it.power == Power::On)
        };
        self.serving.retain(|id, _| is_node(id));
        let nodes = snapshot.instances.keys();
        for id in nodes.filter(|id| is_node(id)) {
            let workload = WorkloadId::from(id.clone());
            // It appears when the node hands it over.
            let Ok(netns) = shared.parts.fabric.workload_netns(&workload) else {
                self.serving.remove(id);
                continue;
            };
            let Ok(netns) = super::keeper::inode(&netns) else {
                continue;
            };
            if self.serving.get(id).is_some_and(|(of, _)| *of == netns) {
                continue;
            }
            self.serving.remove(id);
            match serve(shared, workload).await {
                Ok(guard) => drop(self.serving.insert(id.clone(), (netns, guard))),
                Err(reason) => {
                    if self.told.as_ref() != Some(&reason) {
                        tracing::warn!(instance.id = %id, reason, "a node has no registry");
                        self.told = Some(reason);
                    }
                }
            }
        }
    }
}

async fn serve(shared: &Shared, workload: WorkloadId) -> Result<DropGuard, String> {
    let images = Images::open(&shared.parts.images).map_err(|error| error.to_string())?;
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), REGISTRY_PORT);
    let listener = listen(&shared.parts.network, &Place::Workload(workload), address).await;
    let listener = listener.and_then(|it| {
        it.set_nonblocking(true)?;
        TcpListener::from_std(it)
    });
    let listener = listener.map_err(|error| error.to_string())?;
    let stop = CancellationToken::new();
    tokio::spawn(lath_registry::serve(
        listener,
        images,
        Access::Read,
        stop.clone(),
    ));
    Ok(stop.drop_guard())
}
