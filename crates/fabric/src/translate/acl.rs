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
use lath_feed::{AclEntry, Subnet, Traffic, Vpc};
use lath_model::id::{NetworkAclId, SubnetId};

use super::attachment::VpcJoint;
use super::endpoint::addresses_of;
use super::firewall::{ICMP, SERVICES};
use super::nat::NAT_PRIVATE;
use super::security::{Way, ipv4, tail, traffic};
use super::tables::KernelTables;
use super::{VpcView, WAN};
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

/// A subnet, and its ACL.
struct Guarded<'a> {
    subnet: &'a Subnet,
    judge: Judge<'a>,
}

/// The chains of an ACL that deny anything.
#[derive(Clone)]
struct Judge<'a> {
    /// For packets that enter.
    ingress: Option<String>,
    /// For packets that leave.
    egress: Option<String>,
    /// What the first one was made of.
    entries: &'a [AclEntry],
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
        let mut judges = BTreeMap::new();
        let mut guarded: BTreeMap<&SubnetId, Guarded<'_>> = BTreeMap::new();
        for subnet in self.vpc.subnets.values() {
            let Some(acl) = &subnet.network_acl else {
                continue;
            };
            let judge = judges
                .entry(acl)
                .or_insert_with(|| self.judge(table, acl))
                .clone();
            if judge.ingress.is_some() || judge.egress.is_some() {
                guarded.insert(&subnet.id, Guarded { subnet, judge });
            }
        }
        if guarded.is_empty() {
            return Edges::default();
        }
        for it in guarded.values() {
            self.subnet_chains(table, it);
        }
        let mut edges = self.edge_maps(table, &guarded);
        self.edges_of_nat(table, tables, &guarded, &mut edges);
        for joint in self.transit() {
            self.edges_to_joint(table, tables, &guarded, &joint, &mut edges);
            edges_from_joint(self.vpc, table, &guarded, &joint, &mut edges);
        }
        edges
    }

    /// Makes the chains of an ACL. One that is not known denies everything.
    fn judge(&self, table: &mut Table, id: &NetworkAclId) -> Judge<'_> {
        let acl = self.vpc.network_acls.get(id);
        let entries: &[AclEntry] = acl.map_or(&[], |acl| &acl.ingress);
        let leaving: &[AclEntry] = acl.map_or(&[], |acl| &acl.egress);
        Judge {
            ingress: acl_chain(table, id, entries, Way::In),
            egress: acl_chain(table, id, leaving, Way::Out),
            entries,
        }
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
        if let Some(acl) = &guarded.judge.egress {
            let rules = [
                vec![Part::Destination(cidr), back()],
                vec![Part::DestinationIn(SERVICES.into()), back()],
                vec![jump(acl)],
            ];
            add(table, chain_name("leave", id), rules);
        }
        if let Some(acl) = &guarded.judge.ingress {
            // "Inbound rules are not evaluated" where the attachment is in the very subnet
            // (https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html).
            let is_here = |it: &VpcJoint<'_>| it.subnets.iter().any(|its| its.id == subnet.id);
            let joints = self.transit().filter(is_here);
            let joints = joints.map(|it| vec![Part::Iif(it.link), back()]);
            let rules = [
                vec![Part::IifIn(links(subnet)), back()],
                // From one of the router's own addresses here to another.
                vec![Part::Iif("lo".into()), Part::Source(cidr), back()],
            ];
            let rules = rules.into_iter().chain(joints).chain([vec![jump(acl)]]);
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
            if guarded.judge.egress.is_some() {
                set(&mut leaving, link(), "leave", id);
            }
            if guarded.judge.ingress.is_some() {
                set(&mut entering, link(), "enter", id);
                set(&mut entering_own, link(), "enter_own", id);
            }
        }
        for (id, address) in self.own_points() {
            let Some(guarded) = guarded.get(&id) else {
                continue;
            };
            if guarded.judge.egress.is_some() {
                set(&mut points_out, Key::Address(address), "leave", &id);
            }
            if guarded.judge.ingress.is_some() {
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
            let enter = chain_name("enter", subnet.id.as_str());
            let ingress = its.judge.ingress.iter();
            let ingress = ingress.map(|_| vec![jump(&enter)]);
            let egress = its.judge.egress.iter();
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
    /// from that subnet itself; what a NAT gateway sends there enters that of the NAT gateway's zone.
    fn edges_to_joint(
        &self,
        table: &mut Table,
        tables: &KernelTables<'_>,
        guarded: &BTreeMap<&SubnetId, Guarded<'_>>,
        joint: &VpcJoint<'_>,
        edges: &mut Edges,
    ) {
        let to = || Part::Oif(joint.link.clone());
        let has_nat = self.nat_gateways().next().is_some();
        let mut translated = Set::map(KeyType::Mark, ValueType::Jump);
        for subnet in &joint.subnets {
            let Some(its) = guarded.get(&subnet.id) else {
                continue;
            };
            let Some(acl) = &its.judge.ingress else {
                continue;
            };
            let known = self.nat_into(table, tables, its, acl);
            translated.elements.extend(known);
            let zone = chain_name("edge_zone", subnet.id.as_str());
            let links = self.links_in_zone_of(subnet);
            table.sets.insert(zone.clone(), links);
            let mut parts = vec![to()];
            if has_nat {
                parts.push(Part::MarkNotIn(NAT_PRIVATE.into()));
            }
            parts.extend([Part::IifIn(zone), jump(acl)]);
            edges.forward.push(Rule::new(parts));
            let zone = chain_name("edge_points", subnet.id.as_str());
            let points = self.points_in_zone_of(subnet);
            table.sets.insert(zone.clone(), points);
            let parts = [to(), Part::SourceIn(zone), jump(acl)];
            edges.output.push(Rule::new(parts));
        }
        if !translated.elements.is_empty() {
            let map = chain_name("edge_nat_to", joint.attachment.id.as_str());
            table.sets.insert(map.clone(), translated);
            let parts = [to(), Part::MarkVerdict(map)];
            edges.forward.push(Rule::new(parts));
        }
    }

    /// From the marks of the NAT gateways in an attachment's zone to chains for what they send into its subnet: that is
    /// judged with their addresses, which it gets later. Answers of the internet bear their own.
    fn nat_into(
        &self,
        table: &mut Table,
        tables: &KernelTables<'_>,
        guarded: &Guarded<'_>,
        acl: &str,
    ) -> Vec<(Key, Value)> {
        let subnet = guarded.subnet;
        let mut chains = Vec::new();
        for (nat, at) in self.nat_gateways() {
            let id = nat.id.as_str();
            let Some(known) = tables.get(id) else {
                continue;
            };
            if at.availability_zone != subnet.availability_zone {
                continue;
            }
            let name = format!("edge_nat_{}_{}", tail(subnet.id.as_str()), tail(id));
            let answers = [jump(acl), back()].map(|it| vec![Part::Iif(WAN.into()), it]);
            let from_it = decisive(guarded.judge.entries).into_iter();
            let from_it = from_it.filter(|(_, net)| net.contains(&nat.private));
            let from_it = from_it.map(|(entry, _)| parts_of(entry, None));
            let rest = vec![Part::Verdict(Verdict::Drop)];
            let rules = answers.into_iter().chain(from_it).chain([rest]);
            add(table, name.clone(), rules);
            chains.push((Key::Mark(known.number), Value::Jump(name)));
        }
        chains
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

/// What comes from a transit gateway leaves the attachment's subnet in the zone that it is bound for, unless it stays in
/// there; that of the first zone where it is bound for none of the attachment's.
fn edges_from_joint(
    vpc: &Vpc,
    table: &mut Table,
    guarded: &BTreeMap<&SubnetId, Guarded<'_>>,
    joint: &VpcJoint<'_>,
    edges: &mut Edges,
) {
    let leave = |subnet: &Subnet| {
        let its = guarded.get(&subnet.id)?;
        its.judge.egress.as_ref()?;
        Some(jump(&chain_name("leave", subnet.id.as_str())))
    };
    if joint.subnets.iter().all(|it| leave(it).is_none()) {
        return;
    }
    let mut rules = Vec::new();
    let others = joint.subnets.iter().filter(|it| it.id != joint.subnet.id);
    for subnet in others {
        let zone = &subnet.availability_zone;
        let there = vpc.subnets.values();
        let there = there.filter(|it| it.availability_zone == *zone);
        let blocks = Set::of_blocks(there.map(|it| it.cidr.trunc()));
        let zone = chain_name("edge_blocks", subnet.id.as_str());
        table.sets.insert(zone.clone(), blocks);
        let verdicts = leave(subnet).into_iter().chain([back()]);
        rules.extend(verdicts.map(|it| vec![Part::DestinationIn(zone.clone()), it]));
    }
    rules.extend(leave(joint.subnet).map(|it| vec![it]));
    let name = chain_name("edge_from", joint.attachment.id.as_str());
    add(table, name.clone(), rules);
    let parts = [Part::Iif(joint.link.clone()), jump(&name)];
    edges.before.push(Rule::new(parts));
}

fn add(table: &mut Table, name: String, rules: impl IntoIterator<Item = Vec<Part>>) {
    let rules = rules.into_iter().map(Rule::new).collect();
    table.chains.insert(name, Chain::new(rules));
}

/// The chain of one direction of an ACL; `None` when that denies nothing.
fn acl_chain(
    table: &mut Table,
    id: &NetworkAclId,
    entries: &[AclEntry],
    way: Way,
) -> Option<String> {
    let kind = match way {
        Way::In => "acl_in",
        Way::Out => "acl_out",
    };
    let judged = decisive(entries);
    if judged.iter().all(|(it, _)| it.allow) && judged.last().is_some_and(|it| is_all(*it)) {
        return None;
    }
    let rules = judged.into_iter().map(|(entry, net)| {
        let far = (net.prefix_len() > 0).then_some(match way {
            Way::In => Part::Source(net),
            Way::Out => Part::Destination(net),
        });
        parts_of(entry, far)
    });
    let name = chain_name(kind, id.as_str());
    let rest = vec![Part::Verdict(Verdict::Drop)];
    add(table, name.clone(), rules.chain([rest]));
    Some(name)
}

/// The rule of an entry, for packets of the far end.
fn parts_of(entry: &AclEntry, far: Option<Part>) -> Vec<Part> {
    let verdict = if entry.allow {
        Verdict::Return
    } else {
        Verdict::Drop
    };
    let mut parts = Vec::from_iter(far);
    parts.extend(traffic(entry.traffic));
    parts.push(Part::Verdict(verdict));
    parts
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
