//! Desired state of a VPC: its networking, and what guards that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4AddrRange, Ipv4Net};
use lath_model::id::*;
use lath_model::{ManagedId, WorkloadId};
use serde::{Deserialize, Serialize};

use crate::{DhcpOptions, NatGateway, VpcEndpoint};

/// A VPC: an isolated network with its router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// Who owns it.
    pub owner: String,
    /// Its IPv4 blocks, the primary one first.
    pub cidrs: Vec<Ipv4Net>,
    /// Whether the resolver at base+2 and 169.254.169.253 answers.
    pub dns_support: bool,
    /// Whether public host names are given out.
    pub dns_hostnames: bool,
    /// What its DHCP options tell its instances; `None`: the region's options, which name the VPC's resolver and the domain
    /// of the instances' private names.
    #[serde(default)]
    pub dhcp_options: Option<DhcpOptions>,
    /// Its subnets.
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// Its route tables, the ones without subnets included.
    pub route_tables: BTreeMap<RouteTableId, RouteTable>,
    /// The attached internet gateway.
    pub internet_gateway: Option<InternetGatewayId>,
    /// Every interface in the VPC.
    pub interfaces: BTreeMap<NetworkInterfaceId, Interface>,
    /// The Lattice service network association.
    pub lattice: Option<LatticeAssociation>,
    /// Its NAT gateways.
    #[serde(default)]
    pub nat_gateways: BTreeMap<NatGatewayId, NatGateway>,
    /// Its endpoints of type ServiceNetwork.
    #[serde(default)]
    pub endpoints: BTreeMap<VpcEndpointId, VpcEndpoint>,
    /// Its network ACLs.
    #[serde(default)]
    pub network_acls: BTreeMap<NetworkAclId, NetworkAcl>,
    /// Its connections with other VPCs.
    #[serde(default)]
    pub peerings: BTreeMap<VpcPeeringConnectionId, VpcPeer>,
}

/// A VPC peering connection, as one of its sides sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcPeer {
    /// Its id, which both sides know it by.
    pub id: VpcPeeringConnectionId,
    /// The VPC of the other side.
    pub vpc: VpcId,
    /// Whether public names of the other side resolve to private addresses on this one.
    pub shares_names: bool,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// Its block. The gateway is base+1.
    pub cidr: Ipv4Net,
    /// The table its packets use: its own, or the VPC's main one.
    pub route_table: RouteTableId,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// The network ACL that judges what crosses its edge; `None`: everything passes. One that the VPC does not have denies
    /// everything.
    #[serde(default)]
    pub network_acl: Option<NetworkAclId>,
}

/// A network ACL: rules without memory at the edge of its subnets. What no entry matches is denied
/// (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// Its id.
    pub id: NetworkAclId,
    /// What judges packets that enter a subnet, in the order in which it is asked.
    pub ingress: Vec<AclEntry>,
    /// What judges packets that leave a subnet, in the order in which it is asked.
    pub egress: Vec<AclEntry>,
}

/// An entry of a network ACL: the first one that matches a packet decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// Whether the packet passes.
    pub allow: bool,
    /// What it covers.
    pub traffic: Traffic,
    /// Where packets that enter come from, and packets that leave are bound.
    pub cidr: IpNet,
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Its id.
    pub id: RouteTableId,
    /// Its routes, the local ones included. Longest prefix wins.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where packets are bound.
    pub destination: Ipv4Net,
    /// Where they go.
    pub target: RouteTarget,
}

/// A route's target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Inside the VPC.
    Local,
    /// The internet gateway: only for sources that have a public address.
    InternetGateway(InternetGatewayId),
    /// An interface that forwards (its source/destination check is off).
    Interface(NetworkInterfaceId),
    /// A NAT gateway of the same VPC.
    NatGateway(NatGatewayId),
    /// A Transit Gateway that the VPC is attached to. It takes packets only from availability zones in
    /// which the attachment has a subnet.
    TransitGateway(TransitGatewayId),
    /// A peering connection of the VPC.
    VpcPeering(VpcPeeringConnectionId),
    /// The target is gone: packets are dropped.
    Blackhole,
}

/// An elastic network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// The subnet it is in.
    pub subnet: SubnetId,
    /// Such as `02:00:0a:00:01:0a`.
    pub mac: String,
    /// Its private addresses, the primary one first.
    pub addresses: Vec<InterfaceAddress>,
    /// The groups that guard it.
    pub security_groups: BTreeSet<SecurityGroupId>,
    /// Whether packets from or to other addresses are dropped.
    pub source_dest_check: bool,
    /// What it is attached to.
    pub attachment: Option<Attachment>,
    /// Blocks that are routed to the interface besides its addresses, such as those from which a Kubernetes node
    /// gives addresses to its pods. Packets from them are its own.
    #[serde(default)]
    pub prefixes: Vec<Ipv4Net>,
    /// Interfaces behind it, each with groups of its own: those of pods of a node.
    #[serde(default)]
    pub branches: Vec<Branch>,
}

impl Interface {
    /// Whether an address is the interface's own: one of its addresses, in one of its prefixes, or of a branch.
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.private_addresses().any(|own| own == address)
            || self.prefixes.iter().any(|prefix| prefix.contains(&address))
            || self.branches.iter().any(|it| it.address == address)
    }

    /// Its private addresses, the primary one first.
    pub fn private_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.iter().map(|address| address.private)
    }

    /// Every address that its own groups guard, those in its prefixes included.
    pub fn guarded_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let prefixes = self.prefixes.iter();
        let prefixed =
            prefixes.flat_map(|prefix| Ipv4AddrRange::new(prefix.network(), prefix.broadcast()));
        self.private_addresses().chain(prefixed)
    }

    /// Every address that it owns: also those of its branches.
    pub fn owned_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let branches = self.branches.iter().map(|it| it.address);
        self.guarded_addresses().chain(branches)
    }

    /// The addresses that make it and its branches members of a group.
    pub fn members(&self, group: &SecurityGroupId) -> impl Iterator<Item = Ipv4Addr> {
        let is_member = self.security_groups.contains(group);
        let own = is_member.then(|| self.guarded_addresses());
        let branches = self.branches.iter();
        let branches = branches.filter(|it| it.security_groups.contains(group));
        own.into_iter()
            .flatten()
            .chain(branches.map(|it| it.address))
    }

    /// The device index at a workload, where the interface is attached to it.
    pub fn device_at(&self, workload: &WorkloadId) -> Option<u32> {
        let attachment = self.attachment.as_ref();
        let its = attachment.filter(|attachment| attachment.workload == *workload);
        its.map(|attachment| attachment.device)
    }
}

/// An interface behind another one, with an address and groups of its own. Packets reach it by the one before it, whose
/// workload has the other end: the pod of a Kubernetes node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// Such as `02:00:0a:00:01:0a`.
    pub mac: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The groups that guard it, in the place of those of the interface before it.
    pub security_groups: BTreeSet<SecurityGroupId>,
    /// The unique id of the pod that it was made for.
    pub pod: String,
}

/// What an interface is attached to. Written as a pair, as before workloads other than instances were known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(WorkloadId, u32)", into = "(WorkloadId, u32)")]
pub struct Attachment {
    /// Whose interface it is.
    pub workload: WorkloadId,
    /// The device index there; 0 is the primary interface.
    pub device: u32,
}

impl From<(WorkloadId, u32)> for Attachment {
    fn from((workload, device): (WorkloadId, u32)) -> Self {
        Self { workload, device }
    }
}

impl From<Attachment> for (WorkloadId, u32) {
    fn from(attachment: Attachment) -> Self {
        (attachment.workload, attachment.device)
    }
}

/// A workload of a VPC that is no instance: processes with a network of their own, which another service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedWorkload {
    /// Its id.
    pub id: ManagedId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Where its network namespace comes from.
    pub namespace: NamespaceOrigin,
}

/// Where a workload's network namespace comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceOrigin {
    /// The fabric makes it, and the workload's processes enter it.
    #[default]
    Fabric,
    /// The workload's runtime makes it, such as inside the workload's own user namespace, so that root there owns
    /// it, and hands it to the fabric, which wires it from outside.
    HandedOver,
}

/// A private address and the public one mapped to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// Inside the subnet.
    pub private: Ipv4Addr,
    /// Mapped by the internet gateway.
    pub public: Option<Ipv4Addr>,
}

/// A VPC's association with a service network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatticeAssociation {
    /// The association.
    pub id: ServiceNetworkVpcAssociationId,
    /// The network.
    pub service_network: ServiceNetworkId,
    /// Their inbound rules say who may reach the network from this VPC. None: everyone in it.
    pub security_groups: BTreeSet<SecurityGroupId>,
}

/// A named list of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// Its id.
    pub id: PrefixListId,
    /// Its name, such as `com.amazonaws.us-east-1.vpc-lattice`.
    pub name: String,
    /// Its blocks.
    pub cidrs: BTreeSet<IpNet>,
}

/// A security group: stateful allow rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: SecurityGroupId,
    /// Its name, unique in its VPC: what the metadata service lists.
    #[serde(default)]
    pub name: String,
    /// The VPC it belongs to.
    pub vpc: VpcId,
    /// What may come in.
    pub ingress: Vec<SecurityRule>,
    /// What may go out.
    pub egress: Vec<SecurityRule>,
}

/// One allow rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecurityRule {
    /// What it covers.
    pub traffic: Traffic,
    /// The other side.
    pub peer: Peer,
}

/// Protocol and ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Traffic {
    /// Everything.
    All,
    /// TCP to these ports, inclusive.
    Tcp(u16, u16),
    /// UDP to these ports, inclusive.
    Udp(u16, u16),
    /// ICMP of this type and code; `None` is any.
    Icmp(Option<u8>, Option<u8>),
    /// ICMPv6 of this type and code; `None` is any.
    Icmpv6(Option<u8>, Option<u8>),
    /// Any other IP protocol.
    Protocol(u8),
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    /// A block.
    Cidr(IpNet),
    /// The members of a group.
    Group(SecurityGroupId),
    /// The blocks of a list.
    PrefixList(PrefixListId),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface as the version before wrote it, when only instances had interfaces.
    #[derive(Serialize)]
    struct Former {
        id: NetworkInterfaceId,
        subnet: SubnetId,
        mac: String,
        addresses: Vec<InterfaceAddress>,
        security_groups: BTreeSet<SecurityGroupId>,
        source_dest_check: bool,
        attachment: Option<(InstanceId, u32)>,
    }

    #[test]
    fn an_interface_of_the_version_before_is_read() {
        let former = Former {
            id: NetworkInterfaceId::random(),
            subnet: SubnetId::random(),
            mac: "02:00:0a:00:01:0a".into(),
            addresses: Vec::new(),
            security_groups: BTreeSet::new(),
            source_dest_check: true,
            attachment: Some((InstanceId::random(), 1)),
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&former, &mut bytes).unwrap();
        let now: Interface = ciborium::from_reader(&bytes[..]).unwrap();
        let (instance, device) = former.attachment.unwrap();
        assert_eq!(now.device_at(&instance.into()), Some(device));
        assert!(now.prefixes.is_empty());
    }
}
