//! What other services make in the account's VPCs in its name: interfaces of their workloads, security groups, instances
//! that are nodes of clusters. All of it is visible to EC2, and is refused or allowed to the user as AWS does it.
//!
//! Each function runs in the caller's transaction, so that a service's record and what it made come together or not at
//! all.

mod nodes;
mod templates;

pub use lath_ec2_network::managed_groups::{
    NewGroup, cluster_group, delete_group, remote_access_group,
};
pub use lath_ec2_records::managed::*;
pub use nodes::{
    NewNode, NodeType, add_prefix, is_gone, key_pair, launch_node, max_pods, node_type,
    terminate_node, update_node,
};
pub use templates::{LAUNCH_TEMPLATE_TYPE, NodeTemplate, node_template, template_id};
