use std::collections::BTreeMap;

use lath_ec2_compute::managed::NodeTemplate;
use lath_model::Timestamp;
use lath_model::id::{InstanceId, SecurityGroupId, SubnetId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::{Issue, key};
use crate::shape::{
    CapacityType, NodeRepairConfig, NodegroupStatus, NodegroupUpdateConfig, RemoteAccessConfig,
    Taint,
};

/// A node group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeGroup {
    pub(crate) cluster: String,
    pub(crate) name: String,
    /// The end of its ARN.
    pub(crate) uuid: String,
    /// Such as `1.37`.
    pub(crate) version: String,
    /// Such as `1.37.2-20251105`.
    pub(crate) release_version: String,
    pub(crate) min: i32,
    pub(crate) max: i32,
    pub(crate) desired: i32,
    pub(crate) subnets: Vec<SubnetId>,
    pub(crate) instance_types: Vec<String>,
    pub(crate) ami_type: String,
    pub(crate) capacity_type: CapacityType,
    pub(crate) disk_size: i32,
    /// What its user's launch template says of its nodes.
    #[serde(default)]
    pub(crate) template: Option<NodeTemplate>,
    pub(crate) remote_access: Option<RemoteAccessConfig>,
    /// The group that lets SSH in.
    pub(crate) remote_group: Option<SecurityGroupId>,
    pub(crate) node_role: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) update: NodegroupUpdateConfig,
    pub(crate) repair: Option<NodeRepairConfig>,
    pub(crate) status: NodegroupStatus,
    /// Since when.
    pub(crate) status_since: Timestamp,
    pub(crate) issues: Vec<Issue>,
    /// Grows with each change after which nodes are replaced.
    pub(crate) generation: u64,
    /// A replacement of all nodes that is under way.
    pub(crate) rollout: Option<Rollout>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
}

/// A replacement of all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rollout {
    /// The update that asked for it.
    pub(crate) update: String,
    /// Whether pods that cannot be evicted in time are deleted with their node.
    pub(crate) force: bool,
    /// When a node was last told to let its pods go, or ended after that.
    #[serde(default)]
    pub(crate) stepped_at: Option<Timestamp>,
}

impl NodeGroup {
    pub(crate) fn key(&self) -> String {
        key(&self.cluster, &self.name)
    }

    /// Moves it to another state.
    pub(crate) fn enter(&mut self, status: NodegroupStatus, now: Timestamp) {
        if self.status != status {
            self.status = status;
            self.status_since = now;
        }
    }

    /// What AWS calls the Auto Scaling group that it makes for a node group, and the launch template and instance profile.
    pub(crate) fn auto_scaling_group(&self) -> String {
        format!("eks-{}-{}", self.name, self.uuid)
    }

    /// How many nodes may be unavailable at a time while they are replaced.
    pub(crate) fn max_unavailable(&self) -> usize {
        let percentage = self.update.max_unavailable_percentage;
        let desired = i64::from(self.desired);
        let of_percentage = percentage.map(|share| (desired * i64::from(share) + 99) / 100);
        let given = self.update.max_unavailable.map(i64::from);
        let most = of_percentage.or(given).unwrap_or(1);
        usize::try_from(most.max(1)).unwrap_or(1)
    }
}

impl Record for NodeGroup {
    const KIND: &'static str = "eks.node-group";
    fn id(&self) -> String {
        self.key()
    }
}

/// A node that a group launched, until nothing of its instance is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) instance: InstanceId,
    pub(crate) cluster: String,
    pub(crate) group: String,
    /// The group's generation when it was launched.
    pub(crate) generation: u64,
    pub(crate) launched_at: Timestamp,
    /// When it was told to let its pods go.
    pub(crate) draining_since: Option<Timestamp>,
    /// Whether its pods leave it against their disruption budgets.
    #[serde(default)]
    pub(crate) forced: bool,
}

impl Record for Node {
    const KIND: &'static str = "eks.node";
    fn id(&self) -> String {
        self.instance.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("group", key(&self.cluster, &self.group))]
    }
}
