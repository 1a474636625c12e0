//! Security groups of pods: which pods policies select, and what becomes of them. Control makes an interface for each of
//! them, the fabric puts its groups around its address, and the node's network plugin gives the pod that address.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lath_clock::Clock;
use lath_feed::{Branch, ControlPlane, Instance, Snapshot, WantedBranch};
use lath_kubernetes::node::{BRANCHES, LATH_DIRECTORY};
use lath_kubernetes::pod_groups::{self, Labels, POD_ENI, POLICIES, Policy, Subject};
use lath_kubernetes::{Client, ClientError};
use lath_model::WorkloadId;
use lath_model::id::{InstanceId, SecurityGroupId, VpcId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::Notify;

use super::events::{About, Events, Said};
use super::{Care, Part, all, trouble};
use crate::clusters::plane;

/// Between two looks where there are policies, or pods with interfaces; and where there are none.
const PERIOD: Duration = Duration::from_millis(500);
const IDLE_PERIOD: Duration = Duration::from_secs(2);
/// After this an event says that control has not made the pod's interface.
const LATE: Duration = Duration::from_secs(10);
/// The most groups of one interface.
const MOST_GROUPS: usize = 5;
const COMPONENT: &str = "vpc-resource-controller";

/// What is decided of a cluster's pods, for control.
#[derive(Default)]
pub(in crate::clusters) struct Decided {
    wanted: Mutex<Option<BTreeMap<String, WantedBranch>>>,
    pub(in crate::clusters) changed: Notify,
}

impl Decided {
    /// Interfaces that pods should have; `None` while that is not known.
    pub(in crate::clusters) fn wanted(&self) -> Option<BTreeMap<String, WantedBranch>> {
        let wanted = self.wanted.lock();
        wanted.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, next: BTreeMap<String, WantedBranch>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.as_ref() != Some(&next) {
            *wanted = Some(next);
            self.changed.notify_one();
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    creation_timestamp: String,
    deletion_timestamp: Option<IgnoredAny>,
    labels: Option<Labels>,
    annotations: Annotations,
}

impl Pod {
    /// Whether it has another address than its interface's. Its node began it before anything said that it is asked about:
    /// the webhook did not answer, and the policies were new to its node.
    fn began_without(&self, branch: &Branch) -> bool {
        let has = self.status.pod_ip.as_ref().filter(|it| !it.is_empty());
        has.is_some_and(|it| *it != branch.address.to_string())
    }
}

/// The ones that count: a user of the cluster decides how many there are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "lath.dev/security-groups")]
    asked: Option<IgnoredAny>,
    #[serde(rename = "vpc.amazonaws.com/pod-eni")]
    pod_eni: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    host_network: bool,
    service_account_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    metadata: Metadata,
}

/// What a pod gets.
#[derive(Debug, Clone, PartialEq)]
enum Decision {
    /// Nothing was asked.
    Unasked,
    /// It shares its node's interface.
    Shared,
    /// An interface with these groups.
    Own(BTreeSet<SecurityGroupId>),
    /// Nothing, before its policies are changed.
    Refused(String),
}

/// What policies say, with what they look at.
struct Rules<'a> {
    snapshot: &'a Snapshot,
    vpc: &'a VpcId,
    policies: &'a [Policy],
    /// Namespaces with policies.
    namespaces: BTreeSet<String>,
    /// Labels of service accounts, by namespace and name.
    accounts: BTreeMap<(String, String), Labels>,
}

impl Rules<'_> {
    /// A pod that has no interface of its own yet.
    fn decide(&self, pod: &Pod) -> Decision {
        let metadata = &pod.metadata;
        let is_marked = metadata.annotations.asked.is_some();
        if !is_marked && !self.namespaces.contains(&metadata.namespace) {
            return Decision::Unasked;
        }
        // It began with what it has: policies count for pods that come after them.
        if pod.status.pod_ip.as_ref().is_some_and(|it| !it.is_empty()) {
            return Decision::Shared;
        }
        let account = pod.spec.service_account_name.as_deref();
        let account = account.filter(|it| !it.is_empty()).unwrap_or("default");
        let account = (metadata.namespace.clone(), account.to_owned());
        let none = Labels::new();
        let subject = Subject {
            namespace: &metadata.namespace,
            labels: metadata.labels.as_ref().unwrap_or(&none),
            account: self.accounts.get(&account).unwrap_or(&none),
            made: (!is_marked).then_some(metadata.creation_timestamp.as_str()),
        };
        let ids = pod_groups::groups_of(self.policies, subject);
        if ids.is_empty() {
            return Decision::Shared;
        }
        if ids.len() > MOST_GROUPS {
            return Decision::Refused(format!(
                "its policies give it {} security groups, and an interface has at most {MOST_GROUPS}",
                ids.len()
            ));
        }
        let mut groups = BTreeSet::new();
        for text in ids {
            let id = text.parse::<SecurityGroupId>().ok();
            let is_here = |id: &SecurityGroupId| {
                let group = self.snapshot.security_groups.get(id);
                group.is_some_and(|it| it.vpc == *self.vpc)
            };
            let Some(id) = id.filter(is_here) else {
                let vpc = self.vpc;
                let reason = format!("the security group '{text}' does not exist in VPC '{vpc}'");
                return Decision::Refused(reason);
            };
            groups.insert(id);
        }
        Decision::Own(groups)
    }
}

/// Decides for one cluster, again and again.
pub(super) struct PodGroups {
    events: Events,
    /// Since when pods wait for control.
    waiting: BTreeMap<String, Instant>,
    /// What nodes were told.
    written: BTreeMap<InstanceId, String>,
    logged: Option<String>,
}

impl PodGroups {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            events: Events::new(clock),
            waiting: BTreeMap::new(),
            written: BTreeMap::new(),
            logged: None,
        }
    }

    /// Until the cluster is not wanted.
    pub(super) async fn run(mut self, care: &Care) {
        loop {
            let snapshot = care.snapshot();
            let Some(plane) = snapshot.control_planes.get(&care.id) else {
                return;
            };
            let done = self.look(care, &snapshot, plane).await;
            let pause = match &done {
                Ok(true) => PERIOD,
                Ok(false) | Err(_) => IDLE_PERIOD,
            };
            let now = trouble("security groups of pods", done.map(|_| ()));
            if self.logged != now {
                if let Some(reason) = &now {
                    tracing::warn!(cluster = plane.name, reason, "a service of a cluster");
                }
                self.logged = now;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One look; whether there is anything that policies or interfaces say.
    async fn look(
        &mut self,
        care: &Care,
        snapshot: &Snapshot,
        plane: &ControlPlane,
    ) -> Result<bool, ClientError> {
        let Some((vpc, _)) = snapshot.placement(&plane::workload(plane)) else {
            return Ok(false);
        };
        let client = &care.client;
        let policies: Vec<Policy> = match all(client, POLICIES, "", Part::Whole).await {
            // The definition is not there yet, or was taken away.
            Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => Vec::new(),
            policies => policies?,
        };
        let nodes = nodes(snapshot, plane);
        let is_used = !policies.is_empty() || nodes.values().any(|it| !it.branches.is_empty());
        // A pod may have been marked although nothing is there that selects it.
        let query = match is_used {
            true => "fieldSelector=spec.nodeName!%3D",
            false => "fieldSelector=status.phase%3DPending",
        };
        let pods: Vec<Pod> = all(client, "/api/v1/pods", query, Part::Whole).await?;
        let rules = rules(client, snapshot, vpc, &policies).await?;
        let mut wanted = BTreeMap::new();
        let mut files: BTreeMap<&InstanceId, File<'_>> = BTreeMap::new();
        for node in nodes.values() {
            let file = files.entry(&node.instance.id).or_default();
            file.namespaces = &rules.namespaces;
        }
        let mut waiting = BTreeSet::new();
        for pod in &pods {
            let Some(node) = nodes.get(pod.spec.node_name.as_str()) else {
                continue;
            };
            let is_over = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
            if pod.spec.host_network || is_over {
                continue;
            }
            let uid = &pod.metadata.uid;
            let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
            let want = |security_groups| WantedBranch {
                instance: node.instance.id.clone(),
                name: name.clone(),
                security_groups,
            };
            let file = files.entry(&node.instance.id).or_default();
            if let Some(branch) = node.branches.get(uid.as_str()) {
                if pod.began_without(branch) {
                    file.free.insert(uid);
                    self.retract(client, pod).await?;
                    continue;
                }
                wanted.insert(uid.clone(), want(branch.security_groups.clone()));
                file.pods.insert(uid, branch.address);
                self.annotate(client, pod, branch, node).await?;
                continue;
            }
            match rules.decide(pod) {
                Decision::Unasked => {}
                Decision::Shared => drop(file.free.insert(uid)),
                // What ends does not begin.
                _ if pod.metadata.deletion_timestamp.is_some() => {}
                Decision::Refused(reason) => {
                    let said = format!("failed to allocate branch ENI to pod: {reason}");
                    self.record(client, pod, Some("BranchAllocationFailed"), said)
                        .await?;
                }
                Decision::Own(_) if file.own >= node.most => {}
                Decision::Own(groups) => {
                    file.own += 1;
                    let names: Vec<&str> = groups.iter().map(SecurityGroupId::as_str).collect();
                    let said = format!("Pod will get the following Security Groups {names:?}");
                    self.record(client, pod, None, said).await?;
                    wanted.insert(uid.clone(), want(groups));
                    waiting.insert(uid.clone());
                }
            }
            if waiting.contains(uid) && self.is_late(uid) {
                let said = "failed to allocate branch ENI to pod: none was made yet; is an address of its node's subnet free?";
                self.record(client, pod, Some("BranchAllocationFailed"), said.to_owned())
                    .await?;
            }
        }
        self.waiting.retain(|uid, _| waiting.contains(uid));
        care.decided.set(wanted);
        let files = files.iter().map(|(id, file)| ((*id).clone(), file.text()));
        self.write(care, files.collect()).await;
        Ok(is_used)
    }

    fn is_late(&mut self, uid: &str) -> bool {
        let since = self.waiting.entry(uid.to_owned());
        since.or_insert_with(Instant::now).elapsed() >= LATE
    }

    /// Says of a pod which interface it has, once, as AWS does.
    async fn annotate(
        &mut self,
        client: &Client,
        pod: &Pod,
        branch: &Branch,
        node: &Node<'_>,
    ) -> Result<(), ClientError> {
        let address = branch.address.to_string();
        let eni = pod_groups::pod_eni(branch.id.as_str(), &branch.mac, &address, &node.subnet);
        let eni = eni.to_string();
        if pod.metadata.annotations.pod_eni.as_ref() == Some(&eni) {
            return Ok(());
        }
        let metadata = &pod.metadata;
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            metadata.namespace, metadata.name
        );
        let change = json!({"metadata": {"uid": metadata.uid, "annotations": {POD_ENI: eni}}});
        match client.patch(&path, &change).await {
            // It is gone, or another one has its name.
            Err(error) if error.status().is_some_and(|it| it.is_client_error()) => return Ok(()),
            outcome => outcome?,
        }
        self.record(client, pod, None, format!("Allocated {eni} to the pod"))
            .await
    }

    /// Says of a pod that it has no interface, though one was made: it goes.
    async fn retract(&mut self, client: &Client, pod: &Pod) -> Result<(), ClientError> {
        let metadata = &pod.metadata;
        if metadata.annotations.pod_eni.is_some() {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                metadata.namespace, metadata.name
            );
            let change = json!({"metadata": {"uid": metadata.uid, "annotations": {POD_ENI: null}}});
            match client.patch(&path, &change).await {
                Err(error) if error.status().is_some_and(|it| it.is_client_error()) => {}
                outcome => drop(outcome?),
            }
        }
        let said = "failed to allocate branch ENI to pod: it began before its node knew of its policies, with the security groups \
                    of the node; delete it, and the next one gets its own";
        self.record(client, pod, Some("BranchAllocationFailed"), said.to_owned())
            .await
    }

    /// An event about a pod: a warning with that reason, or what goes well.
    async fn record(
        &mut self,
        client: &Client,
        pod: &Pod,
        warning: Option<&'static str>,
        message: String,
    ) -> Result<(), ClientError> {
        let about = About {
            api_version: "v1",
            kind: "Pod",
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        };
        let reason = match message.starts_with("Allocated") {
            true => "ResourceAllocated",
            false => "SecurityGroupRequested",
        };
        let said = Said {
            component: COMPONENT,
            warning: warning.is_some(),
            reason: warning.unwrap_or(reason),
            message,
        };
        self.events.record(client, &about, &said).await
    }

    /// Tells nodes what they have not been told.
    async fn write(&mut self, care: &Care, files: BTreeMap<InstanceId, String>) {
        self.written.retain(|id, _| files.contains_key(id));
        let new = |id: &InstanceId, text: &String| self.written.get(id) != Some(text);
        let due: BTreeMap<_, _> = files
            .into_iter()
            .filter(|(id, text)| new(id, text))
            .collect();
        if due.is_empty() {
            return;
        }
        let instances = care.shared.parts.instances.clone();
        let written = tokio::task::spawn_blocking(move || {
            let write = |(id, text): &(InstanceId, String)| {
                let (workload, directory) =
                    (WorkloadId::from(id.clone()), Path::new(LATH_DIRECTORY));
                let bytes = text.as_bytes();
                match instances.write_file(&workload, directory, BRANCHES, bytes) {
                    Ok(()) => true,
                    Err(error) => {
                        // Its first boot makes the directory.
                        if error.kind() != std::io::ErrorKind::NotFound {
                            tracing::warn!(instance.id = %id, %error, "the interfaces of a node's pods cannot be written");
                        }
                        false
                    }
                }
            };
            due.into_iter().filter(write).collect::<Vec<_>>()
        });
        // A panic has been reported.
        self.written.extend(written.await.unwrap_or_default());
    }
}

/// An instance of the snapshot that is a node of the cluster.
struct Node<'a> {
    instance: &'a Instance,
    /// By the unique ids of their pods.
    branches: BTreeMap<&'a str, &'a Branch>,
    /// The block of its subnet.
    subnet: String,
    /// How many pods may wait on it at once.
    most: u32,
}

/// By their names in the cluster.
fn nodes<'a>(snapshot: &'a Snapshot, plane: &ControlPlane) -> BTreeMap<&'a str, Node<'a>> {
    let mut nodes = BTreeMap::new();
    for instance in snapshot.instances.values() {
        let membership = instance.cluster.as_ref();
        let Some(membership) = membership.filter(|it| it.cluster == plane.id) else {
            continue;
        };
        let workload = WorkloadId::from(instance.id.clone());
        let mut interfaces = snapshot.interfaces_of(&workload);
        let Some(trunk) = interfaces.find(|it| it.device_at(&workload) == Some(0)) else {
            continue;
        };
        let subnet = snapshot.vpcs.get(&instance.vpc);
        let subnet = subnet.and_then(|it| it.subnets.get(&trunk.subnet));
        let node = Node {
            instance,
            branches: trunk
                .branches
                .iter()
                .map(|it| (it.pod.as_str(), it))
                .collect(),
            subnet: subnet.map(|it| it.cidr.to_string()).unwrap_or_default(),
            most: membership.max_pods,
        };
        nodes.insert(instance.hostname.as_str(), node);
    }
    nodes
}

/// Reads what the policies look at.
async fn rules<'a>(
    client: &Client,
    snapshot: &'a Snapshot,
    vpc: &'a VpcId,
    policies: &'a [Policy],
) -> Result<Rules<'a>, ClientError> {
    let of = |it: &Policy| it.metadata.namespace.clone();
    let asks = |it: &&Policy| it.spec.service_account_selector.is_some();
    let mut accounts = BTreeMap::new();
    for namespace in policies
        .iter()
        .filter(asks)
        .map(of)
        .collect::<BTreeSet<_>>()
    {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let found: Vec<Account> = all(client, &path, "", Part::Metadata).await?;
        accounts.extend(found.into_iter().map(|it| {
            let labels = it.metadata.labels.unwrap_or_default();
            ((namespace.clone(), it.metadata.name), labels)
        }));
    }
    Ok(Rules {
        snapshot,
        vpc,
        policies,
        namespaces: policies.iter().map(of).collect(),
        accounts,
    })
}

/// What a node's network plugin reads.
struct File<'a> {
    namespaces: &'a BTreeSet<String>,
    pods: BTreeMap<&'a str, std::net::Ipv4Addr>,
    free: BTreeSet<&'a str>,
    /// How many pods wait for an interface.
    own: u32,
}

static NONE: BTreeSet<String> = BTreeSet::new();

impl Default for File<'_> {
    fn default() -> Self {
        Self {
            namespaces: &NONE,
            pods: BTreeMap::new(),
            free: BTreeSet::new(),
            own: 0,
        }
    }
}

impl File<'_> {
    fn text(&self) -> String {
        json!({"namespaces": self.namespaces, "pods": self.pods, "free": self.free}).to_string()
    }
}

#[cfg(test)]
mod tests;
