//! Instances that are nodes of clusters.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lath_clock::Clock;
use lath_feed::{Instance, InstanceKind, Power, Snapshot};
use lath_instance::{Instances, Setup};
use lath_kubernetes::REGISTRY_PORT;
use lath_kubernetes::node::{self, Node};
use lath_kubernetes::self_managed;
use lath_model::WorkloadId;
use lath_model::id::InstanceId;
use lath_net::{Place, listen};
use lath_registry::{Access, Images, PullThrough};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;

/// What an instance gets to be the node that it is; nothing when it is none.
///
/// # Errors
/// When it cannot be a node here, or not yet; in words a user can act on.
pub(crate) fn setup_of(
    snapshot: &Snapshot,
    instance: &Instance,
    clock: &Clock,
) -> Result<Setup, String> {
    if instance.kind == InstanceKind::Ordinary {
        return Ok(Setup::default());
    }
    if instance.cluster.is_none() {
        return Ok(self_managed::setup(super::binaries(), &lath()?));
    }
    let binaries = super::binaries()?;
    let setup = with_node(snapshot, instance, |it| node::setup(it, binaries, clock))?;
    let setup = setup.unwrap_or_else(|| Ok(Setup::default()));
    setup.map_err(|error| error.to_string())
}

/// Looks at an instance as the node that it is; `None` when it is none.
///
/// # Errors
/// As [`setup_of`].
pub(super) fn with_node<'a, T>(
    snapshot: &'a Snapshot,
    instance: &'a Instance,
    look: impl FnOnce(&Node<'a>) -> T,
) -> Result<Option<T>, String> {
    let Some(membership) = &instance.cluster else {
        return Ok(None);
    };
    let plane = snapshot.control_planes.get(&membership.cluster);
    let plane =
        plane.ok_or_else(|| format!("its cluster {:?} is not there", membership.cluster))?;
    let address = address_of(snapshot, &instance.id);
    let node = Node {
        instance,
        membership,
        plane,
        address: address.ok_or("it has no address")?,
        region: &snapshot.region,
        lath: lath()?,
    };
    Ok(Some(look(&node)))
}

/// The primary private address of an instance.
pub(super) fn address_of(snapshot: &Snapshot, instance: &InstanceId) -> Option<Ipv4Addr> {
    let workload = WorkloadId::from(instance.clone());
    let mut interfaces = snapshot.interfaces_of(&workload);
    let primary = interfaces.find(|it| it.device_at(&workload) == Some(0));
    primary.and_then(|it| it.private_addresses().next())
}

/// Lath's own program. A newer one that has taken its place does as well.
fn lath() -> Result<PathBuf, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = without_mark(path);
    if path.exists() {
        return Ok(path);
    }
    let path = path.display();
    Err(format!("Lath's program {path} was deleted: restart Lath"))
}

/// The kernel marks the path of a file that was replaced.
fn without_mark(path: PathBuf) -> PathBuf {
    let bare = path.to_str().and_then(|it| it.strip_suffix(" (deleted)"));
    match bare {
        Some(bare) if !path.exists() => bare.into(),
        _ => path,
    }
}

/// Limits of the host that are small for nodes and control planes, and what these need.
const LIMITS: [(&str, u64); 2] = [
    // Files that programs watch: of all control planes together, and of each node with its pods. Many hosts allow 128.
    ("fs.inotify.max_user_instances", 8192),
    // Pseudo-terminals. A node mounts file systems of them without a maximum, as each of its containers gets one, and the
    // 4096 of most hosts are few enough for one container to take. A terminal is memory of the group that opens it.
    ("kernel.pty.max", 1 << 16),
];

/// How many hash buckets the kernel has for connections. kube-proxy reads it here before it leaves it as it is, and root of
/// a node is none of the users that may; the number is no secret, as `net.netfilter.nf_conntrack_buckets` has it too.
const HASH_SIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// Lets everybody read [`HASH_SIZE`].
fn show_hash_size() {
    let Ok(metadata) = std::fs::metadata(HASH_SIZE) else {
        return;
    };
    let mode = metadata.permissions().mode() | 0o444;
    let changed = std::fs::set_permissions(HASH_SIZE, Permissions::from_mode(mode));
    if let Err(error) = changed {
        tracing::warn!(path = HASH_SIZE, %error, "kube-proxy may fail in nodes that cannot read a setting of the host");
    }
}

/// Raises them, once there is a cluster. They stay.
pub(super) fn raise_limits() {
    show_hash_size();
    for (name, least) in LIMITS {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let value = std::fs::read_to_string(&path).ok();
        let value = value.and_then(|it| it.trim().parse::<u64>().ok());
        if value.is_none_or(|it| it >= least) {
            continue;
        }
        match std::fs::write(&path, least.to_string()) {
            Ok(()) => tracing::info!(
                name,
                value = least,
                "a limit of the host was raised for nodes of clusters"
            ),
            Err(error) => tracing::warn!(
                name, %error,
                "a limit of the host is small, and nodes of clusters may fail for that"
            ),
        }
    }
}

/// Whether the snapshot has nodes, of Lath's clusters or of others.
pub(super) fn any(snapshot: &Snapshot) -> bool {
    snapshot.instances.values().any(|it| is_node(it))
}

fn is_node(instance: &Instance) -> bool {
    instance.kind == InstanceKind::Node
}

/// Tells every node the blocks from which its pods get addresses.
pub(super) async fn write_prefixes(instances: &Instances, snapshot: &Snapshot) {
    let mut wanted = Vec::new();
    let nodes = snapshot.instances.values();
    for instance in nodes.filter(|it| is_node(it) && it.power == Power::On) {
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
                    "the addresses of a node's pods cannot be written"
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
    logged: Option<String>,
}

impl Registries {
    /// Listeners as the snapshot wants them, where the nodes' networks are there.
    pub(super) async fn ensure(&mut self, shared: &Shared, snapshot: &Snapshot) {
        let runs = |id: &InstanceId| {
            let instance = snapshot.instances.get(id);
            instance.is_some_and(|it| is_node(it) && it.power == Power::On)
        };
        self.serving.retain(|id, _| runs(id));
        let nodes = snapshot.instances.keys();
        for id in nodes.filter(|id| runs(id)) {
            let workload = WorkloadId::from(id.clone());
            // It appears when the node hands it over.
            let Ok(netns) = shared.parts.fabric.workload_netns(&workload) else {
                self.serving.remove(id);
                continue;
            };
            let Ok(netns) = super::supervisor::inode(&netns) else {
                continue;
            };
            if self.serving.get(id).is_some_and(|(of, _)| *of == netns) {
                continue;
            }
            self.serving.remove(id);
            match serve(shared, workload).await {
                Ok(guard) => drop(self.serving.insert(id.clone(), (netns, guard))),
                Err(reason) => {
                    if self.logged.as_ref() != Some(&reason) {
                        tracing::warn!(instance.id = %id, reason, "a node has no registry");
                        self.logged = Some(reason);
                    }
                }
            }
        }
    }
}

async fn serve(shared: &Shared, workload: WorkloadId) -> Result<DropGuard, String> {
    let images = Images::open(&shared.parts.images).map_err(|error| error.to_string())?;
    let images = images.with_clock(shared.parts.clock.clone());
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), REGISTRY_PORT);
    let listener = listen(&shared.parts.network, &Place::Workload(workload), address).await;
    let listener = listener.and_then(|it| {
        it.set_nonblocking(true)?;
        TcpListener::from_std(it)
    });
    let listener = listener.map_err(|error| error.to_string())?;
    let sources = &shared.parts.image_sources;
    let access = if sources.registries.is_empty() {
        Access::Read
    } else {
        let through = || Arc::new(PullThrough::new(images.clone(), sources.clone()));
        Access::PullThrough(Arc::clone(shared.pull_through.get_or_init(through)))
    };
    let stop = CancellationToken::new();
    tokio::spawn(lath_registry::serve(listener, images, access, stop.clone()));
    Ok(stop.drop_guard())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lath");
        let marked = directory.path().join("lath (deleted)");
        assert_eq!(without_mark(path.clone()), path);
        assert_eq!(without_mark(marked.clone()), path);
        std::fs::write(&marked, "").unwrap();
        assert_eq!(without_mark(marked.clone()), marked);
    }
}
