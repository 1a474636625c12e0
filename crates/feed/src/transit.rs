//! Desired state of what joins networks: Transit Gateways, NAT gateways, VPC endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use lath_model::id::*;
use serde::{Deserialize, Serialize};

/// A Transit Gateway: a router between VPCs and other gateways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitGateway {
    /// Its id.
    pub id: TransitGatewayId,
    /// What is attached to it.
    pub attachments: BTreeMap<TransitGatewayAttachmentId, TransitAttachment>,
    /// Its route tables.
    pub route_tables: BTreeMap<TransitGatewayRouteTableId, TransitRouteTable>,
}

/// An attachment to a Transit Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitAttachment {
    /// Its id.
    pub id: TransitGatewayAttachmentId,
    /// What is at its other end.
    pub to: TransitPeer,
    /// The table in which packets that come from it are looked up. None: they are dropped.
    pub route_table: Option<TransitGatewayRouteTableId>,
}

/// The other end of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransitPeer {
    /// A VPC of this region.
    Vpc {
        /// The VPC.
        vpc: VpcId,
        /// One per availability zone: only these zones reach the gateway.
        subnets: BTreeSet<SubnetId>,
    },
    /// Another gateway of this region, by the attachment at its side.
    Local {
        /// The other gateway.
        gateway: TransitGatewayId,
        /// Its attachment.
        attachment: TransitGatewayAttachmentId,
    },
    /// A gateway of another region, through a WireGuard tunnel of its own.
    Tunnel(PeeringTunnel),
}

/// A tunnel between two gateways, from this side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringTunnel {
    /// The other side's region.
    pub region: String,
    /// The other side's gateway.
    pub gateway: TransitGatewayId,
    /// This side's key.
    pub private_key: PrivateKey,
    /// This side's UDP port on its underlay address.
    pub port: u16,
    /// The other side's public key.
    pub peer_public_key: [u8; 32],
    /// Where the other side listens.
    pub peer: SocketAddrV4,
}

/// An X25519 private key. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateKey(pub [u8; 32]);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A route table of a Transit Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitRouteTable {
    /// Its id.
    pub id: TransitGatewayRouteTableId,
    /// Its effective routes: for each destination the one that won (static before propagated). The
    /// longest prefix decides; what no route fits is dropped.
    pub routes: BTreeMap<Ipv4Net, TransitTarget>,
}

/// Where a route of a Transit Gateway leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransitTarget {
    /// Out through an attachment.
    Attachment(TransitGatewayAttachmentId),
    /// Dropped.
    Blackhole,
}

/// A NAT gateway: sources of its VPC leave with its own address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// Its id.
    pub id: NatGatewayId,
    /// The subnet it is in: its packets use that subnet's route table.
    pub subnet: SubnetId,
    /// Its interface, which is also among the VPC's interfaces.
    pub interface: NetworkInterfaceId,
    /// Its address in the subnet.
    pub private: Ipv4Addr,
    /// Its elastic address; `None` for a private NAT gateway.
    pub public: Option<Ipv4Addr>,
}

/// A VPC endpoint of type ServiceNetwork or Resource: a service network's services and resources, or one resource, at
/// addresses of the VPC, which other networks reach by routing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcEndpoint {
    /// Its id.
    pub id: VpcEndpointId,
    /// Whose services it offers; each is chosen by its name in `Host`. `None` for the type Resource.
    pub service_network: Option<ServiceNetworkId>,
    /// Its interface and address in each subnet. The interfaces are also among the VPC's.
    pub addresses: BTreeMap<SubnetId, (NetworkInterfaceId, Ipv4Addr)>,
    /// The groups that guard it.
    pub security_groups: BTreeSet<SecurityGroupId>,
    /// The name of each service's association with the endpoint: public, answered everywhere with
    /// `addresses`.
    pub names: BTreeMap<ServiceId, String>,
    /// What it leads to by TCP; no two share an address.
    #[serde(default)]
    pub resources: BTreeMap<ResourceConfigurationId, EndpointResource>,
}

/// A resource at addresses of a VPC endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointResource {
    /// By which the endpoint's service network has it; `None` where the endpoint is of type Resource.
    pub association: Option<ServiceNetworkResourceAssociationId>,
    /// Its address in each subnet.
    pub addresses: BTreeMap<SubnetId, Ipv4Addr>,
    /// The user's own name for it in the endpoint's VPC, where private DNS gives it: lower case, without a trailing dot.
    pub private_name: Option<String>,
}

/// The label before every region's `vpc-lattice-rsc` domain, as AWS has it.
pub const RESOURCE_DOMAIN_LABEL: &str = "4232ccc";

/// The public name of a resource at an endpoint, as AWS forms it: of a service network's association with it, where the
/// endpoint is of type ServiceNetwork.
pub fn endpoint_resource_name(
    endpoint: &VpcEndpointId,
    association: Option<&ServiceNetworkResourceAssociationId>,
    resource: &ResourceConfigurationId,
    region: &str,
) -> String {
    let association = association.map_or_else(String::new, |id| format!("-{id}"));
    let domain = format!("{RESOURCE_DOMAIN_LABEL}.vpc-lattice-rsc.{region}.on.aws");
    format!("{endpoint}{association}.{resource}.{domain}")
}

/// The public name of a service at an endpoint, as AWS forms it: unique for the endpoint and the service
/// network's association with the service.
pub fn endpoint_name(
    endpoint: &VpcEndpointId,
    association: &ServiceNetworkServiceAssociationId,
    region: &str,
) -> String {
    format!("{endpoint}-{association}.7d67968.vpc-lattice-svcs.{region}.on.aws")
}
