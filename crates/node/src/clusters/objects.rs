//! Objects in a cluster's API: who is mapped there, and what is to be done with nodes and their pods.

use std::collections::BTreeMap;

use http::StatusCode;
use lath_feed::{ClusterNode, ClusterNodeObserved, Snapshot};
use lath_kubernetes::auth_map::AuthMap;
use lath_kubernetes::{Client, ClientError, node};
use lath_model::ManagedId;
use lath_model::id::InstanceId;
use serde_json::{Map, Value, json};

use super::pods::{self, Followed, Owner, Pod};
use crate::faults::Draining;

/// On a node: the labels and taints that Lath gave it, so that it can take them back.
const GIVEN: &str = "lath.dev/given";
/// On a node: Lath keeps new pods from it.
const CORDONED: &str = "lath.dev/cordoned";
const AUTH_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/aws-auth";

/// The ConfigMap `aws-auth`; the text says why it maps no principal.
pub(super) async fn auth_map(
    client: &Client,
) -> Result<Result<Option<AuthMap>, String>, ClientError> {
    let found = client.find(AUTH_MAP).await?;
    let parsed = found.map(|found| AuthMap::parse(&found["data"]));
    Ok(parsed.transpose().map_err(|error| error.to_string()))
}

/// What the API server says of nodes, and what follows from it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Look {
    pub(super) nodes: BTreeMap<InstanceId, ClusterNodeObserved>,
    pub(super) work: Vec<Work>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Its instance is gone.
    Delete(String),
    /// A merge patch of a node.
    Patch(String, Value),
    /// A pod must go elsewhere.
    Evict { namespace: String, name: String },
    /// A pod goes although a disruption budget may forbid its eviction; it ends gracefully.
    End { namespace: String, name: String },
}

/// Looks at the nodes of a cluster. `strangers` go only where the snapshot is known to be the newest; pods leave the nodes
/// that are `draining` for a drill beside those that control empties.
pub(super) async fn look(
    client: &Client,
    followed: &Followed,
    snapshot: &Snapshot,
    cluster: &ManagedId,
    draining: &Draining,
    strangers: bool,
) -> Result<Look, ClientError> {
    let nodes = client.get("/api/v1/nodes?resourceVersion=0").await?;
    let is_left = |it: &InstanceId| {
        let membership = snapshot
            .instances
            .get(it)
            .and_then(|it| it.cluster.as_ref());
        draining.contains(it) || membership.is_some_and(|it| it.draining)
    };
    // A pod that came just before its node was cordoned must not be missed: the node would be taken for empty.
    let exact = items(&nodes).filter_map(instance).any(|it| is_left(&it));
    let judged =
        |pods: &mut dyn Iterator<Item = &Pod>| judge(&nodes, pods, snapshot, cluster, draining);
    let followed = if exact { None } else { followed.with(judged) };
    let mut look = match followed {
        Some(look) => look,
        None => judged(&mut pods::now(client).await?.iter()),
    };
    if !strangers {
        look.work.retain(|it| !matches!(it, Work::Delete(_)));
    }
    Ok(look)
}

/// Does it. What fails is tried again by the next look.
pub(super) async fn perform(client: &Client, work: &Work) -> Result<(), ClientError> {
    let outcome = match work {
        Work::Delete(name) => client.delete(&format!("/api/v1/nodes/{name}")).await,
        Work::Patch(name, change) => client.patch(&format!("/api/v1/nodes/{name}"), change).await,
        Work::Evict { namespace, name } => {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": name, "namespace": namespace},
            });
            client.post(&path, &eviction).await.map(drop)
        }
        Work::End { namespace, name } => {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
            client.delete(&path).await
        }
    };
    match outcome {
        // A disruption budget forbids it for now, or it has changed or gone meanwhile.
        Err(error) if error.status().is_some_and(is_of_the_moment) => Ok(()),
        outcome => outcome,
    }
}

fn is_of_the_moment(status: StatusCode) -> bool {
    let known = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::CONFLICT,
        StatusCode::NOT_FOUND,
    ];
    known.contains(&status)
}

/// The instance that a node is.
fn instance(node: &Value) -> Option<InstanceId> {
    let provider = text(node, "/spec/providerID");
    provider.rsplit('/').next()?.parse().ok()
}

fn judge<'a>(
    nodes: &Value,
    pods: impl IntoIterator<Item = &'a Pod>,
    snapshot: &Snapshot,
    cluster: &ManagedId,
    draining: &Draining,
) -> Look {
    let mut by_node: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in pods {
        by_node.entry(&pod.spec.node_name).or_default().push(pod);
    }
    let mut look = Look::default();
    for node in items(nodes) {
        let name = text(node, "/metadata/name");
        let Some(instance) = instance(node) else {
            continue;
        };
        let known = snapshot.instances.get(&instance);
        let membership = known.and_then(|it| it.cluster.as_ref());
        let Some(membership) = membership.filter(|it| it.cluster == *cluster) else {
            look.work.push(Work::Delete(name.to_owned()));
            continue;
        };
        let pods = by_node.get(name).map_or(&[][..], Vec::as_slice);
        let is_left = membership.draining || draining.contains(&instance);
        look.nodes
            .insert(instance, observed(node, pods, membership));
        // Each by itself: labels that the API server refuses keep no node from being cordoned.
        let changes = [cordon(node, is_left), change(node, membership)];
        let changes = changes.into_iter().flatten();
        look.work
            .extend(changes.map(|it| Work::Patch(name.to_owned(), it)));
        if is_left && node["spec"]["unschedulable"] == true {
            let leaving = pods.iter().filter(|pod| must_leave(pod));
            let leaving = leaving.filter(|pod| pod.metadata.deletion_timestamp.is_none());
            look.work.extend(leaving.map(|pod| {
                let namespace = pod.metadata.namespace.clone();
                let name = pod.metadata.name.clone();
                if membership.forced {
                    Work::End { namespace, name }
                } else {
                    Work::Evict { namespace, name }
                }
            }));
        }
    }
    look
}

fn observed(node: &Value, pods: &[&Pod], membership: &ClusterNode) -> ClusterNodeObserved {
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|it| it["type"] == "Ready");
    let is_ready = ready.is_some_and(|it| it["status"] == "True");
    let reason = ready.map_or("its kubelet has said nothing yet", |it| {
        text(it, "/message")
    });
    let addressed = pods.iter().filter(|pod| !is_finished(pod));
    let addressed = addressed.filter(|pod| !pod.spec.host_network);
    ClusterNodeObserved {
        ready: is_ready,
        reason: (!is_ready).then(|| reason.to_owned()),
        pods: u32::try_from(addressed.count()).unwrap_or(u32::MAX),
        drained: membership.draining
            && node["spec"]["unschedulable"] == true
            && !pods.iter().any(|pod| must_leave(pod)),
        idle: is_ready && !membership.draining && !pods.iter().any(|pod| must_leave(pod)),
        configured: change(node, membership).is_none(),
    }
}

fn is_finished(pod: &Pod) -> bool {
    ["Succeeded", "Failed"].contains(&pod.status.phase.as_str())
}

/// Pods of daemons would come back, and static pods are their kubelet's.
fn must_leave(pod: &Pod) -> bool {
    let is_static = pod.metadata.annotations.mirror.is_some();
    !is_finished(pod) && !is_static && !pod.metadata.owner_references.iter().any(Owner::is_daemon)
}

/// How a node has to change to take new pods, or none where it is left.
pub(super) fn cordon(node: &Value, is_left: bool) -> Option<Value> {
    let is_cordoned = node["spec"]["unschedulable"] == true;
    let by_lath = node["metadata"]["annotations"][CORDONED].is_string();
    let (unschedulable, note) = match is_left {
        true if !is_cordoned => (true, json!("true")),
        false if by_lath => (false, Value::Null),
        _ => return None,
    };
    Some(json!({
        "metadata": {
            "resourceVersion": node["metadata"]["resourceVersion"],
            "annotations": {CORDONED: note},
        },
        "spec": {"unschedulable": unschedulable},
    }))
}

/// How a node has to change to have the labels and taints of its node group; nothing when it has them.
fn change(node: &Value, membership: &ClusterNode) -> Option<Value> {
    let annotations = &node["metadata"]["annotations"];
    let given: Value = annotations[GIVEN]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let wanted_taints: Vec<Value> = membership
        .taints
        .iter()
        .filter_map(|it| node::taint(it))
        .collect();
    let now_given = json!({
        "labels": membership.labels.keys().collect::<Vec<_>>(),
        "taints": wanted_taints,
    });

    let mut labels = Map::new();
    let there = &node["metadata"]["labels"];
    for (key, value) in &membership.labels {
        if there[key] != value.as_str() {
            labels.insert(key.clone(), json!(value));
        }
    }
    let old = given["labels"].as_array().into_iter().flatten();
    for key in old.filter_map(Value::as_str) {
        if !membership.labels.contains_key(key) && !there[key].is_null() {
            labels.insert(key.to_owned(), Value::Null);
        }
    }

    let current = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let taints = taints(&current, &given["taints"], &wanted_taints);

    let mut notes = Map::new();
    let mut spec = Map::new();
    if given != now_given {
        notes.insert(GIVEN.to_owned(), json!(now_given.to_string()));
    }
    if taints != current {
        spec.insert("taints".to_owned(), json!(taints));
    }
    if labels.is_empty() && notes.is_empty() && spec.is_empty() {
        return None;
    }
    // With the version a change that came between is not lost: the patch is refused then.
    let version = &node["metadata"]["resourceVersion"];
    Some(json!({
        "metadata": {"resourceVersion": version, "labels": labels, "annotations": notes},
        "spec": spec,
    }))
}

/// The taints of a node, with what the node group wants instead of what it wanted before.
fn taints(current: &[Value], before: &Value, wanted: &[Value]) -> Vec<Value> {
    let same = |a: &Value, b: &Value| a["key"] == b["key"] && a["effect"] == b["effect"];
    let before = before.as_array().map_or(&[][..], Vec::as_slice);
    let is_ours = |it: &&Value| before.iter().chain(wanted).any(|other| same(it, other));
    let is_there = |it: &Value| {
        let value = |it: &Value| it["value"].as_str().unwrap_or_default().to_owned();
        current
            .iter()
            .any(|other| same(it, other) && value(it) == value(other))
    };
    let is_wanted = |it: &Value| wanted.iter().any(|other| same(it, other));
    if wanted.iter().all(is_there) && before.iter().all(|it| is_wanted(it) || !is_there(it)) {
        return current.to_vec();
    }
    let kept = current.iter().filter(|it| !is_ours(it)).cloned();
    kept.chain(wanted.iter().cloned()).collect()
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    use std::sync::Arc;

    use lath_feed::{Capacity, Instance, InstanceKind, InstanceMetadata, Power, RootSource};
    use lath_model::{ManagedKind, Timestamp};

    const INSTANCE: &str = "i-0123456789abcdef0";

    fn cluster() -> ManagedId {
        ManagedId::new(ManagedKind::ControlPlane, "blue").unwrap()
    }

    fn membership(draining: bool) -> ClusterNode {
        ClusterNode {
            cluster: cluster(),
            node_group: "group".into(),
            labels: [("team".to_owned(), "shop".to_owned())].into(),
            taints: vec!["dedicated=shop:NoSchedule".into()],
            max_pods: 10,
            draining,
            forced: false,
        }
    }

    fn snapshot(draining: bool) -> Snapshot {
        let instance = Instance {
            id: INSTANCE.parse().unwrap(),
            vpc: "vpc-0123456789abcdef0".parse().unwrap(),
            power: Power::On,
            boot: 1,
            root: RootSource::Host,
            capacity: Capacity::default(),
            hostname: "ip-10-0-1-10.ec2.internal".into(),
            resource_name: None,
            user_data: Vec::new(),
            metadata: InstanceMetadata {
                image: "ami-0123456789abcdef0".parse().unwrap(),
                instance_type: "t3.medium".into(),
                reservation: "r-0123456789abcdef0".parse().unwrap(),
                launch_index: 0,
                launched_at: Timestamp::default(),
                key: None,
                availability_zone: "us-east-1a".into(),
                tags: None,
                tokens_required: false,
                hop_limit: 1,
                enabled: true,
                profile: None,
            },
            kind: InstanceKind::Node,
            cluster: Some(membership(draining)),
        };
        let mut snapshot = Snapshot::default();
        snapshot
            .instances
            .insert(instance.id.clone(), Arc::new(instance));
        snapshot
    }

    /// A node of this name, and its cluster.
    pub(in crate::clusters) fn snapshot_of(hostname: &str) -> (Snapshot, ManagedId) {
        let mut snapshot = snapshot(false);
        let node = snapshot.instances.values().next().cloned();
        let mut node = Instance::clone(&node.unwrap());
        node.hostname = hostname.to_owned();
        snapshot.instances.insert(node.id.clone(), Arc::new(node));
        (snapshot, cluster())
    }

    fn node(name: &str, instance: &str, ready: &str) -> Value {
        json!({
            "metadata": {"name": name, "resourceVersion": "7", "labels": {"team": "shop"}},
            "spec": {
                "providerID": format!("aws:///us-east-1a/{instance}"),
                "taints": [{"key": "dedicated", "value": "shop", "effect": "NoSchedule"}],
            },
            "status": {"conditions": [{"type": "Ready", "status": ready, "message": "cni is missing"}]},
        })
    }

    fn pod(name: &str, more: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "a"}, "status": {"phase": "Running"},
        });
        for (pointer, value) in more.as_object().unwrap() {
            let (at, key) = pointer.rsplit_once('/').unwrap();
            pod.pointer_mut(at).unwrap()[key] = value.clone();
        }
        pod
    }

    fn list(items: Vec<Value>) -> Value {
        json!({"items": items})
    }

    fn pods(items: &[Value]) -> Vec<Pod> {
        serde_json::from_value(items.into()).unwrap()
    }

    #[test]
    fn a_node_without_an_instance_is_deleted_and_the_others_are_told_of() {
        let nodes = list(vec![
            node("a", INSTANCE, "False"),
            node("b", "i-0123456789abcdef1", "True"),
            json!({"metadata": {"name": "byhand"}, "spec": {}}),
        ]);
        let pods = pods(&[
            pod("one", json!({})),
            pod("host", json!({"/spec/hostNetwork": true})),
            pod("done", json!({"/status/phase": "Succeeded"})),
        ]);
        let look = judge(
            &nodes,
            &pods,
            &snapshot(false),
            &cluster(),
            &Draining::new(),
        );
        let seen = &look.nodes[&INSTANCE.parse::<InstanceId>().unwrap()];
        let want = ClusterNodeObserved {
            ready: false,
            reason: Some("cni is missing".into()),
            pods: 1,
            drained: false,
            idle: false,
            configured: false,
        };
        assert_eq!(*seen, want);
        assert!(look.work.contains(&Work::Delete("b".into())));
        assert!(!look.work.contains(&Work::Delete("byhand".into())));
    }

    #[test]
    fn a_node_that_leaves_is_cordoned_then_emptied() {
        let all = [
            pod("one", json!({})),
            pod(
                "going",
                json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}),
            ),
            pod(
                "daemon",
                json!({"/metadata/ownerReferences": [{"kind": "DaemonSet", "controller": true}]}),
            ),
            pod(
                "static",
                json!({"/metadata/annotations": {"kubernetes.io/config.mirror": "x"}}),
            ),
        ];
        let (rest, pods) = (pods(&all[2..]), pods(&all));
        let mut it = node("a", INSTANCE, "True");
        let look = judge(
            &list(vec![it.clone()]),
            &pods,
            &snapshot(true),
            &cluster(),
            &Draining::new(),
        );
        let [Work::Patch(_, cordon), Work::Patch(_, change)] = &look.work[..] else {
            panic!("{look:?}");
        };
        let only = json!({
            "metadata": {"resourceVersion": "7", "annotations": {CORDONED: "true"}},
            "spec": {"unschedulable": true},
        });
        assert_eq!(*cordon, only);
        assert_eq!(change["spec"], json!({}));

        it["spec"]["unschedulable"] = json!(true);
        it["metadata"]["annotations"] = change["metadata"]["annotations"].clone();
        it["metadata"]["annotations"][CORDONED] = json!("true");
        let nodes = list(vec![it.clone()]);
        let look = judge(&nodes, &pods, &snapshot(true), &cluster(), &Draining::new());
        let evict = Work::Evict {
            namespace: "default".into(),
            name: "one".into(),
        };
        assert_eq!(look.work, [evict]);
        let drained = |look: &Look| look.nodes.values().all(|it| it.drained);
        assert!(!drained(&look));
        let mut forced = snapshot(true);
        let id: InstanceId = INSTANCE.parse().unwrap();
        let mut instance = Instance::clone(&forced.instances[&id]);
        instance.cluster.as_mut().unwrap().forced = true;
        forced.instances.insert(id, Arc::new(instance));
        let look = judge(&nodes, &pods, &forced, &cluster(), &Draining::new());
        assert!(matches!(&look.work[..], [Work::End { .. }]), "{look:?}");
        let look = judge(&nodes, &rest, &snapshot(true), &cluster(), &Draining::new());
        assert!(drained(&look) && look.work.is_empty());
        // A drill empties it for a while, which control does not see.
        let drilled = Draining::from([INSTANCE.parse().unwrap()]);
        let look = judge(&nodes, &pods, &snapshot(false), &cluster(), &drilled);
        assert!(matches!(&look.work[..], [Work::Evict { .. }]), "{look:?}");
        assert!(!drained(&look));
        // It stays after all.
        let look = judge(
            &nodes,
            &rest,
            &snapshot(false),
            &cluster(),
            &Draining::new(),
        );
        let [Work::Patch(_, change)] = &look.work[..] else {
            panic!("{look:?}");
        };
        assert_eq!(change["spec"]["unschedulable"], false);
    }

    #[test]
    fn what_a_node_group_no_longer_wants_is_taken_back() {
        let mut it = node("a", INSTANCE, "True");
        it["metadata"]["labels"]["old"] = json!("x");
        it["metadata"]["labels"]["byhand"] = json!("x");
        it["spec"]["taints"] = json!([
            {"key": "old", "value": "x", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
        ]);
        let given = json!({"labels": ["old"], "taints": [{"key": "old", "value": "x", "effect": "NoExecute"}]});
        it["metadata"]["annotations"] = json!({GIVEN: given.to_string()});
        let change = change(&it, &membership(false)).unwrap();
        assert_eq!(change["metadata"]["labels"], json!({"old": null}));
        let want = json!([
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "dedicated", "value": "shop", "effect": "NoSchedule"},
        ]);
        assert_eq!(change["spec"]["taints"], want);
    }
}
