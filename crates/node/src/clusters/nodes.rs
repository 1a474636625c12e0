//! Instances that are nodes of clusters.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lath_feed::{Instance, Power, Snapshot};
use lath_instance::{Instances, Setup};
use lath_kubernetes::node::{self, Node};
use lath_model::WorkloadId;

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
        let mut interfaces = snapshot.interfaces_of(&workload);
        let primary = interfaces.find(|it| it.device_at(&workload) == Some(0));
        if let Some(primary) = primary {
            let text = serde_json::json!(primary.prefixes).to_string();
            wanted.push((workload, text));
        }
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
