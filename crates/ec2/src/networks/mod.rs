//! What networks are made of, and the operations on it.

mod addresses;
mod cidr_reservations;
pub mod interfaces;
mod internet_gateways;
pub(crate) mod nat_gateways;
pub(crate) mod network_acls;
pub(crate) mod prefix_lists;
mod reconcile;
mod reverse_names;
pub(crate) mod route_tables;
pub(crate) mod security_groups;
mod subnets;
#[cfg(test)]
pub(crate) mod testing;
pub mod transit;
pub(crate) mod vpc_endpoints;
pub(crate) mod vpc_peering;
pub(crate) mod vpcs;

pub use reconcile::reconcile;

use lath_model::id::VpcId;
use lath_store::View;

use lath_ec2_kit::Part;
use lath_ec2_records::resources::*;

/// Whether rules of groups of one VPC may name groups of the other: a Transit Gateway that takes such references, or a peering
/// connection, joins the two.
pub(crate) fn joined(view: &View, one: &VpcId, other: &VpcId) -> bool {
    lath_ec2_records::transit::joins(view, one, other) || vpc_peering::joins(view, one, other)
}

/// What networks are made of: a line for each module's operations and the kinds of resources that they make.
pub(crate) static PARTS: &[Part] = &[
    Part::new(crate::tags::register, &[]),
    Part::new(vpcs::register, &[&VPC, &DHCP_OPTIONS]),
    Part::new(subnets::register, &[&SUBNET]),
    Part::new(cidr_reservations::register, &[&SUBNET_CIDR_RESERVATION]),
    Part::new(internet_gateways::register, &[&INTERNET_GATEWAY]),
    Part::new(route_tables::register, &[&ROUTE_TABLE]),
    Part::new(
        security_groups::register,
        &[&SECURITY_GROUP, &SECURITY_GROUP_RULE],
    ),
    Part::new(prefix_lists::register, &[&PREFIX_LIST]),
    Part::new(interfaces::register, &[&NETWORK_INTERFACE]),
    Part::new(addresses::register, &[&ELASTIC_IP]),
    Part::new(reverse_names::register, &[]),
    Part::new(network_acls::register, &[&NETWORK_ACL]),
    Part::new(
        transit::register,
        &[&TRANSIT_GATEWAY, &TRANSIT_ATTACHMENT, &TRANSIT_ROUTE_TABLE],
    ),
    Part::new(nat_gateways::register, &[&NAT_GATEWAY]),
    Part::new(vpc_endpoints::register, &[&VPC_ENDPOINT]),
    Part::new(vpc_peering::register, &[&VPC_PEERING]),
];
