//! Network ACLs: rules without memory, asked for every packet that crosses the edge of a subnet, and for none that stays in
//! one, wherever its two ends are (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>).
//!
//! A packet that leaves a subnet is judged as it was sent: before its destination is translated (`edge`). One that enters a
//! subnet is judged when it is known by which link it goes out (`edge_forward`, `edge_output`); for what the router itself
//! has in a subnet, such as the addresses of endpoints, that is before its port is translated (`edge` again). A direction
//! of an ACL that denies nothing needs no rules, so that a VPC with its default ACL alone has none.
//!
//! Not judged are the VPC's resolver, the metadata service and the AWS APIs, nor the router's own errors. Lattice is: its
//! addresses are in no subnet.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use lath_feed::{AclEntry, NetworkAcl, Subnet, Traffic};
use lath_model::id::SubnetId;

use super::VpcView;
use super::endpoint::addresses_of;
use super::firewall::{ICMP, SERVICES};
use super::security::{Way, ipv4, tail, traffic};
use super::tables::KernelTables;
use crate::nft::{Chain, Key, KeyType, Part, Rule, Set, Table, Value, ValueType, Verdict};

/// From a link to the chain for packets that leave its subnet.
const LEAVING: &str = "edge_leaving";
/// From a link to the chain for packets that enter its subnet.
const ENTERING: &str = "edge_entering";
/// The same for packets of the router's own.
const ENTERING_OWN: &str = "edge_entering_own";
/// From an address of the router's in a subnet to the chains of that.
const POINTS_OUT: &str = "edge_points_out";
const POINTS_IN: &str = "edge_points_in";
/// From the mark of a NAT gateway to its chain.
const TRANSLATORS: &str = "edge_nat";

/// The rules of the base chains; none where no ACL denies anything.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Before destinations are translated.
    pub(super) before: Vec<Rule>,
    /// For what is forwarded.
    pub(super) forward: Vec<Rule>,
    /// For what the router itself sends.
    pub(super) output: Vec<Rule>,
}

/// A subnet, and the chains of its ACL that deny anything.
struct Guarded<'a> {
    subnet: &'a Subnet,
    /// For packets that enter.
    ingress: Option<String>,
    /// For packets that leave.
    egress: Option<String>,
}

fn jump(chain: &str) -> Part {
    Part::Verdict(Verdict::Jump(chain.to_owned()))
}

fn back() -> Part {
    Part::Verdict(Verdict::Return)
}

/// The links of a subnet.
fn links(subnet: &Subnet) -> String {
    format!("edge_of_{}", tail(subnet.id.as_str()))
}

fn chain_name(kind: &str, id: &str) -> String {
    format!("{kind}_{}", tail(id))
}

impl VpcView<'_> {
    /// Adds the chains, maps and sets of the VPC's ACLs, and returns what asks them.
    pub(super) fn acl_rules(&self, table: &mut Table, tables: &KernelTables<'_>) -> Edges {
        let guarded: BTreeMap<&SubnetId, Guarded<'_>> = self
            .vpc
            .subnets
            .values()
            .filter_map(|subnet| Some((&subnet.id, self.guarded(table, subnet)?)))
            .collect();
        if guarded.is_empty() {
            return Edges::default();
        }
        for it in guarded.values() {
            self.subnet_chains(table, it);
        }
        let mut edges = self.edge_maps(table, &guarded);
        self.edges_of_nat(table, tables, &guarded, &mut edges);
        self.edges_of_transit(table, &guarded, &mut edges);
        edges
    }

    /// `None` for a subnet whose ACL denies nothing.
    fn guarded<'a>(&self, table: &mut Table, subnet: &'a Subnet) -> Option<Guarded<'a>> {
        let acl = self.vpc.network_acls.get(subnet.network_acl.as_ref()?)?;
        let guarded = Guarded {
            subnet,
            ingress: acl_chain(table, acl, Way::In),
            egress: acl_chain(table, acl, Way::Out),
        };
        (guarded.ingress.is_some() || guarded.egress.is_some()).then_some(guarded)
    }

    /// What tells a packet that crosses the subnet's edge from one that stays.
    fn subnet_chains(&self, table: &mut Table, guarded: &Guarded<'_>) {
        let (subnet, id) = (guarded.subnet, guarded.subnet.id.as_str());
        let mut own = Set::new(KeyType::Link);
        let here = self.attached.iter();
        for attached in here.filter(|it| it.subnet.id == subnet.id) {
            own.insert(Key::Link(attached.link.clone()));
        }
        table.sets.insert(links(subnet), own);
        let cidr = subnet.cidr.trunc();
        if let Some(acl) = &guarded.egress {
            let rules = [
                vec![Part::Destination(cidr), back()],
                vec![Part::DestinationIn(SERVICES.into()), back()],
                vec![jump(acl)],
            ];
            add(table, chain_name("leave", id), rules);
        }
        if let Some(acl) = &guarded.ingress {
            // "Inbound rules are not evaluated" where the attachment is in the very subnet
            // (https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html).
            let joints = self.transit().filter(|it| it.subnet.id == subnet.id);
            let joints = joints.map(|it| vec![Part::Iif(it.link), back()]);
            let rules = [vec![Part::IifIn(links(subnet)), back()]].into_iter();
            let rules = rules.chain(joints).chain([vec![jump(acl)]]);
            add(table, chain_name("enter", id), rules);
            let rules = [vec![Part::Source(cidr), back()], vec![jump(acl)]];
            add(table, chain_name("enter_own", id), rules);
        }
    }

    fn edge_maps(&self, table: &mut Table, guarded: &BTreeMap<&SubnetId, Guarded<'_>>) -> Edges {
        let map = |key| Set::map(key, ValueType::Jump);
        let (mut leaving, mut entering) = (map(KeyType::Link), map(KeyType::Link));
        let mut entering_own = map(KeyType::Link);
        let (mut points_out, mut points_in) = (map(KeyType::Address), map(KeyType::Address));
        let set = |map: &mut Set, key: Key, kind: &str, id: &SubnetId| {
            let chain = Value::Jump(chain_name(kind, id.as_str()));
            map.elements.insert(key, chain);
        };
        for attached in &self.attached {
            let id = &attached.subnet.id;
            let link = || Key::Link(attached.link.clone());
            let Some(guarded) = guarded.get(id) else {
                continue;
            };
            if guarded.egress.is_some() {
                set(&mut leaving, link(), "leave", id);
            }
            if guarded.ingress.is_some() {
                set(&mut entering, link(), "enter", id);
                set(&mut entering_own, link(), "enter_own", id);
            }
        }
        for (id, address) in self.own_points() {
            let Some(guarded) = guarded.get(&id) else {
                continue;
            };
            if guarded.egress.is_some() {
                set(&mut points_out, Key::Address(address), "leave", &id);
            }
            if guarded.ingress.is_some() {
                set(&mut points_in, Key::Address(address), "enter", &id);
            }
        }
        let error = |kind| {
            let accept = Part::Verdict(Verdict::Accept);
            Rule::new([Part::Protocol(ICMP), Part::IcmpType(kind), accept])
        };
        let mut output: Vec<Rule> = [3, 11, 12].map(error).into();
        let accept = Part::Verdict(Verdict::Accept);
        output.push(Rule::new([Part::SourceIn(SERVICES.into()), accept]));
        output.push(Rule::new([Part::SourceVerdict(POINTS_OUT.into())]));
        output.push(Rule::new([Part::OifVerdict(ENTERING_OWN.into())]));
        table.sets.extend(
            [
                (LEAVING, leaving),
                (ENTERING, entering),
                (ENTERING_OWN, entering_own),
                (POINTS_OUT, points_out),
                (POINTS_IN, points_in),
            ]
            .map(|(name, set)| (name.to_owned(), set)),
        );
        Edges {
            before: vec![
                Rule::new([Part::IifVerdict(LEAVING.into())]),
                Rule::new([Part::DestinationVerdict(POINTS_IN.into())]),
            ],
            forward: vec![Rule::new([Part::OifVerdict(ENTERING.into())])],
            output,
        }
    }

    /// The addresses that the router itself has in subnets: those of endpoints and of resource gateways.
    fn own_points(&self) -> BTreeSet<(SubnetId, std::net::Ipv4Addr)> {
        let endpoints = self.vpc.endpoints.values().flat_map(addresses_of);
        let endpoints = endpoints.map(|(subnet, address)| (subnet.clone(), address));
        let gateways = self.snapshot.gateways_in(&self.vpc.id);
        let gateways = gateways.flat_map(|gateway| &gateway.interfaces);
        let gateways = gateways.flat_map(|(subnet, interface)| {
            let addresses = interface.addresses.iter();
            addresses.map(|address| (subnet.clone(), *address))
        });
        endpoints.chain(gateways).collect()
    }

    /// A NAT gateway is in a subnet: what goes through it enters that and leaves it again.
    fn edges_of_nat(
        &self,
        table: &mut Table,
        tables: &KernelTables<'_>,
        guarded: &BTreeMap<&SubnetId, Guarded<'_>>,
        edges: &mut Edges,
    ) {
        let mut map = Set::map(KeyType::Mark, ValueType::Jump);
        for (nat, subnet) in self.nat_gateways() {
            let id = nat.id.as_str();
            let (Some(its), Some(known)) = (guarded.get(&subnet.id), tables.get(id)) else {
                continue;
            };
            let ingress = its.ingress.iter();
            let ingress = ingress.map(|acl| vec![Part::IifNotIn(links(subnet)), jump(acl)]);
            let egress = its.egress.iter();
            let egress = egress.map(|acl| vec![Part::OifNotIn(links(subnet)), jump(acl)]);
            let name = chain_name("edge_nat", id);
            add(table, name.clone(), ingress.chain(egress));
            let mark = Key::Mark(known.number);
            map.elements.insert(mark, Value::Jump(name));
        }
        if !map.elements.is_empty() {
            table.sets.insert(TRANSLATORS.into(), map);
            let rule = Rule::new([Part::MarkVerdict(TRANSLATORS.into())]);
            edges.forward.insert(0, rule);
        }
    }

    /// A transit gateway's attachment is in a subnet of each zone. What goes to the gateway enters that of its zone, even
    /// from that subnet itself; what comes from the gateway leaves the first zone's, unless it stays in there.
    fn edges_of_transit(
        &self,
        table: &mut Table,
        guarded: &BTreeMap<&SubnetId, Guarded<'_>>,
        edges: &mut Edges,
    ) {
        for joint in self.transit() {
            for subnet in &joint.subnets {
                let its = guarded.get(&subnet.id);
                let Some(acl) = its.and_then(|it| it.ingress.as_ref()) else {
                    continue;
                };
                let zone = chain_name("edge_zone", subnet.id.as_str());
                table
                    .sets
                    .insert(zone.clone(), self.links_in_zone_of(subnet));
                let parts = [Part::Oif(joint.link.clone()), Part::IifIn(zone), jump(acl)];
                edges.forward.push(Rule::new(parts));
                let zone = chain_name("edge_points", subnet.id.as_str());
                table
                    .sets
                    .insert(zone.clone(), self.points_in_zone_of(subnet));
                let from = Part::SourceIn(zone);
                let parts = [Part::Oif(joint.link.clone()), from, jump(acl)];
                edges.output.push(Rule::new(parts));
            }
            let its = guarded.get(&joint.subnet.id);
            if its.is_some_and(|it| it.egress.is_some()) {
                let leave = chain_name("leave", joint.subnet.id.as_str());
                let rule = Rule::new([Part::Iif(joint.link), jump(&leave)]);
                edges.before.push(rule);
            }
        }
    }

    fn links_in_zone_of(&self, subnet: &Subnet) -> Set {
        let mut set = Set::new(KeyType::Link);
        let zone = &subnet.availability_zone;
        let there = self.attached.iter();
        let there = there.filter(|it| it.subnet.availability_zone == *zone);
        there.for_each(|it| set.insert(Key::Link(it.link.clone())));
        set
    }

    fn points_in_zone_of(&self, subnet: &Subnet) -> Set {
        let mut set = Set::new(KeyType::Address);
        for (id, address) in self.own_points() {
            let its = self.vpc.subnets.get(&id);
            if its.is_some_and(|it| it.availability_zone == subnet.availability_zone) {
                set.insert(Key::Address(address));
            }
        }
        set
    }
}

fn add(table: &mut Table, name: String, rules: impl IntoIterator<Item = Vec<Part>>) {
    let rules = rules.into_iter().map(Rule::new).collect();
    table.chains.insert(name, Chain::new(rules));
}

/// The chain of one direction of an ACL; `None` when that denies nothing.
fn acl_chain(table: &mut Table, acl: &NetworkAcl, way: Way) -> Option<String> {
    let (kind, entries) = match way {
        Way::In => ("acl_in", &acl.ingress),
        Way::Out => ("acl_out", &acl.egress),
    };
    let judged = decisive(entries);
    if judged.iter().all(|(it, _)| it.allow) && judged.last().is_some_and(|it| is_all(*it)) {
        return None;
    }
    let rules = judged.into_iter().map(|(entry, net)| {
        let verdict = if entry.allow {
            Verdict::Return
        } else {
            Verdict::Drop
        };
        let mut parts = Vec::new();
        if net.prefix_len() > 0 {
            parts.push(match way {
                Way::In => Part::Source(net),
                Way::Out => Part::Destination(net),
            });
        }
        parts.extend(traffic(entry.traffic));
        parts.push(Part::Verdict(verdict));
        parts
    });
    let name = chain_name(kind, acl.id.as_str());
    let rest = vec![Part::Verdict(Verdict::Drop)];
    add(table, name.clone(), rules.chain([rest]));
    Some(name)
}

/// The entries that IPv4 packets can meet, up to the first that matches them all.
fn decisive(entries: &[AclEntry]) -> Vec<(&AclEntry, Ipv4Net)> {
    let v4 = entries.iter().filter_map(|it| Some((it, ipv4(&it.cidr)?)));
    let mut met = Vec::new();
    for entry in v4 {
        met.push(entry);
        if is_all(entry) {
            break;
        }
    }
    met
}

fn is_all((entry, net): (&AclEntry, Ipv4Net)) -> bool {
    entry.traffic == Traffic::All && net.prefix_len() == 0
}
