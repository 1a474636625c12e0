//! Resources of Lattice: what is reached by TCP through a gateway in its VPC.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_model::id::{
    NetworkInterfaceId, ResourceConfigurationId, ResourceGatewayId, SecurityGroupId,
    ServiceNetworkId, ServiceNetworkResourceAssociationId, SubnetId, VpcId,
};
use serde::{Deserialize, Serialize};

use crate::AccessLogDestination;

/// Where VPCs that are associated with a service network reach its resources: an address for each association
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/resource-configuration.html>).
pub const RESOURCE_BLOCK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(129, 224, 0, 0), 17);

/// A resource gateway: addresses of a VPC from which resources are connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceGateway {
    /// Its id.
    pub id: ResourceGatewayId,
    /// The VPC of its resources.
    pub vpc: VpcId,
    /// Its interfaces, by their subnets.
    pub interfaces: BTreeMap<SubnetId, GatewayInterface>,
    /// Their outbound rules say what the gateway may connect.
    pub security_groups: BTreeSet<SecurityGroupId>,
}

impl ResourceGateway {
    /// All its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let interfaces = self.interfaces.values();
        interfaces.flat_map(|interface| interface.addresses.iter().copied())
    }
}

/// An interface of a resource gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayInterface {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// Its addresses, the primary one first.
    pub addresses: Vec<Ipv4Addr>,
}

/// A resource: an address or a name, and ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its configuration's id.
    pub id: ResourceConfigurationId,
    /// Its configuration's ARN.
    pub arn: String,
    /// The gateway that it is connected from.
    pub gateway: ResourceGatewayId,
    /// What is connected.
    pub target: ResourceTarget,
    /// The ports that may be connected: inclusive ranges, ascending, apart from each other.
    pub ports: Vec<(u16, u16)>,
    /// Where its access logs go.
    pub access_logs: Vec<AccessLogDestination>,
}

impl Resource {
    /// Whether a port is one of the resource's.
    pub fn has_port(&self, port: u16) -> bool {
        let mut ports = self.ports.iter();
        ports.any(|(first, last)| (*first..=*last).contains(&port))
    }
}

/// What a resource is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceTarget {
    /// An address that the gateway's VPC leads to.
    Address(Ipv4Addr),
    /// A name, looked up for each connection.
    Name {
        /// Without a trailing dot.
        name: String,
        /// Whether the VPC's resolver is asked, and not the public DNS.
        in_vpc: bool,
    },
}

/// A service network's association with a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceAssociation {
    /// Its id.
    pub id: ServiceNetworkResourceAssociationId,
    /// The network.
    pub network: ServiceNetworkId,
    /// The network's ARN.
    pub network_arn: String,
    /// The resource.
    pub resource: ResourceConfigurationId,
    /// The address in [`RESOURCE_BLOCK`] that its names answer, the same in every VPC.
    pub address: Ipv4Addr,
    /// The generated name.
    pub domain_name: String,
    /// The user's own name for it, where private DNS gives it.
    pub private_name: Option<PrivateName>,
    /// Where the network's access logs of resources go.
    pub access_logs: Vec<AccessLogDestination>,
}

/// A name that is answered in some VPCs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateName {
    /// In lower case, without a trailing dot.
    pub name: String,
    /// Where.
    pub vpcs: BTreeSet<VpcId>,
}
