//! The typed state. Each record is one resource; tags are records of their own, so that tagging works
//! alike for every kind of resource.

mod address;
mod cidr_reservation;
mod dhcp_options;
mod image;
mod instance;
mod interface;
mod internet_gateway;
mod key_pair;
mod nat_gateway;
mod network_acl;
mod peer_transit;
mod prefix_list;
mod profile_association;
mod route_table;
mod security_group;
mod subnet;
mod tags;
mod transit;
mod vpc;
mod vpc_endpoint;
mod vpc_peering;

pub use address::{Address, AddressAssociation};
pub use cidr_reservation::{
    ReservationType, ReservedAddresses, SubnetCidrReservation, SubnetCidrReservationId,
    reserved_addresses,
};
pub use dhcp_options::{DhcpOptions, options_id};
pub use image::DirectoryImage;
pub use instance::{
    Instance, InstanceOptions, InstanceState, MetadataOptions, PrivateDnsNames, ROOT_DEVICE,
    ShutdownBehavior, Volume,
};
pub use interface::{Attachment, Manager, NetworkInterface, PrivateAddress, PublicAddress};
pub use internet_gateway::InternetGateway;
pub use key_pair::{KeyKind, KeyPair};
pub use nat_gateway::{NatAddresses, NatGateway};
pub use network_acl::{AclEntry, NetworkAcl};
pub use peer_transit::{PeerTransit, ToldPeering, ToldTransit};
pub use prefix_list::{ListEntry, ManagedPrefixList};
pub use profile_association::{ProfileAssociation, RoleSession};
pub use route_table::{Destination, Route, RouteTable, TableAssociation, Target};
pub use security_group::{Direction, RuleSource, SecurityGroup, SecurityGroupRule};
pub use subnet::Subnet;
pub use tags::ResourceTags;
pub use transit::{
    AttachedTo, AttachmentState, Life, LifeState, LinkState, PeeringEnd, StaticTarget, TableLink,
    TransitAttachment, TransitGateway, TransitOptions, TransitRouteTable, TunnelEnd, VpcEnd,
};
pub use vpc::{CidrBlock, Vpc};
pub use vpc_endpoint::{
    EndpointDnsOptions, EndpointFailure, EndpointOf, EndpointResource, ResourceAtEndpoint,
    VpcEndpoint,
};
pub use vpc_peering::{PeeringSide, PeeringState, VpcPeering};
