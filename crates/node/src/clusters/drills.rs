//! What drills do to clusters beside taking power away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lath_clock::Clock;
use lath_drill::{Pods, Which};
use lath_feed::{ClusterNode, ControlPlane, Snapshot};
use lath_instance::Instances;
use lath_kubernetes::pki::Authority;
use lath_kubernetes::{Client, ClientError};
use lath_model::{ManagedId, WorkloadId};
use lath_net::{Network, Place};
use serde::Deserialize;
use serde_json::Value;

use super::objects::{self, Work};
use super::{plane, supervisor};
use crate::faults::Down;

/// A node may change while it is being cordoned.
const TRIES: usize = 10;

/// The control planes and nodes of a cluster, or of all clusters.
pub(crate) fn workloads(snapshot: &Snapshot, cluster: Option<&ManagedId>) -> Down {
    let is_meant = |id: &ManagedId| cluster.is_none_or(|it| it == id);
    let planes = snapshot.control_planes.values();
    let planes = planes.filter(|it| is_meant(&it.id));
    let nodes = snapshot.instances.values().filter(|it| {
        let of = it.cluster.as_ref().map(|it| &it.cluster);
        of.is_some_and(is_meant)
    });
    let nodes = nodes.map(|it| WorkloadId::from(it.id.clone()));
    planes.map(|it| plane::workload(it)).chain(nodes).collect()
}

/// What makes a workload a node of a cluster.
///
/// # Errors
/// When it is none.
pub(crate) fn membership<'a>(
    snapshot: &'a Snapshot,
    victim: &WorkloadId,
) -> Result<&'a ClusterNode, String> {
    let instance = victim.instance();
    let instance = instance.and_then(|it| snapshot.instances.get(it));
    let membership = instance.and_then(|it| it.cluster.as_ref());
    membership.ok_or_else(|| format!("{victim} is no node of a cluster"))
}

/// Keeps new pods from a node.
///
/// # Errors
/// When its API server does not take that.
pub(crate) async fn cordon(
    (network, clock): (&Arc<dyn Network>, &Clock),
    snapshot: &Snapshot,
    victim: &WorkloadId,
) -> Result<(), String> {
    let cluster = &membership(snapshot, victim)?.cluster;
    let plane = snapshot.control_planes.get(cluster);
    let plane = plane.ok_or_else(|| format!("{cluster:?} does not exist"))?;
    let client = client(network, clock, plane)?;
    let in_words = |error: ClientError| error.to_string();
    for _ in 0..TRIES {
        let nodes = client.get("/api/v1/nodes").await.map_err(in_words)?;
        let node = objects::items(&nodes).find(|it| is_of(it, victim));
        let node = node.ok_or_else(|| format!("{victim} has not joined its cluster"))?;
        let Some(change) = objects::cordon(node, true) else {
            return Ok(());
        };
        let name = objects::text(node, "/metadata/name").to_owned();
        let patched = objects::perform(&client, &Work::Patch(name, change)).await;
        patched.map_err(in_words)?;
    }
    Err(format!("{victim} cannot be cordoned: it changes too fast"))
}

fn is_of(node: &Value, victim: &WorkloadId) -> bool {
    let provider = objects::text(node, "/spec/providerID");
    provider.rsplit('/').next() == Some(victim.as_str())
}

/// What counts of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    container_statuses: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    #[serde(rename = "containerID")]
    container_id: String,
    state: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    items: Vec<Pod>,
}

/// Kills the processes in the containers of pods, whose kubelets start them again.
///
/// # Errors
/// When the API server does not say which they are, or when none runs.
pub(crate) async fn kill_pods(
    (network, instances, clock): (&Arc<dyn Network>, &Instances, &Clock),
    snapshot: &Snapshot,
    plane: &ControlPlane,
    pods: &Pods,
) -> Result<(), String> {
    let client = client(network, clock, plane)?;
    let in_words = |error: ClientError| error.to_string();
    let path = format!("/api/v1/namespaces/{}/pods", pods.namespace);
    let found: Vec<Pod> = match &pods.which {
        Which::Name(name) => vec![
            client
                .get_as(&format!("{path}/{name}"))
                .await
                .map_err(in_words)?,
        ],
        Which::Selector(selector) => {
            let selector = encoded(selector);
            let path = format!("{path}?labelSelector={selector}");
            client.get_as::<List>(&path).await.map_err(in_words)?.items
        }
    };
    let mut killed = 0;
    for (node, containers) in by_node(snapshot, &plane.id, &found) {
        killed += instances
            .kill_groups(&node, containers)
            .await
            .map_err(|error| error.to_string())?;
    }
    match killed {
        0 => Err(format!("no container of {pods} runs")),
        _ => Ok(()),
    }
}

/// The containers that run, by the node that they are on. Their ids are the names of their control groups.
fn by_node(
    snapshot: &Snapshot,
    cluster: &ManagedId,
    pods: &[Pod],
) -> BTreeMap<WorkloadId, BTreeSet<String>> {
    let nodes = snapshot.instances.values();
    let nodes = nodes.filter(|it| it.cluster.as_ref().is_some_and(|it| it.cluster == *cluster));
    let nodes: BTreeMap<&str, WorkloadId> = nodes
        .map(|it| (it.hostname.as_str(), it.id.clone().into()))
        .collect();
    let mut all: BTreeMap<WorkloadId, BTreeSet<String>> = BTreeMap::new();
    for pod in pods {
        let Some(node) = nodes.get(pod.spec.node_name.as_str()) else {
            continue;
        };
        let running = pod.status.container_statuses.iter();
        let running = running.filter(|it| it.state.contains_key("running"));
        let ids = running.filter_map(|it| it.container_id.split_once("://"));
        let ids = ids.map(|(_, id)| id.to_owned());
        // A kubelet says what it wants: no other group of the node has such a name.
        let is_id = |id: &String| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        all.entry(node.clone())
            .or_default()
            .extend(ids.filter(is_id));
    }
    all
}

fn encoded(text: &str) -> String {
    let one = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

fn client(
    network: &Arc<dyn Network>,
    clock: &Clock,
    plane: &ControlPlane,
) -> Result<Client, String> {
    let authority = Authority::open(&plane.keys, clock).map_err(|error| error.to_string())?;
    let address = supervisor::address(plane).ok_or("its cluster has no address")?;
    let place = Place::Workload(plane::workload(plane));
    let client = Client::new(&authority, Arc::clone(network), place, address);
    client.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_part_of_a_url() {
        assert_eq!(encoded("app=web"), "app%3Dweb");
        assert_eq!(
            encoded("a in (b, c)&limit=1"),
            "a%20in%20%28b%2C%20c%29%26limit%3D1"
        );
    }

    #[test]
    fn what_does_not_run_has_nothing_to_be_killed() {
        let id = "ab".repeat(32);
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "x"}, "spec": {"nodeName": "a"}, "status": {"containerStatuses": [
                {"containerID": format!("containerd://{id}"), "state": {"running": {"startedAt": "x"}}},
                {"containerID": "containerd://..", "state": {"running": {}}},
                {"containerID": format!("containerd://{}", "cd".repeat(32)), "state": {"terminated": {}}},
            ]},
        }))
        .unwrap();
        let (snapshot, cluster) = objects::tests::snapshot_of("a");
        let all = by_node(&snapshot, &cluster, &[pod]);
        let all: Vec<_> = all.into_values().collect();
        assert_eq!(all, [BTreeSet::from([id])]);
    }
}
