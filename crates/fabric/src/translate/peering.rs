//! VPC peering connections: a small router of its own for each, between those of its two VPCs.
//!
//! A connection carries what comes from a block of one side and is bound for a block of the other one, and nothing else: no
//! side is a way to what is behind the other. The routers take what comes by it as they take what comes from a transit
//! gateway, but for the route tables: it has none, and reaches the VPC itself alone.
//!
//! | Address | What |
//! |---|---|
//! | 169.254.102.1, 169.254.102.2 | the connection's and the VPC's end of each of its two links |

use ipnet::Ipv4Net;
use lath_feed::{Snapshot, Vpc, VpcPeer};
use lath_model::id::VpcPeeringConnectionId;

use super::router::RULE_PRIORITY;
use super::tables::{KernelTables, back};
use super::transit::{GATEWAY_END, VPC_END};
use super::{VPC_MTU, VpcView, host_net, nth};
use crate::TABLE;
use crate::facts::HostFacts;
use crate::name;
use crate::nft::{Chain, ChainKind, Hook, Part, Rule, Set, Table, Verdict};
use crate::plan::{
    HostPlan, Link, LinkKind, MAIN, Namespace, NamespaceRef, RouteTo, Rule as PolicyRule,
    RuleAction, RuleMatch,
};

/// The connection's links: to the VPC with the lower id, and to the other one.
const ENDS: [&str; 2] = ["first", "second"];
const FILTER: i32 = 0;
const ICMP: u8 = 1;

/// The router's link of a connection.
pub(super) fn peer_link(id: &VpcPeeringConnectionId) -> String {
    name::link("x", id.as_str())
}

fn link(kind: LinkKind, facts: &HostFacts, id: &VpcPeeringConnectionId) -> Link {
    Link {
        kind,
        mac: None,
        mtu: Some(VPC_MTU),
        alias: Some(name::alias(&facts.owner, id.as_str())),
        up: true,
    }
}

/// The VPC at the other end of a connection, if that is here and knows it too.
fn other_end<'a>(snapshot: &'a Snapshot, here: &Vpc, peer: &VpcPeer) -> Option<&'a Vpc> {
    let there = snapshot.vpcs.get(&peer.vpc)?;
    let knows = there.peerings.get(&peer.id)?;
    (knows.vpc == here.id && there.id != here.id).then_some(&**there)
}

impl<'a> VpcView<'a> {
    /// The VPC's connections that have both of their ends.
    pub(super) fn peerings(&self) -> impl Iterator<Item = (&'a VpcPeer, &'a Vpc)> + use<'a> {
        let (vpc, snapshot) = (self.vpc, self.snapshot);
        let all = vpc.peerings.values();
        all.filter_map(move |peer| Some((peer, other_end(snapshot, vpc, peer)?)))
    }

    pub(super) fn through_peering(&self, id: &VpcPeeringConnectionId) -> RouteTo {
        let found = self.peerings().any(|(peer, _)| peer.id == *id);
        if found {
            self.peer_way(id)
        } else {
            RouteTo::Blackhole
        }
    }

    fn peer_way(&self, id: &VpcPeeringConnectionId) -> RouteTo {
        RouteTo::Dev {
            dev: peer_link(id),
            via: Some(GATEWAY_END),
            source: self.vpc.cidrs.first().map(|cidr| nth(*cidr, 1)),
        }
    }

    /// The router's ends of its connections.
    pub(super) fn peer_links(&self, router: &mut Namespace, tables: &KernelTables<'_>) {
        for (peer, there) in self.peerings() {
            let dev = peer_link(&peer.id);
            let end = ENDS[usize::from(self.vpc.id > there.id)];
            let kind = LinkKind::Veth {
                peer_place: NamespaceRef::Named(peer.id.as_str().to_owned()),
                peer: end.to_owned(),
            };
            let made = link(kind, self.facts, &peer.id);
            router.links.insert(dev.clone(), made);
            router.address(&dev, host_net(VPC_END));
            if let Some(cidr) = self.vpc.cidrs.first() {
                // What the router's own packets come from: link-local addresses cross no connection.
                router.address(&dev, host_net(nth(*cidr, 1)));
            }
            let (Some(table), Some(back)) = (
                tables.get(peer.id.as_str()),
                tables.get(&back(peer.id.as_str())),
            ) else {
                continue;
            };
            // Errors about packets from the other side go back to it, whatever the tables say.
            router.rules.insert(PolicyRule {
                priority: RULE_PRIORITY - 1,
                when: RuleMatch::Own(table.number),
                action: RuleAction::Table(back.number),
            });
            router.route(back.number, Ipv4Net::default(), self.peer_way(&peer.id));
        }
    }
}

/// Adds the connections' own routers.
pub(super) fn plan(plan: &mut HostPlan, snapshot: &Snapshot, facts: &HostFacts) {
    for vpc in snapshot.vpcs.values() {
        for peer in vpc.peerings.values() {
            let there = other_end(snapshot, vpc, peer);
            if let Some(there) = there.filter(|there| vpc.id < there.id) {
                let space = space(facts, &peer.id, [vpc, there]);
                plan.spaces.insert(peer.id.as_str().to_owned(), space);
                let vpcs = [vpc.id.clone(), there.id.clone()];
                plan.peerings.insert(peer.id.clone(), vpcs);
            }
        }
    }
}

fn space(facts: &HostFacts, id: &VpcPeeringConnectionId, vpcs: [&Vpc; 2]) -> Namespace {
    let mut space = Namespace::with_loopback();
    space.sysctl("ipv4/ip_forward", 1);
    for scope in ["all", "default"] {
        space.sysctl(format!("ipv4/conf/{scope}/rp_filter"), 0);
        space.sysctl(format!("ipv4/conf/{scope}/send_redirects"), 0);
        space.sysctl(format!("ipv4/conf/{scope}/accept_redirects"), 0);
        space.sysctl(format!("ipv6/conf/{scope}/disable_ipv6"), 1);
    }
    for (dev, vpc) in ENDS.into_iter().zip(vpcs) {
        let made = link(LinkKind::Peer, facts, id);
        space.links.insert(dev.to_owned(), made);
        // The device may be there before this namespace has defaults of its own.
        space.sysctl(format!("ipv4/conf/{dev}/rp_filter"), 0);
        space.sysctl(format!("ipv6/conf/{dev}/disable_ipv6"), 1);
        space.address(dev, host_net(GATEWAY_END));
        for cidr in &vpc.cidrs {
            space.route(MAIN, cidr.trunc(), RouteTo::via(dev, VPC_END));
            space.fallback(MAIN, cidr.trunc(), RouteTo::Blackhole);
        }
    }
    space.fallback(MAIN, Ipv4Net::default(), RouteTo::Blackhole);
    space.table = Some(firewall(vpcs));
    space
}

fn firewall(vpcs: [&Vpc; 2]) -> Table {
    let mut table = Table::new(TABLE);
    for (dev, vpc) in ENDS.into_iter().zip(vpcs) {
        let blocks = Set::of_blocks(vpc.cidrs.iter().copied());
        table.sets.insert(format!("of_{dev}"), blocks);
    }
    let accept = || Part::Verdict(Verdict::Accept);
    let across = |from: &str, to: &str| {
        Rule::new([
            Part::Iif(from.to_owned()),
            Part::Oif(to.to_owned()),
            Part::SourceIn(format!("of_{from}")),
            Part::DestinationIn(format!("of_{to}")),
            accept(),
        ])
    };
    let forward = vec![across(ENDS[0], ENDS[1]), across(ENDS[1], ENDS[0])];
    // Nothing listens here: errors only.
    let error = |kind| Rule::new([Part::Protocol(ICMP), Part::IcmpType(kind), accept()]);
    let input = [3, 11, 12].map(error).to_vec();
    for (name, hook, rules) in [
        ("forward", Hook::Forward, forward),
        ("input", Hook::Input, input),
    ] {
        let chain = Chain::base(ChainKind::Filter, hook, FILTER, false, rules);
        table.chains.insert(name.to_owned(), chain);
    }
    table
}
