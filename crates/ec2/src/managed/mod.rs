//! What other services make in the account's VPCs in its name: interfaces of their workloads, security groups, instances
//! that are nodes of clusters. All of it is visible to EC2, and is refused or allowed to the user as AWS does it.
//!
//! Each function runs in the caller's transaction, so that a service's record and what it made come together or not at
//! all.

mod branches;
mod endpoints;
mod gateways;
mod groups;
mod interfaces;
mod nodes;
mod templates;
#[cfg(test)]
mod tests;

pub use branches::{MOST_GROUPS, NewBranch, branches_of, is_behind, make_branch, release_branch};
pub use endpoints::{fail_endpoint, set_endpoint_resources};
pub use gateways::{
    make_gateway_interface, of_gateway, release_gateway, set_gateway_groups, subnets_of_gateway,
};
pub use groups::{NewGroup, cluster_group, delete_group, remote_access_group};
pub use interfaces::{ManagedInterface, make_interface, of_workload, release_interfaces};
pub use nodes::{
    NewNode, NodeType, add_prefix, free_addresses, is_gone, key_pair, launch_node, max_pods,
    node_type, primary_interface, terminate_node, update_node,
};
pub use templates::{LAUNCH_TEMPLATE_TYPE, NodeTemplate, node_template, template_id};
