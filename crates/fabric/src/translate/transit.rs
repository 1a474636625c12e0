//! Transit gateways: a router each, and the links between it, VPCs and other gateways.
//!
//! | AWS | Kernel, in the gateway's namespace |
//! |---|---|
//! | route table | a table, its number made from its id; what no route fits is dropped |
//! | association | an element of the map `associations`: link -> mark, and one rule per table: mark -> table |
//! | attachment without association | no element: dropped |
//! | route | a route out of the attachment's link, and a black hole behind it for when the link is gone |
//! | blackhole | a black hole |
//!
//! | Address | What |
//! |---|---|
//! | 169.254.102.1, 169.254.102.2 | the gateway's and the VPC's end of every VPC attachment |
//! | 169.254.102.3, 169.254.102.4 | the ends of a peering in one region, the lower gateway id's first |

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_feed::{Snapshot, TransitAttachment, TransitGateway, TransitPeer, TransitTarget};
use lath_model::id::{
    TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId, VpcId,
};

use super::attachment::subnets_in;
use super::host_net;
use super::router::RULE_PRIORITY;
use crate::TABLE;
use crate::facts::HostFacts;
use crate::name;
use crate::nft::{
    Chain, ChainKind, Hook, Key, KeyType, Part, Rule, Set, Table, Value, ValueType, Verdict,
};
use crate::plan::{
    HostPlan, Link, LinkKind, Namespace, NamespaceRef, RouteTo, Rule as PolicyRule, RuleAction,
    RuleMatch,
};

/// A gateway's end of every VPC attachment.
pub(super) const GATEWAY_END: Ipv4Addr = Ipv4Addr::new(169, 254, 102, 1);
pub(super) const VPC_END: Ipv4Addr = Ipv4Addr::new(169, 254, 102, 2);
const FIRST_END: Ipv4Addr = Ipv4Addr::new(169, 254, 102, 3);
const SECOND_END: Ipv4Addr = Ipv4Addr::new(169, 254, 102, 4);
/// "8500 bytes for traffic between VPCs, AWS Direct Connect, Transit Gateway Connect, and peering
/// attachments" (<https://docs.aws.amazon.com/vpc/latest/tgw/transit-gateway-quotas.html>).
pub const TRANSIT_MTU: u32 = 8500;
/// "The transit gateway enforces Maximum Segment Size (MSS) clamping for all packets" (same page).
const SEGMENT: u16 = TRANSIT_MTU as u16 - 40;

const FIRST_TABLE: u32 = 0x1_0000;
const ASSOCIATIONS: &str = "associations";
const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
const MANGLE: i32 = -150;
const FILTER: i32 = 0;
const ICMP: u8 = 1;
const TCP: u8 = 6;

/// The name that the device of a peering with another region must have in the gateway's namespace
/// ([`crate::Fabric::netns`] with the gateway's id). The carrier of its packets makes and removes it; the
/// fabric sets its MTU, sets it up and routes to it as soon as it is there.
pub fn tunnel_link(attachment: &TransitGatewayAttachmentId) -> String {
    name::link("p", attachment.as_str())
}

/// The link in a gateway's namespace of an attachment that is not a tunnel.
pub(super) fn gateway_link(attachment: &TransitGatewayAttachmentId) -> String {
    name::link("a", attachment.as_str())
}

/// The link in a VPC's router.
pub(super) fn vpc_link(attachment: &TransitGatewayAttachmentId) -> String {
    name::link("t", attachment.as_str())
}

pub(super) fn link(kind: LinkKind, facts: &HostFacts, id: &str) -> Link {
    // The alias marks a link as Lath's: only marked links are removed when they are not wanted.
    let alias = (kind != LinkKind::Guest).then(|| name::alias(&facts.owner, id));
    Link {
        kind,
        mac: None,
        mtu: Some(TRANSIT_MTU),
        alias,
        up: true,
    }
}

/// Adds every transit gateway.
pub(super) fn plan(plan: &mut HostPlan, snapshot: &Snapshot, facts: &HostFacts) {
    for (id, gateway) in &snapshot.transit_gateways {
        let view = GatewayView {
            snapshot,
            facts,
            gateway,
        };
        let joints = view.joints();
        plan.spaces
            .insert(id.as_str().to_owned(), view.space(&joints));
        let ends = joints
            .into_iter()
            .map(|(id, joint)| (id.clone(), joint.map(|joint| joint.ends)));
        plan.transit.insert(id.clone(), ends.collect());
    }
}

struct GatewayView<'a> {
    snapshot: &'a Snapshot,
    facts: &'a HostFacts,
    gateway: &'a TransitGateway,
}

/// A gateway's end of an attachment.
struct GatewayJoint {
    dev: String,
    kind: LinkKind,
    own: Option<Ipv4Addr>,
    next: Option<Ipv4Addr>,
    ends: Vec<(String, String)>,
}

type Joints<'a> = BTreeMap<&'a TransitGatewayAttachmentId, Result<GatewayJoint, String>>;

impl<'a> GatewayView<'a> {
    fn joints(&self) -> Joints<'a> {
        let all = self.gateway.attachments.iter();
        all.map(|(id, attachment)| (id, self.joint(attachment)))
            .collect()
    }

    fn joint(&self, attachment: &TransitAttachment) -> Result<GatewayJoint, String> {
        let here = self.gateway.id.as_str().to_owned();
        match &attachment.to {
            TransitPeer::Vpc { vpc, .. } => self.to_vpc(here, vpc, attachment),
            TransitPeer::Local {
                gateway,
                attachment: far,
            } => self.to_gateway(here, gateway, &attachment.id, far),
            TransitPeer::Tunnel(_) => {
                let dev = tunnel_link(&attachment.id);
                Ok(GatewayJoint {
                    kind: LinkKind::Guest,
                    own: None,
                    next: None,
                    ends: vec![(here, dev.clone())],
                    dev,
                })
            }
        }
    }

    fn to_vpc(
        &self,
        here: String,
        vpc: &VpcId,
        attachment: &TransitAttachment,
    ) -> Result<GatewayJoint, String> {
        let there = self.snapshot.vpcs.get(vpc);
        let subnets = there.and_then(|vpc| subnets_in(vpc, attachment));
        if subnets.is_none_or(|subnets| subnets.is_empty()) {
            return Err(format!("{vpc} has none of the attachment's subnets"));
        }
        let dev = gateway_link(&attachment.id);
        let far = (vpc.as_str().to_owned(), vpc_link(&attachment.id));
        Ok(GatewayJoint {
            kind: LinkKind::Peer,
            own: Some(GATEWAY_END),
            next: Some(VPC_END),
            ends: vec![(here, dev.clone()), far],
            dev,
        })
    }

    /// Both sides must know the peering: one makes the veth, the other finds it.
    fn to_gateway(
        &self,
        here: String,
        there: &TransitGatewayId,
        near: &TransitGatewayAttachmentId,
        far: &TransitGatewayAttachmentId,
    ) -> Result<GatewayJoint, String> {
        let other = self.snapshot.transit_gateways.get(there);
        let known = other.is_some_and(|other| {
            let end = other.attachments.get(far).map(|a| &a.to);
            matches!(end, Some(TransitPeer::Local { gateway, attachment })
                if *gateway == self.gateway.id && attachment == near)
        });
        if !known || *there == self.gateway.id {
            return Err(format!("{there} does not know the peering"));
        }
        let (dev, peer) = (gateway_link(near), gateway_link(far));
        let first = self.gateway.id < *there;
        let place = there.as_str().to_owned();
        let kind = if first {
            LinkKind::Veth {
                peer_place: NamespaceRef::Named(place.clone()),
                peer: peer.clone(),
            }
        } else {
            LinkKind::Peer
        };
        let (own, next) = if first {
            (FIRST_END, SECOND_END)
        } else {
            (SECOND_END, FIRST_END)
        };
        Ok(GatewayJoint {
            kind,
            own: Some(own),
            next: Some(next),
            ends: vec![(here, dev.clone()), (place, peer)],
            dev,
        })
    }

    fn space(&self, joints: &Joints<'_>) -> Namespace {
        let mut space = Namespace::with_loopback();
        sysctls(&mut space);
        for (id, joint) in joints {
            let Ok(joint) = joint else { continue };
            let made = link(joint.kind.clone(), self.facts, id.as_str());
            space.links.insert(joint.dev.clone(), made);
            // Devices that others make may be there before this namespace has defaults of its own.
            space.sysctl(format!("ipv4/conf/{}/rp_filter", joint.dev), 0);
            space.sysctl(format!("ipv6/conf/{}/disable_ipv6", joint.dev), 1);
            if let Some(own) = joint.own {
                space.address(&joint.dev, host_net(own));
            }
        }
        let numbers = self.numbers();
        for (id, number) in &numbers {
            self.route_table(&mut space, id, *number, joints);
        }
        space.table = Some(self.firewall(&numbers, joints));
        space
    }

    fn numbers(&self) -> BTreeMap<&'a TransitGatewayRouteTableId, u32> {
        let mut taken = BTreeSet::new();
        let mut numbered = |id: &TransitGatewayRouteTableId| {
            let mut number = FIRST_TABLE + (name::digest(id.as_str()) as u32 & 0x0fff_ffff);
            while !taken.insert(number) {
                number += 1;
            }
            number
        };
        let ids = self.gateway.route_tables.keys();
        ids.map(|id| (id, numbered(id))).collect()
    }

    fn route_table(
        &self,
        space: &mut Namespace,
        id: &TransitGatewayRouteTableId,
        number: u32,
        joints: &Joints<'_>,
    ) {
        space.rules.insert(PolicyRule {
            priority: RULE_PRIORITY,
            when: RuleMatch::Mark(number),
            action: RuleAction::Table(number),
        });
        let table = self.gateway.route_tables.get(id);
        for (to, target) in table.into_iter().flat_map(|table| &table.routes) {
            let to = to.trunc();
            space.route(number, to, way(target, joints));
            space.fallback(number, to, RouteTo::Blackhole);
        }
        space.fallback(number, Ipv4Net::default(), RouteTo::Blackhole);
    }

    fn firewall(
        &self,
        numbers: &BTreeMap<&TransitGatewayRouteTableId, u32>,
        joints: &Joints<'_>,
    ) -> Table {
        let mut associations = Set::map(KeyType::Link, ValueType::Mark);
        for (id, attachment) in &self.gateway.attachments {
            let table = attachment.route_table.as_ref();
            let number = table.and_then(|table| numbers.get(table));
            if let (Some(Ok(joint)), Some(number)) = (joints.get(id), number) {
                let key = Key::Link(joint.dev.clone());
                associations.elements.insert(key, Value::Mark(*number));
            }
        }
        let mut table = Table::new(TABLE);
        table.sets.insert(ASSOCIATIONS.into(), associations);
        let chain = |hook, priority, accept, rules| {
            Chain::base(ChainKind::Filter, hook, priority, accept, rules)
        };
        let chains = [
            (
                "associate",
                chain(Hook::Prerouting, MANGLE, false, associate()),
            ),
            ("input", chain(Hook::Input, FILTER, false, input())),
            ("segments", chain(Hook::Forward, MANGLE, true, segments())),
        ];
        table
            .chains
            .extend(chains.map(|(name, chain)| (name.to_owned(), chain)));
        table
    }
}

fn way(target: &TransitTarget, joints: &Joints<'_>) -> RouteTo {
    let TransitTarget::Attachment(id) = target else {
        return RouteTo::Blackhole;
    };
    let Some(Ok(joint)) = joints.get(id) else {
        return RouteTo::Blackhole;
    };
    RouteTo::Dev {
        dev: joint.dev.clone(),
        via: joint.next,
        source: None,
    }
}

fn sysctls(space: &mut Namespace) {
    space.sysctl("ipv4/ip_forward", 1);
    for scope in ["all", "default"] {
        space.sysctl(format!("ipv4/conf/{scope}/rp_filter"), 0);
        space.sysctl(format!("ipv4/conf/{scope}/send_redirects"), 0);
        space.sysctl(format!("ipv4/conf/{scope}/accept_redirects"), 0);
        space.sysctl(format!("ipv6/conf/{scope}/disable_ipv6"), 1);
    }
    // Errors that the gateway makes use the table of the packet that caused them.
    space.sysctl("ipv4/fwmark_reflect", 1);
}

fn drop_it() -> Part {
    Part::Verdict(Verdict::Drop)
}

fn accept() -> Part {
    Part::Verdict(Verdict::Accept)
}

/// A packet is looked up in the table of the attachment that it came by; without one it is dropped. What is
/// link-local is some VPC's own affair.
fn associate() -> Vec<Rule> {
    vec![
        Rule::new([Part::Iif("lo".into()), accept()]),
        Rule::new([Part::Source(LINK_LOCAL), drop_it()]),
        Rule::new([Part::Destination(LINK_LOCAL), drop_it()]),
        Rule::new([Part::MarkFromIif(ASSOCIATIONS.into()), accept()]),
    ]
}

/// Nothing listens here: errors only, which the kernel uses for path MTUs.
fn input() -> Vec<Rule> {
    let error = |kind| Rule::new([Part::Protocol(ICMP), Part::IcmpType(kind), accept()]);
    [3, 11, 12].map(error).to_vec()
}

fn segments() -> Vec<Rule> {
    vec![Rule::new([
        Part::Protocol(TCP),
        Part::Syn,
        Part::ClampSegment(SEGMENT),
    ])]
}
