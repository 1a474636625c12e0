use std::collections::BTreeMap;

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{wire, words};

words! {
    /// The states of a node group.
    NodegroupStatus {
        Creating = "CREATING",
        Active = "ACTIVE",
        Updating = "UPDATING",
        Deleting = "DELETING",
        CreateFailed = "CREATE_FAILED",
        DeleteFailed = "DELETE_FAILED",
        Degraded = "DEGRADED",
    }
    /// How capacity is bought.
    CapacityType {
        OnDemand = "ON_DEMAND",
        Spot = "SPOT",
        CapacityBlock = "CAPACITY_BLOCK",
    }
    /// What a taint does to pods that do not tolerate it.
    TaintEffect {
        NoSchedule = "NO_SCHEDULE",
        NoExecute = "NO_EXECUTE",
        PreferNoSchedule = "PREFER_NO_SCHEDULE",
    }
    /// Whether new nodes come before old ones go.
    UpdateStrategy {
        Default = "DEFAULT",
        Minimal = "MINIMAL",
    }
}

wire! {
    NodegroupScalingConfig {
        min_size: Option<i32>,
        max_size: Option<i32>,
        desired_size: Option<i32>,
    }
    RemoteAccessConfig {
        ec2_ssh_key: Option<String>,
        source_security_groups: Option<Vec<String>>,
    }
    Taint {
        key: Option<String>,
        value: Option<String>,
        effect: Option<TaintEffect>,
    }
    LaunchTemplateSpecification {
        name: Option<String>,
        version: Option<String>,
        id: Option<String>,
    }
    NodegroupUpdateConfig {
        max_unavailable: Option<i32>,
        max_unavailable_percentage: Option<i32>,
        update_strategy: Option<UpdateStrategy>,
    }
    NodeRepairConfig {
        enabled: Option<bool>,
        max_unhealthy_node_threshold_count: Option<i32>,
        max_unhealthy_node_threshold_percentage: Option<i32>,
        max_parallel_nodes_repaired_count: Option<i32>,
        max_parallel_nodes_repaired_percentage: Option<i32>,
    }
    WarmPoolConfig {
        enabled: Option<bool>,
        min_size: Option<i32>,
        max_group_prepared_capacity: Option<i32>,
    }
    CreateNodegroup {
        #[serde(rename = "name")]
        cluster_name: String,
        nodegroup_name: String,
        scaling_config: Option<NodegroupScalingConfig>,
        disk_size: Option<i32>,
        subnets: Vec<String>,
        #[serde(default)]
        instance_types: Vec<String>,
        ami_type: Option<String>,
        remote_access: Option<RemoteAccessConfig>,
        node_role: String,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        taints: Vec<Taint>,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        client_request_token: Option<String>,
        launch_template: Option<LaunchTemplateSpecification>,
        update_config: Option<NodegroupUpdateConfig>,
        node_repair_config: Option<NodeRepairConfig>,
        capacity_type: Option<CapacityType>,
        version: Option<String>,
        release_version: Option<String>,
        warm_pool_config: Option<WarmPoolConfig>,
    }
    DescribeNodegroup {
        #[serde(rename = "name")]
        cluster_name: String,
        nodegroup_name: String,
    }
    DeleteNodegroup {
        #[serde(rename = "name")]
        cluster_name: String,
        nodegroup_name: String,
    }
    ListNodegroups {
        #[serde(rename = "name")]
        cluster_name: String,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    ListNodegroupsResponse {
        nodegroups: Vec<String>,
        next_token: Option<String>,
    }
    UpdateLabelsPayload {
        #[serde(default)]
        add_or_update_labels: BTreeMap<String, String>,
        #[serde(default)]
        remove_labels: Vec<String>,
    }
    UpdateTaintsPayload {
        #[serde(default)]
        add_or_update_taints: Vec<Taint>,
        #[serde(default)]
        remove_taints: Vec<Taint>,
    }
    UpdateNodegroupConfig {
        #[serde(rename = "name")]
        cluster_name: String,
        nodegroup_name: String,
        labels: Option<UpdateLabelsPayload>,
        taints: Option<UpdateTaintsPayload>,
        scaling_config: Option<NodegroupScalingConfig>,
        update_config: Option<NodegroupUpdateConfig>,
        node_repair_config: Option<NodeRepairConfig>,
        warm_pool_config: Option<WarmPoolConfig>,
        client_request_token: Option<String>,
    }
    UpdateNodegroupVersion {
        #[serde(rename = "name")]
        cluster_name: String,
        nodegroup_name: String,
        version: Option<String>,
        release_version: Option<String>,
        launch_template: Option<LaunchTemplateSpecification>,
        force: Option<bool>,
        client_request_token: Option<String>,
    }
    AutoScalingGroup { name: Option<String>, }
    NodegroupResources {
        auto_scaling_groups: Vec<AutoScalingGroup>,
        remote_access_security_group: Option<String>,
    }
    NodegroupIssue {
        code: String,
        message: String,
        resource_ids: Vec<String>,
    }
    NodegroupHealth { issues: Vec<NodegroupIssue>, }
    /// A node group as answers show it.
    NodegroupItem {
        nodegroup_name: Option<String>,
        nodegroup_arn: Option<String>,
        cluster_name: Option<String>,
        version: Option<String>,
        release_version: Option<String>,
        created_at: Option<Timestamp>,
        modified_at: Option<Timestamp>,
        status: Option<NodegroupStatus>,
        capacity_type: Option<CapacityType>,
        scaling_config: Option<NodegroupScalingConfig>,
        instance_types: Vec<String>,
        subnets: Vec<String>,
        remote_access: Option<RemoteAccessConfig>,
        ami_type: Option<String>,
        node_role: Option<String>,
        labels: BTreeMap<String, String>,
        taints: Vec<Taint>,
        resources: Option<NodegroupResources>,
        disk_size: Option<i32>,
        health: Option<NodegroupHealth>,
        update_config: Option<NodegroupUpdateConfig>,
        node_repair_config: Option<NodeRepairConfig>,
        launch_template: Option<LaunchTemplateSpecification>,
        tags: BTreeMap<String, String>,
    }
    OneNodegroup { nodegroup: Option<NodegroupItem>, }
}
