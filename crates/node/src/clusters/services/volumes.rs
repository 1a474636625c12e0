//! Makes volumes for claims under the name of EBS's driver, and removes them. A volume is a directory of one node, on the
//! host's file system: it outlives pods, the node's boots and Lath, and goes with its instance.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use lath_feed::Snapshot;
use lath_instance::Instances;
use lath_kubernetes::node::{INSTANCE_LABEL, VOLUMES};
use lath_kubernetes::services::{OLD_PROVISIONER, PROVISIONER};
use lath_kubernetes::{Client, ClientError};
use lath_model::id::InstanceId;
use lath_model::{ManagedId, WorkloadId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::events::{About, Events, Said};
use super::removals::{Removal, Removals};
use super::{Care, Part, all};

pub(super) const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
const COMPONENT: &str = "ebs.csi.aws.com";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Class {
    metadata: Metadata,
    provisioner: String,
    reclaim_policy: Option<String>,
    volume_binding_mode: Option<String>,
    mount_options: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<IgnoredAny>,
    annotations: Annotations,
    finalizers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    /// The node that the scheduler has chosen for the first pod of a claim.
    #[serde(rename = "volume.kubernetes.io/selected-node")]
    selected_node: Option<String>,
    /// Who shall make the volume of a claim: the controller of claims says so when it is time.
    #[serde(rename = "volume.kubernetes.io/storage-provisioner")]
    wanted_of: Option<String>,
    /// Who made a volume.
    #[serde(rename = "pv.kubernetes.io/provisioned-by")]
    made_by: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claim {
    metadata: Metadata,
    spec: ClaimSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimSpec {
    storage_class_name: Option<String>,
    volume_name: String,
    access_modes: Vec<String>,
    volume_mode: Option<String>,
    data_source: Option<IgnoredAny>,
    data_source_ref: Option<IgnoredAny>,
    selector: Option<IgnoredAny>,
    resources: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: Requests,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Requests {
    storage: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Volume {
    metadata: Metadata,
    spec: VolumeSpec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeSpec {
    persistent_volume_reclaim_policy: String,
    local: Option<Local>,
    node_affinity: Affinity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Local {
    path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Affinity {
    required: Terms,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terms {
    node_selector_terms: Vec<Term>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Term {
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
enum Work {
    /// Make a volume for a claim on an instance.
    Make {
        claim: About,
        instance: InstanceId,
        volume: Value,
    },
    /// A claim cannot have a volume.
    Refuse { claim: About, why: String },
    /// A claim's node is none that a volume can be on: the scheduler chooses again.
    ChooseAgain { claim: About, why: String },
    /// Remove a volume and its directory on an instance that is still there.
    Remove(Removal),
    /// A volume that a user deletes, and whose data stay.
    LetGo {
        name: String,
        version: String,
        finalizers: Vec<String>,
    },
}

/// Looks at all claims and volumes.
///
/// # Errors
/// When there is no good answer.
pub(super) async fn look(
    care: &Arc<Care>,
    snapshot: &Snapshot,
    events: &mut Events,
    removals: &mut Removals,
) -> Result<(), ClientError> {
    // Before the lists: what ends after it is judged by the next ones, which know what came of it.
    removals.collect();
    let client = &care.client;
    let core = "/api/v1";
    let claims = format!("{core}/persistentvolumeclaims");
    let claims: Vec<Claim> = all(client, &claims, "", Part::Whole).await?;
    let volumes = format!("{core}/persistentvolumes");
    let volumes: Vec<Volume> = all(client, &volumes, "", Part::Whole).await?;
    let waits = |it: &&Claim| it.spec.volume_name.is_empty();
    let work = if claims.iter().any(|it| waits(&it)) {
        let classes = "/apis/storage.k8s.io/v1/storageclasses";
        let classes: Vec<Class> = all(client, classes, "", Part::Whole).await?;
        claims_work(&claims, &classes, snapshot, &care.id)
    } else {
        Vec::new()
    };
    let current = care.is_current();
    let work = work
        .into_iter()
        .chain(volumes_work(&volumes, snapshot, &care.id, current));
    let mut first = Ok(());
    let there = volumes.iter().map(|it| it.metadata.name.as_str());
    removals.settle(care, snapshot, &there.collect()).await;
    for it in work {
        let done = perform(care, events, removals, it).await;
        if first.is_ok() {
            first = done;
        }
    }
    first
}

/// What claims want.
fn claims_work(
    claims: &[Claim],
    classes: &[Class],
    snapshot: &Snapshot,
    cluster: &ManagedId,
) -> Vec<Work> {
    let classes: BTreeMap<&str, &Class> = classes
        .iter()
        .map(|it| (it.metadata.name.as_str(), it))
        .collect();
    let nodes = nodes_of(snapshot, cluster);
    let mut work = Vec::new();
    for claim in claims {
        let metadata = &claim.metadata;
        let is_ours = |it: &str| [PROVISIONER, OLD_PROVISIONER].contains(&it);
        let wanted_of = metadata.annotations.wanted_of.as_deref();
        let is_open = claim.spec.volume_name.is_empty() && metadata.deletion_timestamp.is_none();
        let name = claim.spec.storage_class_name.as_deref();
        let class = name.and_then(|it| classes.get(it));
        let (true, Some(class)) = (is_open && wanted_of.is_some_and(is_ours), class) else {
            continue;
        };
        let about = About {
            api_version: "v1",
            kind: "PersistentVolumeClaim",
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
        };
        if let Some(why) = refusal(&claim.spec) {
            work.push(Work::Refuse { claim: about, why });
            continue;
        }
        let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        let instance = match &metadata.annotations.selected_node {
            Some(node) => match nodes.get(node.as_str()) {
                Some(instance) => *instance,
                None => {
                    let why = format!(
                        "the node {node} is no instance of a node group, and has no volumes"
                    );
                    work.push(Work::ChooseAgain { claim: about, why });
                    continue;
                }
            },
            None if waits => continue,
            None => match any_of(&nodes, &metadata.uid) {
                Some(instance) => instance,
                None => {
                    let why = "there is no node for the volume".to_owned();
                    work.push(Work::Refuse { claim: about, why });
                    continue;
                }
            },
        };
        work.push(Work::Make {
            volume: volume(claim, class, instance),
            claim: about,
            instance: instance.clone(),
        });
    }
    work
}

/// Instances that are nodes of the cluster and take pods, by the nodes' names.
fn nodes_of<'a>(snapshot: &'a Snapshot, cluster: &ManagedId) -> BTreeMap<&'a str, &'a InstanceId> {
    let instances = snapshot.instances.values();
    let nodes = instances.filter(|it| {
        let membership = it.cluster.as_ref();
        membership.is_some_and(|it| it.cluster == *cluster && !it.draining)
    });
    nodes.map(|it| (it.hostname.as_str(), &it.id)).collect()
}

/// The same node for the same claim, and all of them for many.
fn any_of<'a>(nodes: &BTreeMap<&str, &'a InstanceId>, uid: &str) -> Option<&'a InstanceId> {
    let sum = uid.bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    let index = sum.checked_rem(nodes.len())?;
    nodes.values().nth(index).copied()
}

/// Why a claim cannot have a volume.
fn refusal(spec: &ClaimSpec) -> Option<String> {
    let modes = spec.access_modes.iter();
    let good = ["ReadWriteOnce", "ReadWriteOncePod"];
    if let Some(mode) = modes.into_iter().find(|it| !good.contains(&it.as_str())) {
        return Some(format!(
            "Volume capabilities not supported: {mode}; a volume is of one node"
        ));
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Some(
            "Volume capabilities not supported: a volume is a directory, and no block device"
                .into(),
        );
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Some(
            "volumes are made empty: there are no snapshots, and no copies of volumes".into(),
        );
    }
    if spec.selector.is_some() {
        return Some("claim Selector is not supported".into());
    }
    None
}

/// The volume of a claim.
fn volume(claim: &Claim, class: &Class, instance: &InstanceId) -> Value {
    let metadata = &claim.metadata;
    let name = format!("pvc-{}", metadata.uid);
    let storage = claim.spec.resources.requests.storage.as_deref();
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "capacity": {"storage": storage.unwrap_or("1Gi")},
            "accessModes": claim.spec.access_modes,
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class.metadata.name,
            "mountOptions": class.mount_options,
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
            "local": {"path": format!("{VOLUMES}/{name}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{
                "key": INSTANCE_LABEL, "operator": "In", "values": [instance.to_string()],
            }]}]}},
        },
    })
}

/// What becomes of volumes that have no claim any more. `current`: what the snapshot lacks is gone.
fn volumes_work(
    volumes: &[Volume],
    snapshot: &Snapshot,
    cluster: &ManagedId,
    current: bool,
) -> Vec<Work> {
    let mut work = Vec::new();
    for it in volumes {
        let metadata = &it.metadata;
        let is_ours = metadata.annotations.made_by.as_deref() == Some(PROVISIONER)
            && metadata.finalizers.iter().any(|it| it == FINALIZER);
        if !is_ours {
            continue;
        }
        let (name, version) = (metadata.name.clone(), metadata.resource_version.clone());
        let others = metadata.finalizers.iter().filter(|it| *it != FINALIZER);
        let finalizers: Vec<String> = others.cloned().collect();
        let deletes = it.spec.persistent_volume_reclaim_policy == "Delete";
        let is_bound = it.status.phase == "Bound";
        if !deletes {
            if metadata.deletion_timestamp.is_some() && !is_bound {
                work.push(Work::LetGo {
                    name,
                    version,
                    finalizers,
                });
            }
            continue;
        }
        if it.status.phase != "Released" && (metadata.deletion_timestamp.is_none() || is_bound) {
            continue;
        }
        let Some(instance) = instance_of(it) else {
            // Somebody has made it something else: its data are not known.
            work.push(Work::LetGo {
                name,
                version,
                finalizers,
            });
            continue;
        };
        let known = snapshot.instances.get(&instance);
        if known.is_none() && !current {
            continue;
        }
        // Where a user wrote another cluster's instance, nothing is removed there.
        let is_own = |it: &lath_feed::Instance| {
            let membership = it.cluster.as_ref();
            membership.is_some_and(|it| it.cluster == *cluster)
        };
        let is_there = known.is_some_and(|it| is_own(it));
        work.push(Work::Remove(Removal {
            name,
            version,
            instance: is_there.then_some(instance),
            deleted: metadata.deletion_timestamp.is_some(),
        }));
    }
    work
}

/// The instance that a volume is on, where it is as it was made.
fn instance_of(volume: &Volume) -> Option<InstanceId> {
    let path = &volume.spec.local.as_ref()?.path;
    if *path != format!("{VOLUMES}/{}", volume.metadata.name) {
        return None;
    }
    let terms = &volume.spec.node_affinity.required.node_selector_terms;
    let [Term { match_expressions }] = &terms[..] else {
        return None;
    };
    let [expression] = &match_expressions[..] else {
        return None;
    };
    let [value] = &expression.values[..] else {
        return None;
    };
    (expression.key == INSTANCE_LABEL).then(|| value.parse().ok())?
}

async fn perform(
    care: &Arc<Care>,
    events: &mut Events,
    removals: &mut Removals,
    work: Work,
) -> Result<(), ClientError> {
    let (client, instances) = (&care.client, &care.shared.parts.instances);
    match work {
        Work::Make {
            claim,
            instance,
            volume,
        } => make(client, instances, events, (&claim, instance, &volume)).await,
        Work::Refuse { claim, why } => failed(client, events, &claim, why).await,
        Work::ChooseAgain { claim, why } => {
            failed(client, events, &claim, why).await?;
            let path = format!(
                "/api/v1/namespaces/{}/persistentvolumeclaims/{}",
                claim.namespace, claim.name
            );
            let change = json!({"metadata": {"annotations": {SELECTED_NODE: null}}});
            momentary(client.patch(&path, &change).await).map(drop)
        }
        Work::Remove(removal) => {
            removals.begin(care, removal);
            Ok(())
        }
        Work::LetGo {
            name,
            version,
            finalizers,
        } => let_go(client, &name, &version, &finalizers).await.map(drop),
    }
}

async fn make(
    client: &Client,
    instances: &Instances,
    events: &mut Events,
    (claim, instance, volume): (&About, InstanceId, &Value),
) -> Result<(), ClientError> {
    let name = volume["metadata"]["name"].as_str().unwrap_or_default();
    let made = on_node(instances, instance, name, Instances::make_directory);
    if let Err(error) = made.await {
        let why = format!("the volume's directory cannot be made on its node: {error}");
        return failed(client, events, claim, why).await;
    }
    match client.post("/api/v1/persistentvolumes", volume).await {
        Err(error) if error.status() == Some(StatusCode::CONFLICT) => Ok(()),
        Err(error) if error.status().is_some_and(|it| it.is_client_error()) => {
            failed(client, events, claim, error.to_string()).await
        }
        Err(error) => Err(error),
        Ok(_) => {
            let said = Said {
                component: COMPONENT,
                warning: false,
                reason: "ProvisioningSucceeded",
                message: format!("Successfully provisioned volume {name}"),
            };
            events.record(client, claim, &said).await
        }
    }
}

async fn failed(
    client: &Client,
    events: &mut Events,
    claim: &About,
    why: String,
) -> Result<(), ClientError> {
    let said = Said {
        component: COMPONENT,
        warning: true,
        reason: "ProvisioningFailed",
        message: format!("failed to provision volume: {why}"),
    };
    events.record(client, claim, &said).await
}

/// Takes Lath's finalizer from a volume; `false` where it has changed or gone meanwhile.
pub(super) async fn let_go(
    client: &Client,
    name: &str,
    version: &str,
    finalizers: &[String],
) -> Result<bool, ClientError> {
    let path = format!("/api/v1/persistentvolumes/{name}");
    let change = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    momentary(client.patch(&path, &change).await)
}

/// What has changed or gone meanwhile is looked at again: `false`.
fn momentary(outcome: Result<(), ClientError>) -> Result<bool, ClientError> {
    let known = [StatusCode::CONFLICT, StatusCode::NOT_FOUND];
    match outcome {
        Err(error) if error.status().is_some_and(|it| known.contains(&it)) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Does something with a volume's directory on the host.
pub(super) async fn on_node(
    instances: &Instances,
    instance: InstanceId,
    name: &str,
    act: fn(&Instances, &WorkloadId, &Path, &str) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (instances, name) = (instances.clone(), name.to_owned());
    let done = tokio::task::spawn_blocking(move || {
        let workload = WorkloadId::from(instance);
        act(&instances, &workload, Path::new(VOLUMES), &name)
    });
    done.await.map_err(std::io::Error::other)?
}
