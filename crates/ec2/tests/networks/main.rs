//! The operations on networks, called as clients call them.

mod addresses;
mod api;
mod cidr_reservations;
mod default_vpc;
mod dhcp_options;
mod feed;
mod groups;
mod interfaces;
mod lists;
mod nat;
mod network_acls;
mod peering;
mod routes;
mod tags;
mod transit;
mod vpc_peering;
mod vpcs;
