//! EC2's networks: VPCs and what they are made of, without Transit Gateways.
//!
//! [`PARTS`] are the operations and the kinds of resources, [`CONTRIBUTIONS`] turn the state into the part of the feed that
//! nodes obey, and [`reconcile()`] takes over what nodes observe.

mod addresses;
mod cidr_reservations;
mod feed;
pub mod interfaces;
mod internet_gateways;
pub mod managed_groups;
mod nat_gateways;
mod network_acls;
mod prefix_lists;
mod reconcile;
mod reverse_names;
mod route_tables;
mod security_groups;
mod subnets;
#[cfg(test)]
mod testing;
mod vpc_endpoints;
mod vpc_peering;
mod vpcs;

pub use feed::CONTRIBUTIONS;
pub use network_acls::complete as complete_network_acls;
pub use reconcile::{AdvanceTransit, reconcile};
pub use vpc_endpoints::public_names;
pub use vpcs::block;
pub use vpcs::default::{find as default_vpc, furnish as furnish_default_vpc};

use lath_ec2_kit::Part;
use lath_ec2_records::resources::*;
use lath_ec2_records::transit;
use lath_model::id::VpcId;
use lath_store::View;

/// Whether rules of groups of one VPC may name groups of the other: a Transit Gateway that takes such references, or a peering
/// connection, joins the two.
pub(crate) fn joined(view: &View, one: &VpcId, other: &VpcId) -> bool {
    transit::joining(view, one, other).is_some() || vpc_peering::joins(view, one, other)
}

/// What networks are made of: a line for each module's operations and the kinds of resources that they make.
pub static PARTS: &[Part] = &[
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
    Part::new(nat_gateways::register, &[&NAT_GATEWAY]),
    Part::new(vpc_endpoints::register, &[&VPC_ENDPOINT]),
    Part::new(vpc_peering::register, &[&VPC_PEERING]),
];
