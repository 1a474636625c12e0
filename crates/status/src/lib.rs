//! What `lath status` tells: resources, health and traffic of an installation, as plain data.
//!
//! A control plane fills a [`Status`] with what its region has; the supervisor of several regions merges theirs. Whatever
//! shows it (the command line, a console) needs nothing else of Lath.
//!
//! ```
//! let status = lath_status::Status {
//!     region: "us-east-1".into(),
//!     ..lath_status::Status::default()
//! };
//! let json = serde_json::to_string(&status).unwrap();
//! assert_eq!(serde_json::from_str::<lath_status::Status>(&json).unwrap(), status);
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The output of `lath status --output json`. New versions add members and never change existing ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Lath's version, such as `0.1.0`.
    pub version: String,
    /// The process of `lath serve`: with several regions, the supervisor.
    pub pid: u32,
    /// The URL of the API.
    pub endpoint: String,
    /// The region, or the home of several.
    pub region: String,
    /// The account: twelve digits.
    pub account: String,
    /// `strict`, or `extended` with what AWS does not have.
    pub mode: String,
    /// The newest revision of the state.
    pub revision: u64,
    /// The newest revision that the network has applied.
    pub applied_revision: u64,
    /// The VPCs.
    pub vpcs: Vec<Vpc>,
    /// The instances.
    pub instances: Vec<Instance>,
    /// The service networks of VPC Lattice.
    pub service_networks: Vec<ServiceNetwork>,
    /// The services of VPC Lattice.
    pub services: Vec<Service>,
    /// The target groups of VPC Lattice.
    pub target_groups: Vec<TargetGroup>,
    /// Rules whose weights move in steps.
    #[serde(default)]
    pub canaries: Vec<Canary>,
    /// Route 53's health checks, with the verdict of this region's node.
    #[serde(default)]
    pub health_checks: Vec<HealthCheck>,
    /// Clusters of Kubernetes.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// Access log records that could not be stored.
    pub access_logs_dropped: u64,
    /// The address of the authoritative DNS server; with several regions, see each region.
    #[serde(default)]
    pub dns: String,
    /// The encrypted links to other regions, as this region's node sees them.
    #[serde(default)]
    pub links: BTreeMap<String, Link>,
    /// The regions, if there are several: the members above then cover all of them.
    #[serde(default)]
    pub regions: Vec<Region>,
    /// Current problems, in words: a full disk, an archive that was damaged, a region whose state is refused.
    #[serde(default)]
    pub trouble: Vec<String>,
}

impl Status {
    /// Adds the resources of a region. The revisions of the whole are those of its home.
    pub fn add(&mut self, region: Self, is_home: bool) {
        if is_home {
            self.revision = region.revision;
            self.applied_revision = region.applied_revision;
        }
        self.vpcs.extend(region.vpcs);
        self.instances.extend(region.instances);
        self.health_checks.extend(region.health_checks);
        self.service_networks.extend(region.service_networks);
        self.services.extend(region.services);
        self.target_groups.extend(region.target_groups);
        self.canaries.extend(region.canaries);
        self.clusters.extend(region.clusters);
        self.access_logs_dropped += region.access_logs_dropped;
    }
}

/// A link to another region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whether the other region answers.
    pub connected: bool,
    /// Since when this is the case: RFC 3339, as all moments here.
    pub since: String,
}

/// A region, or the witness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// The region's name, or `witness`.
    pub name: String,
    /// Whether the global services live here.
    pub home: bool,
    /// Whether its control plane answers.
    pub answers: bool,
    /// As [`Status::revision`].
    pub revision: u64,
    /// As [`Status::applied_revision`].
    pub applied_revision: u64,
    /// The address of its authoritative DNS server.
    pub dns: String,
    /// Its processes.
    pub processes: Vec<Process>,
    /// Its encrypted links, by the region that they lead to.
    pub links: BTreeMap<String, Link>,
}

/// A process of a region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `control`, `node` or `witness`.
    pub role: String,
    /// `running`, `starting`, `held` (a drill keeps it dead), `refused` or `stopped`.
    pub state: String,
    /// The process id, while it runs.
    pub pid: Option<i32>,
    /// The time of its start.
    pub since: Option<String>,
    /// Restarts after unexpected deaths.
    pub restarts: u64,
    /// Whether the supervisor found it running instead of starting it.
    pub adopted: bool,
}

/// A health check of Route 53.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The region whose node says so.
    #[serde(default)]
    pub region: String,
    /// Its id.
    pub id: String,
    /// The verdict.
    pub healthy: bool,
    /// Whether a majority of observers has reported.
    pub quorum: bool,
}

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: String,
    /// Its tag `Name`.
    pub name: Option<String>,
    /// Its blocks of addresses.
    pub cidrs: Vec<String>,
    /// The number of its subnets.
    pub subnets: usize,
    /// The number of its network interfaces.
    pub interfaces: usize,
    /// The id of the service network that it is associated with.
    pub service_network: Option<String>,
    /// `ready`, `pending`, or the reason why it does not work.
    pub state: String,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its region.
    #[serde(default)]
    pub region: String,
    /// Its id.
    pub id: String,
    /// Its tag `Name`.
    pub name: Option<String>,
    /// The id of its VPC.
    pub vpc: String,
    /// The address of its primary interface.
    pub private_address: Option<String>,
    /// The public address that leads there.
    pub public_address: Option<String>,
    /// `pending`, a phase such as `running`, or `failed: ` and the reason.
    pub state: String,
}

/// A service network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNetwork {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The number of associated VPCs.
    pub vpcs: usize,
    /// The number of associated services.
    pub services: usize,
}

/// A service and its traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The name that clients resolve.
    pub domain_name: String,
    /// Its link-local address.
    pub address: String,
    /// Its listeners, such as `http:80`.
    pub listeners: Vec<String>,
    /// `ready`, `pending`, or the reason why it does not work.
    pub state: String,
    /// Requests since the node's start.
    pub requests: u64,
    /// Those of them that were answered with a status of 500 or more.
    pub errors_5xx: u64,
}

/// A target group and its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of its VPC.
    pub vpc: String,
    /// Its targets.
    pub targets: Vec<Target>,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The address, or the id of an instance, a load balancer or a function.
    pub id: String,
    /// The port.
    pub port: u16,
    /// `pending`, or a status of Lattice in lower case, such as `healthy`.
    pub health: String,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// Set while outlier detection leaves it out.
    #[serde(default)]
    pub ejection: Option<Ejection>,
}

/// Why a target gets no requests, whatever its health is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// Why it is left out.
    pub reason: String,
    /// When it was left out.
    pub since: String,
    /// When it gets requests again.
    pub until: String,
    /// How often it was left out lately, this time included.
    pub times: u32,
}

/// A rule whose weights move in steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The rule's ARN.
    pub rule: String,
    /// The target group whose weight grows.
    pub target_group: String,
    /// `running`, `succeeded`, `rolled back` or `ended`.
    pub phase: String,
    /// The step, from 1, while it runs.
    pub step: Option<usize>,
    /// The number of steps, while it runs.
    pub steps: Option<usize>,
    /// Why it was rolled back or ended.
    pub reason: Option<String>,
    /// When the phase or the step began.
    pub since: String,
}

/// A cluster of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// What runs, such as `v1.37.2`.
    pub version: Option<String>,
    /// `ready`, `pending`, or the reason why it does not work.
    pub state: String,
    /// Its nodes.
    pub nodes: Vec<ClusterNode>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNode {
    /// The id of its instance.
    pub instance: String,
    /// Its name in the cluster.
    pub name: String,
    /// What its API server said last.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Pods with an address of their own on it.
    pub pods: u32,
}
