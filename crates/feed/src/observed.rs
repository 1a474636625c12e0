//! Observed state: what a node reports.

use std::collections::BTreeMap;

use lath_model::id::*;
use lath_model::{ManagedId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{CheckObserved, ClusterObserved, FunctionObserved, TargetKey};

/// The actual state. Absence means: not known yet, or not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The newest snapshot version that the node has begun to obey *and* whose network part it applied.
    pub applied_version: u64,
    /// VPCs: ready when the router, resolver and metadata service answer.
    pub vpcs: BTreeMap<VpcId, Condition>,
    /// Instances.
    pub instances: BTreeMap<InstanceId, InstanceObserved>,
    /// Service networks in VPCs: ready when every listener of every service is bound and its names are
    /// served there.
    pub vpc_associations: BTreeMap<ServiceNetworkVpcAssociationId, Condition>,
    /// Services: ready when every listener is bound in every associated VPC.
    pub services: BTreeMap<ServiceId, Condition>,
    /// Transit Gateways: ready when the router and every route of it is made.
    pub transit_gateways: BTreeMap<TransitGatewayId, Condition>,
    /// Attachments: ready when packets can pass; a peering, when the other side answered lately.
    pub transit_attachments: BTreeMap<TransitGatewayAttachmentId, Condition>,
    /// NAT gateways.
    pub nat_gateways: BTreeMap<NatGatewayId, Condition>,
    /// VPC endpoints: ready when every listener of every service is bound at their addresses.
    pub vpc_endpoints: BTreeMap<VpcEndpointId, Condition>,
    /// Resource gateways: ready when their addresses are in the VPC.
    #[serde(default)]
    pub resource_gateways: BTreeMap<ResourceGatewayId, Condition>,
    /// Service networks' associations with resources: ready when they are reached in every associated VPC.
    #[serde(default)]
    pub resource_associations: BTreeMap<ServiceNetworkResourceAssociationId, Condition>,
    /// Health checks of Route 53.
    pub health_checks: BTreeMap<HealthCheckId, CheckObserved>,
    /// The newest snapshot version whose zones the DNS servers answer from.
    pub dns_version: u64,
    /// The other regions (and the witness): whether this node reaches theirs.
    pub regions: BTreeMap<String, RegionObserved>,
    /// Clusters whose control planes run here.
    #[serde(default)]
    pub clusters: BTreeMap<ManagedId, ClusterObserved>,
    /// Functions, by their names.
    #[serde(default)]
    pub functions: BTreeMap<String, FunctionObserved>,
    /// Target health, by group and target.
    pub targets: BTreeMap<TargetGroupId, BTreeMap<TargetKey, TargetObserved>>,
}

/// Another region as this one's node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionObserved {
    /// Whether its node answers on the encrypted link.
    pub connected: bool,
    /// Since when.
    pub since: Timestamp,
}

/// Whether a thing works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// It works, as of this snapshot version.
    Ready {
        /// The newest version in which the item was seen and made true.
        version: u64,
    },
    /// It does not, for this reason. The node keeps trying.
    Failed {
        /// In words a user can act on.
        reason: String,
    },
}

/// An instance as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceObserved {
    /// What it does.
    pub state: InstancePhase,
    /// The boot (see [`crate::Instance::boot`]) that this state belongs to.
    pub boot: u64,
    /// Since when.
    pub since: Timestamp,
}

/// The phases of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstancePhase {
    /// Its network or processes are being made.
    Starting,
    /// Its first process runs.
    Running,
    /// Its processes are being ended.
    Stopping,
    /// No process of it lives; its files are kept.
    Stopped,
    /// It could not be started, or its first process ended by itself.
    Failed {
        /// In words a user can act on.
        reason: String,
    },
}

/// A target as the prober sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetObserved {
    /// Its health.
    pub health: TargetHealth,
    /// Why, for an unhealthy one: `HealthCheckFailed` and detail.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Whether requests are still in flight to a draining target.
    pub in_flight: u64,
    /// Set while outlier detection leaves it out.
    #[serde(default)]
    pub ejection: Option<Ejection>,
}

/// Why a target gets no requests although nothing is known of its health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// In words: what it did.
    pub reason: String,
    /// When it was left out.
    pub since: Timestamp,
    /// When it gets requests again.
    pub until: Timestamp,
    /// How often it was left out lately, this time included.
    pub times: u32,
}

/// What probes say of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetHealth {
    /// No probe has decided yet.
    Initial,
    /// Probes succeed.
    Healthy,
    /// Probes fail.
    Unhealthy,
    /// Health checks are off or not supported: it is used as it is.
    Unavailable,
    /// No listener uses its group.
    Unused,
    /// Deregistered, finishing what is in flight.
    Draining,
    /// Deregistered and nothing in flight any more, or the drain time is over.
    Drained,
}
