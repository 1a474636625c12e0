//! The typed state. Each record is one resource; tags are records of their own, so that tagging works
//! alike for every kind of resource.

mod address;
mod image;
mod instance;
mod interface;
mod internet_gateway;
mod key_pair;
mod prefix_list;
mod route_table;
mod security_group;
mod subnet;
mod tags;
mod vpc;

pub use address::{Address, AddressAssociation};
pub use image::DirectoryImage;
pub use instance::{Instance, InstanceState, MetadataOptions, RootVolume, ShutdownBehavior};
pub use interface::{Attachment, NetworkInterface, PrivateAddress, PublicAddress};
pub use internet_gateway::InternetGateway;
pub use key_pair::{KeyKind, KeyPair};
pub use prefix_list::{ListEntry, ManagedPrefixList};
pub use route_table::{Destination, Route, RouteTable, TableAssociation, Target};
pub use security_group::{Direction, RuleSource, SecurityGroup, SecurityGroupRule};
pub use subnet::Subnet;
pub use tags::ResourceTags;
pub use vpc::{CidrBlock, Vpc};

use lath_store::Kinds;

/// The kinds that networks are made of.
pub(crate) fn network_kinds(kinds: Kinds) -> Kinds {
    kinds
        .with::<Vpc>()
        .with::<Subnet>()
        .with::<InternetGateway>()
        .with::<RouteTable>()
        .with::<SecurityGroup>()
        .with::<ManagedPrefixList>()
        .with::<NetworkInterface>()
        .with::<Address>()
        .with::<ResourceTags>()
}

/// The kinds that instances are made of.
pub(crate) fn instance_kinds(kinds: Kinds) -> Kinds {
    kinds
        .with::<Instance>()
        .with::<KeyPair>()
        .with::<DirectoryImage>()
}
