//! What networks are made of, and the operations on it.

mod addresses;
pub mod interfaces;
mod internet_gateways;
pub(crate) mod nat_gateways;
mod network_acls;
pub(crate) mod prefix_lists;
mod public_pool;
mod reconcile;
mod reverse_names;
pub(crate) mod route_tables;
mod security_groups;
mod subnets;
#[cfg(test)]
pub(crate) mod testing;
pub mod transit;
pub(crate) mod vpc_endpoints;
pub(crate) mod vpcs;

use std::sync::Arc;

use lath_wire::Service;

pub use reconcile::reconcile;

use crate::Ec2;

/// Registers the operations on networks.
pub(crate) fn register(service: Service, app: &Arc<Ec2>) -> Service {
    let registers = [
        crate::tags::register,
        vpcs::register,
        subnets::register,
        internet_gateways::register,
        route_tables::register,
        security_groups::register,
        prefix_lists::register,
        interfaces::register,
        addresses::register,
        reverse_names::register,
        network_acls::register,
        transit::register,
        nat_gateways::register,
        vpc_endpoints::register,
    ];
    registers
        .into_iter()
        .fold(service, |service, register| register(service, app))
}
