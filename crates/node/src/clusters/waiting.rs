//! Pods that the scheduler finds no node for, as far as another node of a node group may help them.

use std::collections::BTreeMap;

use lath_feed::{Toleration, WaitingPods};
use lath_kubernetes::quantity::thousandths;
use lath_kubernetes::{Client, ClientError};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// How many pods are asked for at once, and how many count: those behind them wait a little longer.
const PAGE: usize = 500;
/// A pod with more selectors or tolerations does not count.
const MOST_WISHES: usize = 64;
/// What a pod may ask for here.
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    metadata: ListMetadata,
    items: Vec<Pod>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListMetadata {
    /// Where the next page begins.
    #[serde(rename = "continue")]
    rest: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    overhead: BTreeMap<String, String>,
    node_selector: BTreeMap<String, String>,
    tolerations: Vec<Tolerated>,
    affinity: Affinity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    resources: Resources,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tolerated {
    key: String,
    operator: String,
    value: String,
    effect: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Affinity {
    node_affinity: Required,
    pod_affinity: Required,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Required {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
}

/// Looks at the pods that have no node.
pub(super) async fn look(client: &Client) -> Result<Vec<WaitingPods>, ClientError> {
    let fields = "spec.nodeName%3D,status.phase%3DPending";
    let (mut pods, mut rest, mut most) = (Vec::new(), String::new(), PAGE);
    loop {
        let path = format!("/api/v1/pods?fieldSelector={fields}&limit={most}{rest}");
        let list: List = match client.get_as(&path).await {
            Err(ClientError::TooLarge) if most > 1 => {
                most = (most / 10).max(1);
                continue;
            }
            list => list?,
        };
        pods.extend(list.items);
        if list.metadata.rest.is_empty() || pods.len() >= PAGE {
            return Ok(collected(pods));
        }
        rest = format!("&continue={}", list.metadata.rest);
    }
}

/// Those alike together.
fn collected(pods: Vec<Pod>) -> Vec<WaitingPods> {
    let mut kinds: BTreeMap<WaitingPods, u32> = BTreeMap::new();
    for pod in pods.into_iter().filter_map(waiting) {
        if kinds.len() < WaitingPods::MOST || kinds.contains_key(&pod) {
            *kinds.entry(pod).or_default() += 1;
        }
    }
    let kinds = kinds.into_iter();
    kinds
        .map(|(kind, pods)| WaitingPods { pods, ..kind })
        .collect()
}

/// What a pod waits for, where another node may help it.
fn waiting(pod: Pod) -> Option<WaitingPods> {
    let unschedulable = pod.status.conditions.iter().find(|it| {
        it.kind == "PodScheduled" && it.status == "False" && it.reason == "Unschedulable"
    })?;
    // Its volumes are where they are, or are not there yet.
    let of_volumes = ["volume", "persistentvolumeclaim", "PersistentVolume"];
    let mentions = |it: &&str| unschedulable.message.contains(*it);
    let spec = pod.spec;
    // What a new node would be to other pods, or to wishes with operators, is not foreseen.
    let asks_for_more = spec.affinity.node_affinity.required.is_some()
        || spec.affinity.pod_affinity.required.is_some();
    if of_volumes.iter().any(mentions) || asks_for_more || pod.metadata.deletion_timestamp.is_some()
    {
        return None;
    }
    // What a pod says here goes to control with every report.
    if spec.node_selector.len() > MOST_WISHES || spec.tolerations.len() > MOST_WISHES {
        return None;
    }
    let cpu = request(&spec, "cpu")?;
    let memory = request(&spec, "memory")?;
    let tolerations = spec.tolerations.into_iter().map(|it| Toleration {
        value: (it.operator != "Exists").then_some(it.value),
        key: it.key,
        effect: it.effect,
    });
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and it saturates"
    )]
    let whole = |value: f64| value.ceil() as u64;
    Some(WaitingPods {
        cpu_millis: whole(cpu),
        memory_bytes: whole(memory / 1000.0),
        node_selector: spec.node_selector,
        tolerations: tolerations.collect(),
        pods: 0,
    })
}

/// What a pod asks for, in thousandths; nothing when it asks for what no node here has.
fn request(spec: &Spec, name: &str) -> Option<f64> {
    let of = |it: &BTreeMap<String, String>| -> Option<f64> {
        let is_known = |name: &String| RESOURCES.contains(&name.as_str());
        if !it.keys().all(is_known) {
            return None;
        }
        it.get(name).map_or(Some(0.0), |text| thousandths(text))
    };
    let mut together = of(&spec.overhead)?;
    for container in &spec.containers {
        together += of(&container.resources.requests)?;
    }
    let mut first = 0.0_f64;
    for container in &spec.init_containers {
        let asked = of(&container.resources.requests)?;
        match container.restart_policy.as_deref() {
            Some("Always") => together += asked,
            _ => first = first.max(asked),
        }
    }
    Some(together.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::{Value, json};

    fn pod(message: &str, spec: Value) -> Pod {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        });
        let pod = json!({"metadata": {}, "spec": spec, "status": {"conditions": [condition]}});
        serde_json::from_value(pod).unwrap()
    }

    fn asks(requests: &Value) -> Value {
        json!({"containers": [{"resources": {"requests": requests}}]})
    }

    #[test]
    fn pods_alike_are_told_of_together() {
        let few = asks(&json!({"cpu": "500m", "memory": "1Gi"}));
        let mut more = few.clone();
        more["initContainers"] = json!([{"resources": {"requests": {"cpu": "2"}}}]);
        more["nodeSelector"] = json!({"team": "shop"});
        more["tolerations"] = json!([{"key": "a", "operator": "Exists"}]);
        let why = "0/1 nodes are available: 1 Insufficient cpu.";
        let pods = vec![pod(why, few.clone()), pod(why, more), pod(why, few)];
        let found = collected(pods);
        let [one, other] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(
            (one.cpu_millis, one.memory_bytes, one.pods),
            (500, 1 << 30, 2)
        );
        assert_eq!((other.cpu_millis, other.pods), (2000, 1));
        assert_eq!(other.node_selector["team"], "shop");
        assert_eq!(other.tolerations[0].value, None);
    }

    #[test]
    fn pods_with_too_many_wishes_do_not_count() {
        let with = |count: usize| {
            let mut spec = asks(&json!({"cpu": "1"}));
            let labels = (0..count).map(|it| (format!("label-{it}"), "x".into()));
            spec["nodeSelector"] = Value::Object(labels.collect());
            pod("Insufficient cpu", spec)
        };
        assert_eq!(collected(vec![with(MOST_WISHES)]).len(), 1);
        assert!(collected(vec![with(MOST_WISHES + 1)]).is_empty());
    }

    #[test]
    fn pods_that_no_new_node_helps_are_left_out() {
        let few = || asks(&json!({"cpu": "1"}));
        let mut near = few();
        near["affinity"] =
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}});
        let pods = vec![
            pod("1 node(s) had volume node affinity conflict", few()),
            pod("Insufficient cpu", near),
            pod("Insufficient gpu", asks(&json!({"nvidia.com/gpu": "1"}))),
            serde_json::from_value(json!({"spec": few()})).unwrap(),
        ];
        assert!(collected(pods).is_empty());
    }
}
