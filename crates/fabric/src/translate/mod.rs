//! From a feed snapshot to a host's plan: a pure translation, VPC by VPC.
//!
//! # What a VPC is
//! A router namespace. Each attached interface is a veth from it into its workload's namespace; the
//! router has the subnet's gateway address on its end and a `/32` route to each private address. The
//! workload has its address without an on-link route to the subnet: every packet goes through the
//! router, where source check, route tables and security groups are.
//!
//! | Address | What |
//! |---|---|
//! | VPC base+2, 169.254.169.253 | resolver, on the router's `lo` |
//! | 169.254.169.254 | metadata service, on the router's `lo` |
//! | 169.254.170.24 ([`lath_net::API_ADDRESS`]) | the AWS APIs, and issuers of clusters' tokens, on the router's `lo` |
//! | 169.254.170.23 ([`lath_net::POD_IDENTITY_ADDRESS`]) | the agent of pod identities, on a node's `lo` |
//! | 169.254.171.1 ([`lath_net::LATTICE_SOURCE`]) | where requests and probes to targets come from |
//! | other of 169.254.171.0/24 | Lattice services |
//! | 129.224.0.0/17 ([`lath_feed::RESOURCE_BLOCK`]) | Lattice resources |
//! | 169.254.102.1, 169.254.102.2 | a transit gateway's and the router's end of an attachment, or a peering connection's and the router's end of that |
//! | 169.254.100.1, 169.254.100.2 | the host's and the router's end of every uplink |

mod acl;
mod attachment;
mod endpoint;
pub(crate) mod firewall;
pub(crate) mod host;
mod nat;
mod peering;
mod resource;
mod router;
mod security;
mod tables;
mod transit;
mod workload;

use std::net::Ipv4Addr;

pub use transit::{TRANSIT_MTU, tunnel_link};

use ipnet::Ipv4Net;
use lath_feed::{Interface, NamespaceOrigin, Snapshot, Vpc};
use lath_model::WorkloadId;
use lath_model::id::NetworkInterfaceId;

use crate::facts::{HostFacts, Uplink};
use crate::name;
use crate::plan::{HostPlan, VpcPlan};

/// The resolver's address that is the same in every VPC.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
/// The metadata service's address.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The host's end of every uplink. The host's own packets to public addresses come from it.
pub const UPLINK_HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 1);
/// A router's end of its uplink.
pub const UPLINK_ROUTER: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 2);
/// AWS's MTU between instances
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html>).
pub const VPC_MTU: u32 = 9001;
/// The same page: through an internet gateway it is 1500.
pub const GATEWAY_MTU: u32 = 1500;
/// The router's link to the host.
pub(crate) const WAN: &str = "wan";

/// What the host's network must be for the snapshot.
pub fn plan(snapshot: &Snapshot, facts: &HostFacts) -> HostPlan {
    let mut plan = HostPlan::default();
    for (id, vpc) in &snapshot.vpcs {
        let view = VpcView::new(snapshot, facts, vpc);
        plan.vpcs.insert(id.clone(), view.plan());
    }
    transit::plan(&mut plan, snapshot, facts);
    peering::plan(&mut plan, snapshot, facts);
    plan.host = host::plan(snapshot, facts);
    plan
}

/// A VPC with what its translation needs from elsewhere.
pub(crate) struct VpcView<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) facts: &'a HostFacts,
    pub(crate) vpc: &'a Vpc,
    /// Interfaces that have a link, by id.
    pub(crate) attached: Vec<Attached<'a>>,
}

/// An interface that is attached to a workload of the snapshot.
pub(crate) struct Attached<'a> {
    pub(crate) interface: &'a Interface,
    pub(crate) workload: &'a WorkloadId,
    pub(crate) device: u32,
    /// The router's link.
    pub(crate) link: String,
    pub(crate) subnet: &'a lath_feed::Subnet,
}

impl<'a> VpcView<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, facts: &'a HostFacts, vpc: &'a Vpc) -> Self {
        let attached = vpc
            .interfaces
            .values()
            .filter_map(|i| attach(snapshot, vpc, i))
            .collect();
        Self {
            snapshot,
            facts,
            vpc,
            attached,
        }
    }

    fn plan(&self) -> VpcPlan {
        let mut plan = VpcPlan {
            router: self.router(),
            ..VpcPlan::default()
        };
        for (id, origin) in self.workloads() {
            let namespace = self.workload(&id, origin);
            plan.workloads.insert(id, namespace);
        }
        for attached in &self.attached {
            plan.interfaces
                .insert(attached.interface.id.clone(), attached.link.clone());
        }
        for nat in self.vpc.nat_gateways.values() {
            plan.nat_gateways
                .insert(nat.id.clone(), self.nat_outcome(nat));
        }
        if let (Some(gateway), Uplink::None(reason)) =
            (&self.vpc.internet_gateway, &self.facts.uplink)
        {
            plan.refused.push(format!(
                "internet gateway {gateway} not available: {reason}"
            ));
        }
        plan
    }

    /// The VPC's workloads, and where their namespaces come from.
    fn workloads(&self) -> impl Iterator<Item = (WorkloadId, NamespaceOrigin)> {
        self.snapshot.all_workloads().filter_map(|id| {
            let (vpc, origin) = self.snapshot.placement(&id)?;
            (*vpc == self.vpc.id).then_some((id, origin))
        })
    }

    /// Whether the VPC has a working internet gateway.
    pub(crate) fn has_gateway(&self) -> bool {
        self.vpc.internet_gateway.is_some() && matches!(self.facts.uplink, Uplink::Host { .. })
    }

    pub(crate) fn attached(&self, id: &NetworkInterfaceId) -> Option<&Attached<'a>> {
        self.attached.iter().find(|a| a.interface.id == *id)
    }

    /// Private and public addresses that the internet gateway maps.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> {
        let all = self.attached.iter().filter(|_| self.has_gateway());
        all.flat_map(|a| {
            a.interface
                .addresses
                .iter()
                .filter_map(|x| Some((x.private, x.public?)))
        })
    }

    /// Every address by which the internet knows the VPC: interfaces' and NAT gateways'.
    pub(crate) fn public_addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let nats = self.nat_gateways().filter(|_| self.has_gateway());
        let nats = nats.filter_map(|(nat, _)| nat.public);
        self.mapped().map(|(_, public)| public).chain(nats)
    }
}

fn attach<'a>(
    snapshot: &'a Snapshot,
    vpc: &'a Vpc,
    interface: &'a Interface,
) -> Option<Attached<'a>> {
    let attachment = interface.attachment.as_ref()?;
    let (its, _) = snapshot.placement(&attachment.workload)?;
    if *its != vpc.id {
        return None;
    }
    let subnet = vpc.subnets.get(&interface.subnet)?;
    let link = name::link("e", interface.id.as_str());
    Some(Attached {
        interface,
        workload: &attachment.workload,
        device: attachment.device,
        link,
        subnet,
    })
}

/// An address as a block of its own.
pub(crate) fn host_net(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::from(address)
}

/// The address this far into a block.
pub(crate) fn nth(block: Ipv4Net, offset: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(block.network().to_bits().saturating_add(offset))
}

/// The far end of a VPC's uplink, in the host's namespace. It carries a digest of the owner, so that two
/// Laths on one host never meet in a name.
pub(crate) fn uplink_name(facts: &HostFacts, vpc: &Vpc) -> String {
    let owner = name::digest(&facts.owner) as u16;
    name::link(&format!("lt{owner:04x}"), vpc.id.as_str())
}
