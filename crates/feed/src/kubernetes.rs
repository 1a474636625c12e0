//! Clusters: what a node must run for them, and what it sees of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use lath_model::ManagedId;
use lath_model::id::{InstanceId, SecurityGroupId};
use serde::{Deserialize, Serialize};

use crate::{Condition, Hidden};

/// The control plane of a cluster: etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one network
/// namespace ([`crate::Snapshot::workloads`] has its VPC), on the addresses of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlane {
    /// Its id.
    pub id: ManagedId,
    /// The cluster's name.
    pub name: String,
    /// The cluster's ARN.
    pub arn: String,
    /// The Kubernetes version that was asked for, such as `1.37`.
    pub version: String,
    /// Grows with each change after which the processes are started again.
    pub boot: u64,
    /// Addresses of the API server in the VPC, the one that it advertises first; it serves port 443 on each.
    pub addresses: Vec<Ipv4Addr>,
    /// The block of ClusterIPs.
    pub service_cidr: Ipv4Net,
    /// The keys of the cluster.
    pub keys: ClusterKeys,
    /// The issuer of service account tokens, an `https` URL.
    pub issuer: String,
    /// The endpoint outside of the VPC; `None` when it is off.
    pub public_endpoint: Option<PublicEndpoint>,
    /// Components whose logs go to `/aws/eks/NAME/cluster`.
    pub logging: BTreeSet<ClusterLog>,
    /// Who may do what.
    pub access: ClusterAccess,
    /// Add-ons that are installed, by name, such as `coredns`.
    pub addons: BTreeMap<String, Addon>,
    /// Which roles pods get.
    pub pod_identities: Vec<PodIdentity>,
    /// How long pods stay on a node that is not ready or unreachable; `None`: 300 seconds, as Kubernetes has it.
    pub unreachable_seconds: Option<u32>,
    /// The issuer whose tokens are credentials of users.
    #[serde(default)]
    pub identity_provider: Option<IdentityProvider>,
    /// Whether somebody makes room for pods that find none: then [`ClusterObserved::waiting`] tells of them.
    #[serde(default)]
    pub scales: bool,
}

/// The add-on that gives pods the credentials of their service account's role.
pub const POD_IDENTITY_AGENT: &str = "eks-pod-identity-agent";

impl ControlPlane {
    /// Whether the agent of pod identities runs on its nodes.
    pub fn has_pod_identity_agent(&self) -> bool {
        self.addons.contains_key(POD_IDENTITY_AGENT)
    }

    /// The host that its issuer is at, and its path there; `None` when the issuer is no `https` URL with a path.
    pub fn issuer_place(&self) -> Option<(&str, &str)> {
        let rest = self.issuer.strip_prefix("https://")?;
        Some(rest.split_at(rest.find('/')?))
    }

    /// The address of the cluster's DNS service: the tenth of its block, as EKS has it.
    pub fn dns_address(&self) -> Ipv4Addr {
        (u32::from(self.service_cidr.network()) + 10).into()
    }
}

/// What a cluster's certificates and tokens are signed with. All PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterKeys {
    /// The certificate of the cluster's certificate authority.
    pub authority: String,
    /// Its private key (PKCS #8).
    pub authority_key: Hidden,
    /// What signs service account tokens (a private key of P-256 in PKCS #8).
    pub service_accounts: Hidden,
}

/// A port of the host whose connections are spliced to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicEndpoint {
    /// The address and port to listen on, such as `127.0.0.1:6443`.
    pub listen: std::net::SocketAddr,
    /// Blocks that may connect.
    pub cidrs: Vec<IpNet>,
}

/// A component of a control plane, as EKS names its logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClusterLog {
    /// kube-apiserver.
    Api,
    /// The audit log of kube-apiserver.
    Audit,
    /// The token webhook.
    Authenticator,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
}

/// Who may do what in a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterAccess {
    /// Whether access entries count (the modes `API` and `API_AND_CONFIG_MAP`).
    pub entries_count: bool,
    /// Whether the ConfigMap `kube-system/aws-auth` counts (the modes `CONFIG_MAP` and `API_AND_CONFIG_MAP`).
    pub config_map_counts: bool,
    /// The creator's ARN (of a role, not of its session), where it is an administrator that no entry names.
    pub creator: Option<String>,
    /// The creator's unique id, as [`AccessEntry::unique_id`].
    #[serde(default)]
    pub creator_id: Option<String>,
    /// Access entries, by principal ARN.
    pub entries: BTreeMap<String, AccessEntry>,
}

/// What a principal is in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// The unique id of the role or user that the entry is of: a later one of the same name is another principal. `None`
    /// where it is not known, which any principal with the ARN matches.
    #[serde(default)]
    pub unique_id: Option<String>,
    /// The user name, possibly with placeholders such as `{{SessionName}}` and `{{EC2PrivateDNSName}}`.
    pub username: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its access policies.
    pub policies: Vec<AccessPolicy>,
}

/// An access policy that a principal has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPolicy {
    /// The policy's name, such as `AmazonEKSViewPolicy`.
    pub name: String,
    /// Namespaces in which it holds, possibly with a `*` at their end; `None`: the whole cluster.
    pub namespaces: Option<Vec<String>>,
}

/// An installed add-on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addon {
    /// Its version, such as `v1.13.2-eksbuild.1`.
    pub version: String,
    /// What the user configured (JSON).
    pub configuration: Option<String>,
}

/// A role for the pods of a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodIdentity {
    /// `a-...`.
    pub id: String,
    /// The namespace.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The role's ARN.
    pub role_arn: String,
}

/// An OpenID Connect issuer whose tokens a cluster takes from users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityProvider {
    /// What the user calls it.
    pub name: String,
    /// Its URL, as tokens name it.
    pub issuer_url: String,
    /// For whom its tokens must be.
    pub client_id: String,
    /// The claim that names a user; `None`: `sub`.
    pub username_claim: Option<String>,
    /// What is put before that; `-`: nothing, `None`: the URL and `#` unless the claim is `email`.
    pub username_prefix: Option<String>,
    /// The claim that lists groups.
    pub groups_claim: Option<String>,
    /// What is put before each of them.
    pub groups_prefix: Option<String>,
    /// Claims that tokens must have, with their values.
    pub required_claims: BTreeMap<String, String>,
    /// The ConfigMap of `kube-system` whose `ca.crt` holds the authorities that vouch for the issuer's server, in the place
    /// of those that the host trusts.
    pub authorities: Option<String>,
}

/// What makes an instance the node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNode {
    /// The cluster's control plane.
    pub cluster: ManagedId,
    /// The node group's name.
    pub node_group: String,
    /// Labels that its kubelet gives it.
    pub labels: BTreeMap<String, String>,
    /// Taints that its kubelet registers: `KEY=VALUE:EFFECT`.
    pub taints: Vec<String>,
    /// How many pods may run on it.
    pub max_pods: u32,
    /// Whether its pods are being evicted: it takes no new ones.
    pub draining: bool,
    /// Whether its pods go even where a disruption budget refuses their eviction. They still end gracefully.
    #[serde(default)]
    pub forced: bool,
}

/// A cluster as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterObserved {
    /// Whether the API server is ready, and its add-ons applied but for `refused_addons`.
    pub condition: Condition,
    /// The Kubernetes version that runs, such as `v1.37.2`.
    pub version: Option<String>,
    /// Its nodes that are instances of the snapshot.
    pub nodes: BTreeMap<InstanceId, ClusterNodeObserved>,
    /// Add-ons of which the API server takes an object not as it is wanted, with its words.
    #[serde(default)]
    pub refused_addons: BTreeMap<String, String>,
    /// The identity provider that its API server was seen to have taken over.
    #[serde(default)]
    pub identity_provider: Option<IdentityProvider>,
    /// Whether it was seen which it has: without that, none is reported although one may be in force.
    #[serde(default)]
    pub identity_provider_known: bool,
    /// Pods that its scheduler finds no node for, those alike together, and the first [`WaitingPods::MOST`] kinds of them.
    #[serde(default)]
    pub waiting: Vec<WaitingPods>,
    /// Pods that should have an interface with groups of their own, by their unique ids; `None` while that is not known.
    #[serde(default)]
    pub branches: Option<BTreeMap<String, WantedBranch>>,
}

/// An interface that a pod should have ([`crate::Branch`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedBranch {
    /// The node that the pod is on.
    pub instance: InstanceId,
    /// NAMESPACE/NAME of the pod.
    pub name: String,
    /// Its groups. Who has an interface keeps the groups that it was made with.
    pub security_groups: BTreeSet<SecurityGroupId>,
}

/// Pods that wait for a node, all with the same wishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitingPods {
    /// What each asks for, in thousandths of a processor.
    pub cpu_millis: u64,
    /// What each asks for, in bytes.
    pub memory_bytes: u64,
    /// Labels that a node must have for them.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that they do not mind.
    pub tolerations: Vec<Toleration>,
    /// How many there are.
    pub pods: u32,
}

impl WaitingPods {
    /// How many kinds of waiting pods are told of.
    pub const MOST: usize = 64;
}

/// Taints that a pod does not mind. Empty members match all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Toleration {
    /// The taint's key.
    pub key: String,
    /// The taint's value; `None`: any.
    pub value: Option<String>,
    /// The taint's effect.
    pub effect: String,
}

/// A node of a cluster as its API server shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNodeObserved {
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Why not, in words a user can act on.
    pub reason: Option<String>,
    /// Pods with an address of their own on it.
    pub pods: u32,
    /// Whether it was drained, so that nothing but pods of daemons and static ones is there.
    pub drained: bool,
    /// Whether nothing but pods of daemons and static ones is there, although it takes pods.
    #[serde(default)]
    pub idle: bool,
    /// Whether it has the labels and taints of its node group.
    #[serde(default = "yes")]
    pub configured: bool,
}

fn yes() -> bool {
    true
}
