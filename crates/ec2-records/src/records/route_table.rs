use std::fmt;

use ipnet::IpNet;
use lath_model::id::{
    InternetGatewayId, NatGatewayId, NetworkInterfaceId, PrefixListId, RouteTableAssociationId,
    RouteTableId, SubnetId, TransitGatewayId, VpcId, VpcPeeringConnectionId,
};
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A route table of a VPC. The local routes follow from the VPC's blocks and are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Its id.
    pub id: RouteTableId,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The account.
    pub owner: String,
    /// What uses it.
    pub associations: Vec<TableAssociation>,
    /// The routes that were added to it.
    pub routes: Vec<Route>,
}

/// A route table's association.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableAssociation {
    /// Its id.
    pub id: RouteTableAssociationId,
    /// The subnet; `None` makes the table the VPC's main one.
    pub subnet: Option<SubnetId>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where packets are bound.
    pub destination: Destination,
    /// Where they go.
    pub target: Target,
}

/// What a route covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// A block.
    Cidr(IpNet),
    /// Every block of a managed prefix list.
    PrefixList(PrefixListId),
}

/// Where a route leads. It may be gone: then the route drops packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// An internet gateway.
    InternetGateway(InternetGatewayId),
    /// A network interface.
    Interface(NetworkInterfaceId),
    /// A NAT gateway.
    NatGateway(NatGatewayId),
    /// A Transit Gateway that the VPC is attached to.
    TransitGateway(TransitGatewayId),
    /// A VPC peering connection.
    VpcPeering(VpcPeeringConnectionId),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(cidr) => cidr.fmt(f),
            Self::PrefixList(id) => id.fmt(f),
        }
    }
}

impl RouteTable {
    /// Whether it is its VPC's main table.
    pub fn is_main(&self) -> bool {
        self.associations.iter().any(|it| it.subnet.is_none())
    }

    /// Whether the subnet is associated with it by name.
    pub fn has_subnet(&self, subnet: &SubnetId) -> bool {
        self.associations
            .iter()
            .any(|it| it.subnet.as_ref() == Some(subnet))
    }
}

impl Record for RouteTable {
    const KIND: &'static str = "ec2.route-table";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let subnets = self.associations.iter().filter_map(|it| it.subnet.as_ref());
        let subnets = subnets.map(|subnet| ("subnet", subnet.to_string()));
        let vpc = std::iter::once(("vpc", self.vpc.to_string()));
        let all = self.associations.iter();
        let associations = all.map(|it| ("association", it.id.to_string()));
        vpc.chain(subnets).chain(associations).collect()
    }
}
