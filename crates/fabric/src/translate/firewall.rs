//! A router's nf_tables table. A packet's way through it:
//!
//! 1. `guard`: its source is its interface's own (or the interface forwards: its check is off).
//! 2. `mark`: its route table, by its interface's subnet; without a mark it is not forwarded. `public_in`: a public address becomes private.
//! 3. `edge`, `edge_forward`, `edge_output`: network ACLs at the edges of subnets ([`super::acl`]), where one denies anything.
//! 4. `forward`, `input` or `output`: answers pass; then the sender's groups, then the receiver's.
//! 5. `public_out`: a private address becomes its public one.
//!
//! Maps by interface lead to the chain of its groups; a change of members, addresses or interfaces is
//! thus a change of elements, and only a change of rules rewrites a chain.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use lath_net::LATTICE_SOURCE;

use super::endpoint::{ENDPOINTS, RESOURCE_POINTS};
use super::nat::{NAT_PRIVATE, NAT_PUBLIC, translations};
use super::peering::peer_link;
use super::resource::{self, Beyond, GATEWAYS, RESOURCES};
use super::security::Way;
use super::tables::KernelTables;
use super::transit::GATEWAY_END;
use super::{UPLINK_HOST, VpcView, WAN, host_net};
use crate::TABLE;
use crate::facts::HostFacts;
use crate::nft::{
    Chain, ChainKind, CtState, Hook, Key, KeyType, Part, Rule, Set, Table, Value, ValueType,
    Verdict,
};
use crate::plan::MARKED;

const RAW: i32 = -300;
const MANGLE: i32 = -150;
/// Before destinations and ports are translated, when a packet has its mark.
const EDGE: i32 = -120;
/// Before a destination's port is translated.
const ENTRY: i32 = -110;
const DESTINATION_NAT: i32 = -100;
const FILTER: i32 = 0;
/// After the groups.
const EDGE_INSIDE: i32 = 10;
const SOURCE_NAT: i32 = 100;
/// An Ethernet frame less IPv4's and TCP's headers.
const SEGMENT: u16 = super::GATEWAY_MTU as u16 - 40;

const OWN_SOURCES: &str = "own_sources";
const FORWARDERS: &str = "forwarders";
const MARKS: &str = "marks";
pub(super) const SENDERS: &str = "senders";
pub(super) const RECEIVERS: &str = "receivers";
const PUBLIC_IN: &str = "to_private";
const PUBLIC_OUT: &str = "to_public";
const MAPPED: &str = "mapped";
pub(super) const SERVICES: &str = "services";
const BLOCKS: &str = "blocks";
pub(super) const LATTICE: &str = "lattice";
/// The router's links to transit gateways and peering connections.
pub(super) const TRANSIT: &str = "transit";
const NOT_PUBLIC: &str = "not_public";

/// Destinations that an internet gateway drops, whatever the host's network may hold there: addresses that are
/// not the internet's (RFC 6890), but for the benchmark range, of which Lath's public addresses are.
pub(crate) const NOT_PUBLIC_BLOCKS: [(Ipv4Addr, u8); 9] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Those blocks, those of Lattice's resources, and the host's own addresses: its guard may be gone for a moment, a router's
/// is another. The names of resources are answered in every VPC: where a VPC's network does not have a resource, or has it
/// no more, what is meant for it is dropped.
pub(crate) fn not_public(facts: &HostFacts) -> impl Iterator<Item = Ipv4Net> {
    let blocks = NOT_PUBLIC_BLOCKS.map(|(net, length)| Ipv4Net::new_assert(net, length));
    let own = facts.addresses.iter().copied().map(Ipv4Net::from);
    let blocks = blocks.into_iter().chain([lath_feed::RESOURCE_BLOCK]);
    blocks.chain(own)
}

pub(super) const ICMP: u8 = 1;
const TCP: u8 = 6;

fn accept() -> Part {
    Part::Verdict(Verdict::Accept)
}

fn drop_it() -> Part {
    Part::Verdict(Verdict::Drop)
}

impl VpcView<'_> {
    pub(super) fn firewall(&self, tables: &KernelTables<'_>) -> Table {
        let mut table = Table::new(TABLE);
        self.interface_maps(&mut table, tables);
        self.public_maps(&mut table);
        let mut services = Set::new(KeyType::Address);
        self.service_points()
            .into_iter()
            .for_each(|a| services.insert(Key::Address(a)));
        table.sets.insert(SERVICES.into(), services);
        let blocks = Set::of_blocks(self.vpc.cidrs.iter().copied());
        table.sets.insert(BLOCKS.into(), blocks);
        let nowhere = Set::of_blocks(not_public(self.facts));
        table.sets.insert(NOT_PUBLIC.into(), nowhere);
        let lattice = self.lattice_guard(&mut table);
        self.edges(&mut table, tables);
        let ways = self.ways(&mut table, tables);
        for (name, chain) in base_chains(lattice, ways) {
            table.chains.insert(name.to_owned(), chain);
        }
        table
    }

    /// What a VPC without transit gateways, NAT gateways and endpoints does not need.
    fn ways(&self, table: &mut Table, tables: &KernelTables<'_>) -> Ways {
        let mut transit = Set::new(KeyType::Link);
        self.transit()
            .for_each(|joint| transit.insert(Key::Link(joint.link)));
        self.peerings()
            .for_each(|(peer, _)| transit.insert(Key::Link(peer_link(&peer.id))));
        let transit_too = !transit.elements.is_empty();
        let nat = self.nat_marks(table, tables);
        // A translation names the set.
        if transit_too || !nat.is_empty() {
            table.sets.insert(TRANSIT.into(), transit);
        }
        let beyond = Beyond {
            transit: transit_too,
            endpoints: self.endpoint_guards(table),
        };
        Ways {
            transit: transit_too,
            nat,
            endpoints: beyond.endpoints,
            resources: self.resource_ports(table),
            endpoint_resources: self.resource_guards(table),
            gateways: self.gateway_guards(table, beyond),
        }
    }

    /// The chains that judge what crosses the edges of subnets, where a network ACL denies anything.
    fn edges(&self, table: &mut Table, tables: &KernelTables<'_>) {
        let edges = self.acl_rules(table, tables);
        let chains = [
            ("edge", Hook::Prerouting, EDGE, edges.before),
            ("edge_forward", Hook::Forward, EDGE_INSIDE, edges.forward),
            ("edge_output", Hook::Output, EDGE_INSIDE, edges.output),
        ];
        for (name, hook, priority, rules) in chains {
            if !rules.is_empty() {
                let chain = Chain::base(ChainKind::Filter, hook, priority, true, rules);
                table.chains.insert(name.to_owned(), chain);
            }
        }
    }

    fn interface_maps(&self, table: &mut Table, tables: &KernelTables<'_>) {
        let mut own = Set::new(KeyType::LinkAddress);
        let mut forwarders = Set::new(KeyType::Link);
        let mut marks = Set::map(KeyType::Link, ValueType::Mark);
        let mut senders = Set::map(KeyType::Link, ValueType::Jump);
        let mut receivers = Set::map(KeyType::Link, ValueType::Jump);
        for attached in &self.attached {
            let (interface, link) = (attached.interface, Key::Link(attached.link.clone()));
            for address in interface.owned_addresses() {
                own.insert(Key::LinkAddress(attached.link.clone(), address));
            }
            if !interface.source_dest_check {
                forwarders.insert(link.clone());
            }
            if let Some(known) = tables.get(&self.subnet_key(attached.subnet)) {
                let mark = Value::Mark(known.number);
                marks.elements.insert(link.clone(), mark);
            }
            let out = self.guard_of(table, Way::Out, attached);
            senders.elements.insert(link.clone(), Value::Jump(out));
            let into = self.guard_of(table, Way::In, attached);
            receivers.elements.insert(link, Value::Jump(into));
        }
        for joint in self.transit() {
            if let Some(known) = tables.get(joint.attachment.id.as_str()) {
                let mark = Value::Mark(known.number);
                marks.elements.insert(Key::Link(joint.link), mark);
            }
        }
        for (peer, _) in self.peerings() {
            if let Some(known) = tables.get(peer.id.as_str()) {
                let mark = Value::Mark(known.number);
                let link = Key::Link(peer_link(&peer.id));
                marks.elements.insert(link, mark);
            }
        }
        let sets = [(OWN_SOURCES, own), (FORWARDERS, forwarders), (MARKS, marks)];
        table
            .sets
            .extend(sets.map(|(name, set)| (name.to_owned(), set)));
        let sets = [(SENDERS, senders), (RECEIVERS, receivers)];
        table
            .sets
            .extend(sets.map(|(name, set)| (name.to_owned(), set)));
    }

    fn public_maps(&self, table: &mut Table) {
        let mut to_private = Set::map(KeyType::Address, ValueType::Address);
        let mut to_public = Set::map(KeyType::Address, ValueType::Address);
        let mut mapped = Set::new(KeyType::Address);
        for (private, public) in self.mapped() {
            to_private
                .elements
                .insert(Key::Address(public), Value::Address(private));
            to_public
                .elements
                .insert(Key::Address(private), Value::Address(public));
            mapped.insert(Key::Address(private));
        }
        let sets = [
            (PUBLIC_IN, to_private),
            (PUBLIC_OUT, to_public),
            (MAPPED, mapped),
        ];
        table
            .sets
            .extend(sets.map(|(name, set)| (name.to_owned(), set)));
    }

    /// Who may reach Lattice from this VPC: those whom the association's groups let in; everyone when it
    /// has none.
    fn lattice_guard(&self, table: &mut Table) -> Chain {
        let groups = self
            .vpc
            .lattice
            .as_ref()
            .map(|association| &association.security_groups);
        let last = match groups.filter(|groups| !groups.is_empty()) {
            Some(groups) => Verdict::Jump(self.guard(table, Way::In, groups)),
            None => Verdict::Accept,
        };
        Chain::new(vec![Rule::new([Part::Verdict(last)])])
    }
}

/// Which ways there are besides the internet gateway's.
struct Ways {
    transit: bool,
    /// What marks packets for NAT gateways; none without them.
    nat: Vec<Rule>,
    endpoints: bool,
    /// Whether resources are reached from here.
    resources: bool,
    /// Whether some of them are at endpoints.
    endpoint_resources: bool,
    /// Whether resources are reached by way of here.
    gateways: bool,
}

fn base_chains(lattice: Chain, ways: Ways) -> Vec<(&'static str, Chain)> {
    let filter =
        |hook, priority, rules| Chain::base(ChainKind::Filter, hook, priority, false, rules);
    let passing =
        |hook, priority, rules| Chain::base(ChainKind::Filter, hook, priority, true, rules);
    let nat = |hook, priority, rules| Chain::base(ChainKind::Nat, hook, priority, true, rules);
    // What has no table of its own is marked too: routes lead only marked packets through.
    let mut mark = vec![
        Rule::new([Part::Mark(MARKED)]),
        Rule::new([Part::MarkFromIif(MARKS.into())]),
    ];
    let mut public_out = Vec::new();
    if !ways.nat.is_empty() {
        public_out.extend(translations(WAN));
    }
    mark.extend(ways.nat.iter().cloned());
    let mut public_in = vec![Rule::new([
        Part::Iif(WAN.into()),
        Part::DestinationNat(PUBLIC_IN.into()),
    ])];
    if ways.resources {
        public_in.push(Rule::new([Part::DestinationVerdict(RESOURCES.into())]));
    }
    public_out.push(Rule::new([
        Part::Oif(WAN.into()),
        Part::SourceNat(PUBLIC_OUT.into()),
    ]));
    let mut chains = vec![
        ("guard", filter(Hook::Prerouting, RAW, guard(&ways))),
        ("mark", passing(Hook::Prerouting, MANGLE, mark)),
        (
            "public_in",
            nat(Hook::Prerouting, DESTINATION_NAT, public_in),
        ),
        ("segments", passing(Hook::Forward, MANGLE, segments())),
        ("forward", filter(Hook::Forward, FILTER, forward(&ways))),
        ("input", filter(Hook::Input, FILTER, input(&ways))),
        ("output", filter(Hook::Output, FILTER, output(&ways))),
        ("public_out", nat(Hook::Postrouting, SOURCE_NAT, public_out)),
        (LATTICE, lattice),
    ];
    if ways.resources {
        let entry = passing(
            Hook::Prerouting,
            ENTRY,
            resource::entry(ways.endpoint_resources),
        );
        chains.push(("resource_in", entry));
    }
    chains
}

/// Link-local sources are the router's and the host's own: no other sender passes as Lattice. What comes
/// from outside cannot have come from inside.
fn guard(ways: &Ways) -> Vec<Rule> {
    let wan = || Part::Iif(WAN.into());
    let link_local = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
    let mut rules = vec![
        Rule::new([Part::IifSourceIn(OWN_SOURCES.into()), accept()]),
        Rule::new([Part::Iif("lo".into()), accept()]),
        Rule::new([wan(), Part::Source(host_net(UPLINK_HOST)), accept()]),
    ];
    if ways.transit {
        rules.extend(transit_guard(link_local));
    }
    rules.extend([
        Rule::new([Part::Source(link_local), drop_it()]),
        Rule::new([wan(), Part::SourceIn(BLOCKS.into()), drop_it()]),
        Rule::new([wan(), accept()]),
        Rule::new([Part::IifIn(FORWARDERS.into()), accept()]),
    ]);
    rules
}

/// From a transit gateway come other networks' packets, and the gateway's own errors. Link-local addresses
/// stay in their VPC.
fn transit_guard(link_local: ipnet::Ipv4Net) -> Vec<Rule> {
    let transit = || Part::IifIn(TRANSIT.into());
    let gateway = Part::Source(host_net(GATEWAY_END));
    vec![
        Rule::new([transit(), gateway, Part::Protocol(ICMP), accept()]),
        Rule::new([transit(), Part::Source(link_local), drop_it()]),
        Rule::new([transit(), Part::Destination(link_local), drop_it()]),
        Rule::new([transit(), Part::SourceIn(BLOCKS.into()), drop_it()]),
        Rule::new([transit(), accept()]),
    ]
}

/// The gateway's links carry shorter packets than the VPC's.
fn segments() -> Vec<Rule> {
    let clamp = |link| {
        Rule::new([
            link,
            Part::Protocol(TCP),
            Part::Syn,
            Part::ClampSegment(SEGMENT),
        ])
    };
    vec![clamp(Part::Oif(WAN.into())), clamp(Part::Iif(WAN.into()))]
}

fn known() -> [Rule; 2] {
    [
        Rule::new([Part::Ct(CtState::EstablishedRelated), accept()]),
        Rule::new([Part::Ct(CtState::Invalid), drop_it()]),
    ]
}

fn forward(ways: &Ways) -> Vec<Rule> {
    let wan = || Part::Oif(WAN.into());
    let mut rules = known().to_vec();
    // To the outside, only what has a public address, or a NAT gateway's.
    let mut private = vec![wan(), Part::SourceNotIn(MAPPED.into()), drop_it()];
    if !ways.nat.is_empty() {
        private.insert(1, Part::MarkNotIn(NAT_PUBLIC.into()));
        rules.push(Rule::new([
            wan(),
            Part::MarkIn(NAT_PRIVATE.into()),
            Part::MarkNotIn(NAT_PUBLIC.into()),
            drop_it(),
        ]));
    }
    if ways.transit {
        // A VPC is no way from one gateway to another.
        let (from, to) = (Part::IifIn(TRANSIT.into()), Part::OifIn(TRANSIT.into()));
        rules.push(Rule::new([from, to, drop_it()]));
    }
    rules.extend([
        // From outside, only what was bound for a public address.
        Rule::new([
            Part::Iif(WAN.into()),
            Part::DestinationTranslated(false),
            drop_it(),
        ]),
        Rule::new(private),
        Rule::new([
            Part::Oif(WAN.into()),
            Part::DestinationIn(NOT_PUBLIC.into()),
            drop_it(),
        ]),
        Rule::new([Part::IifVerdict(SENDERS.into())]),
        Rule::new([Part::OifVerdict(RECEIVERS.into())]),
        Rule::new([wan(), accept()]),
    ]);
    if ways.transit {
        rules.push(Rule::new([Part::OifIn(TRANSIT.into()), accept()]));
    }
    rules
}

fn input(ways: &Ways) -> Vec<Rule> {
    let range = ipnet::Ipv4Net::new_assert(LATTICE_SOURCE, 24).trunc();
    let mut rules = known().to_vec();
    rules.extend([
        Rule::new([Part::Iif("lo".into()), accept()]),
        Rule::new([Part::Iif(WAN.into()), drop_it()]),
    ]);
    if ways.endpoint_resources {
        // As below, and from other networks too.
        let points = Part::DestinationIn(RESOURCE_POINTS.into());
        rules.push(Rule::new([points, accept()]));
    }
    if ways.transit {
        // Endpoints are all that other networks reach here.
        let transit = || Part::IifIn(TRANSIT.into());
        if ways.endpoints {
            let endpoint = Part::DestinationVerdict(ENDPOINTS.into());
            rules.push(Rule::new([transit(), endpoint]));
        }
        rules.push(Rule::new([transit(), drop_it()]));
    }
    if ways.resources {
        // `resource_in` let it pass, by the port that it was for.
        rules.push(Rule::new([
            Part::Destination(lath_feed::RESOURCE_BLOCK),
            accept(),
        ]));
    }
    rules.extend([
        // AWS does not filter the resolver and the metadata service.
        Rule::new([Part::DestinationIn(SERVICES.into()), accept()]),
        Rule::new([Part::IifVerdict(SENDERS.into())]),
    ]);
    if ways.endpoints {
        rules.push(Rule::new([Part::DestinationVerdict(ENDPOINTS.into())]));
    }
    rules.extend([Rule::new([
        Part::Destination(range),
        Part::Verdict(Verdict::Jump(LATTICE.into())),
    ])]);
    rules
}

/// The router's own packets: the proxy's and the probes', which meet the target's groups, and errors
/// about packets that could not be delivered, which belong to no connection.
fn output(ways: &Ways) -> Vec<Rule> {
    let error = |kind| Rule::new([Part::Protocol(ICMP), Part::IcmpType(kind), accept()]);
    let mut rules = vec![known()[0].clone()];
    // Destination unreachable, time exceeded, parameter problem.
    rules.extend([3, 11, 12].map(error));
    rules.push(known()[1].clone());
    if ways.gateways {
        rules.push(Rule::new([Part::SourceVerdict(GATEWAYS.into())]));
    }
    rules.extend([
        Rule::new([Part::Oif("lo".into()), accept()]),
        Rule::new([
            Part::Source(host_net(LATTICE_SOURCE)),
            Part::OifVerdict(RECEIVERS.into()),
        ]),
    ]);
    rules
}
