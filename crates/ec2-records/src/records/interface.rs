use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_model::id::{
    AllocationId, AssociationId, AttachmentId, InstanceId, NatGatewayId, NetworkInterfaceId,
    ResourceGatewayId, SecurityGroupId, SubnetId, TransitGatewayAttachmentId, VpcEndpointId, VpcId,
};
use lath_model::{ManagedId, Timestamp};
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// An elastic network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The subnet it is in.
    pub subnet: SubnetId,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// The account.
    pub owner: String,
    /// What it is for.
    pub description: String,
    /// Such as `02:00:0a:00:01:0a`: unique in the VPC.
    pub mac: String,
    /// Its private addresses, the primary one first. Never empty.
    pub addresses: Vec<PrivateAddress>,
    /// The groups that guard it.
    pub groups: Vec<SecurityGroupId>,
    /// Whether packets from or to other addresses are dropped.
    pub source_dest_check: bool,
    /// The instance it is attached to.
    pub attachment: Option<Attachment>,
    /// The attachment that it had before.
    #[serde(default)]
    pub last_attachment: Option<Attachment>,
    /// What else it belongs to: such an interface is not the user's to change.
    #[serde(default)]
    pub manager: Option<Manager>,
    /// Blocks of its subnet that are routed to it besides its addresses: each a /28.
    #[serde(default)]
    pub prefixes: Vec<Ipv4Net>,
}

/// What an interface belongs to that is no instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manager {
    /// A Transit Gateway's attachment to the VPC.
    TransitAttachment(TransitGatewayAttachmentId),
    /// A NAT gateway.
    NatGateway(NatGatewayId),
    /// A VPC endpoint.
    VpcEndpoint(VpcEndpointId),
    /// A resource gateway of VPC Lattice.
    ResourceGateway(ResourceGatewayId),
    /// Another service's workload, such as the control plane of a cluster.
    Workload {
        /// The workload.
        workload: ManagedId,
        /// The place there; 0 is the primary interface.
        device: u32,
    },
    /// A pod of a cluster: the interface is behind that of its node.
    Branch {
        /// The interface of the node.
        trunk: NetworkInterfaceId,
        /// The cluster's control plane.
        cluster: ManagedId,
        /// The pod's unique id.
        pod: String,
    },
}

impl Manager {
    /// As `interfaceType` names it.
    pub fn interface_type(&self) -> &'static str {
        match self {
            Self::TransitAttachment(_) => "transit_gateway",
            Self::NatGateway(_) => "nat_gateway",
            Self::VpcEndpoint(_) => "vpc_endpoint",
            Self::ResourceGateway(_) | Self::Workload { .. } => "interface",
            Self::Branch { .. } => "branch",
        }
    }
}

/// A private address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateAddress {
    /// Inside the subnet.
    pub private: Ipv4Addr,
    /// The public address mapped to it.
    pub public: Option<PublicAddress>,
}

/// A public address as an interface has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    /// The address.
    pub ip: Ipv4Addr,
    /// The elastic address and its association; `None` for one that was given at launch and is lost when
    /// the instance stops.
    pub elastic: Option<(AllocationId, AssociationId)>,
}

/// An interface's attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// The instance.
    pub instance: InstanceId,
    /// The place there; 0 is the primary interface.
    pub device_index: u32,
    /// Whether the interface goes with the instance.
    pub delete_on_termination: bool,
    /// Since when.
    pub attached_at: Timestamp,
}

impl NetworkInterface {
    /// The primary private address.
    pub fn primary_ip(&self) -> Ipv4Addr {
        self.addresses
            .first()
            .map_or(Ipv4Addr::UNSPECIFIED, |address| address.private)
    }

    /// How much of the limit on its addresses it uses: a prefix counts as an address does.
    pub fn slots(&self) -> usize {
        self.addresses.len() + self.prefixes.len()
    }

    /// How many addresses of its subnet it has, those of its prefixes included.
    pub fn address_count(&self) -> usize {
        let prefixed = |prefix: &Ipv4Net| 1_usize << (32 - u32::from(prefix.prefix_len()));
        self.addresses.len() + self.prefixes.iter().map(prefixed).sum::<usize>()
    }

    /// The public address of the primary private one.
    pub fn public_ip(&self) -> Option<Ipv4Addr> {
        Some(self.addresses.first()?.public.as_ref()?.ip)
    }
}

impl Record for NetworkInterface {
    const KIND: &'static str = "ec2.network-interface";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("vpc", self.vpc.to_string()),
            ("subnet", self.subnet.to_string()),
        ];
        keys.extend(self.groups.iter().map(|id| ("group", id.to_string())));
        if let Some(Manager::ResourceGateway(id)) = &self.manager {
            keys.push(("gateway", id.to_string()));
        }
        if let Some(attachment) = &self.attachment {
            keys.push(("instance", attachment.instance.to_string()));
            keys.push(("attachment", attachment.id.to_string()));
        }
        let mapped = self.addresses.iter().filter_map(|it| it.public.as_ref());
        keys.extend(mapped.map(|it| ("public", it.ip.to_string())));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_the_version_before_have_no_prefixes() {
        let stored = r#"{"id":"eni-0123456789abcdef0","vpc":"vpc-0123456789abcdef0",
            "subnet":"subnet-0123456789abcdef0","availability_zone":"us-east-1a","owner":"123456789012",
            "description":"","mac":"02:00:0a:00:01:04","addresses":[{"private":"10.0.1.4","public":null}],
            "groups":[],"source_dest_check":true,"attachment":null}"#;
        let read: NetworkInterface = serde_json::from_str(stored).expect("it was stored so");
        assert_eq!((read.slots(), read.address_count()), (1, 1));
    }
}
