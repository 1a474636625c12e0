use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_feed::ClusterKeys;
use lath_model::Timestamp;
use lath_model::id::{SecurityGroupId, SubnetId, VpcId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use crate::shape::{
    AuthenticationMode, ClusterStatus, ComputeConfig, ControlPlaneTier, LogType, StorageConfig,
    SupportType, Switch,
};

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    /// The minor version that was asked for last, such as `1.37`.
    pub(crate) version: String,
    /// The version that was seen to run, such as `v1.37.2`.
    pub(crate) running: Option<String>,
    pub(crate) role_arn: String,
    pub(crate) vpc: VpcId,
    pub(crate) subnets: Vec<SubnetId>,
    /// The groups that the user gave its interfaces beside the cluster's own.
    pub(crate) security_groups: Vec<SecurityGroupId>,
    /// The cluster's own group.
    pub(crate) cluster_group: SecurityGroupId,
    pub(crate) endpoint: Endpoint,
    /// Of its interfaces, the primary one's first.
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) service_cidr: Ipv4Net,
    pub(crate) elastic_load_balancing: Option<Switch>,
    pub(crate) logs: BTreeSet<LogType>,
    /// 32 hexadecimal digits in the URL of its issuer of tokens.
    pub(crate) issuer_id: String,
    pub(crate) keys: ClusterKeys,
    pub(crate) access: Access,
    /// Add-ons that it came with, or that were left in it, and that EKS does not manage.
    pub(crate) self_managed_addons: BTreeMap<String, lath_feed::Addon>,
    pub(crate) support: SupportType,
    pub(crate) zonal_shift: Option<Switch>,
    pub(crate) compute: Option<ComputeConfig>,
    pub(crate) storage: Option<StorageConfig>,
    pub(crate) deletion_protection: bool,
    pub(crate) tier: ControlPlaneTier,
    pub(crate) status: ClusterStatus,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) issues: Vec<Issue>,
    /// Grows with each change after which the processes are started again.
    pub(crate) boot: u64,
    pub(crate) client_request_token: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
}

/// Where the API server can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) public: bool,
    pub(crate) private: bool,
    pub(crate) public_cidrs: Vec<String>,
    /// The port on the host's loopback address, kept while the public endpoint is off.
    pub(crate) port: u16,
}

/// Whom the API server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) mode: AuthenticationMode,
    /// Whether the creator is an administrator.
    pub(crate) bootstrap: bool,
    /// The creator's ARN; that of the role where a session of a role created the cluster.
    pub(crate) creator: String,
    /// Its unique id.
    #[serde(default)]
    pub(crate) creator_id: Option<String>,
}

/// Something wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issue {
    /// AWS's word for it.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) resource_ids: Vec<String>,
}

impl Issue {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            resource_ids: Vec::new(),
        }
    }
}

impl Cluster {
    /// Whether requests may change it and what is in it.
    pub(crate) fn is_active(&self) -> bool {
        self.status == ClusterStatus::Active
    }

    /// Moves it to another state.
    pub(crate) fn enter(&mut self, status: ClusterStatus, revision: u64) {
        self.status = status;
        self.status_after = revision;
    }
}

impl Record for Cluster {
    const KIND: &'static str = "eks.cluster";
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// A cluster that somebody else runs, and that was registered here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectedCluster {
    pub(crate) name: String,
    pub(crate) provider: String,
    pub(crate) role_arn: String,
    pub(crate) activation_id: String,
    pub(crate) activation_code: String,
    pub(crate) activation_expiry: Timestamp,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
}

impl Record for ConnectedCluster {
    const KIND: &'static str = "eks.connected-cluster";
    fn id(&self) -> String {
        self.name.clone()
    }
}
