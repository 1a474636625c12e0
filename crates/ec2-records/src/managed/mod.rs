//! What other services make in the account's VPCs in its name: interfaces of their workloads and what endpoints lead to.
//! All of it is visible to EC2, and is refused or allowed to the user as AWS does it.
//!
//! Each function runs in the caller's transaction, so that a service's record and what it made come together or not at
//! all.

mod branches;
mod endpoints;
mod gateways;
mod interfaces;

use std::sync::Arc;

use lath_model::id::InstanceId;
use lath_store::View;

use crate::{Instance, NetworkInterface};

pub use crate::interfaces::free_addresses;
pub use branches::{MOST_GROUPS, NewBranch, branches_of, is_behind, make_branch, release_branch};
pub use endpoints::{fail_endpoint, set_endpoint_resources};
pub use gateways::{
    make_gateway_interface, of_gateway, release_gateway, set_gateway_groups, subnets_of_gateway,
};
pub use interfaces::{ManagedInterface, make_interface, of_workload, release_interfaces};

/// The primary interface of an instance.
pub fn primary_interface(view: &View, instance: &InstanceId) -> Option<Arc<NetworkInterface>> {
    let instance = view.get::<Instance>(instance.as_str())?;
    view.get(instance.primary_interface.as_ref()?.as_str())
}
