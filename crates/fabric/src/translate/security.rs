//! Security groups as chains: one for each distinct combination of groups, each rule of each group in it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net};
use lath_feed::{Peer, SecurityRule, Traffic};
use lath_model::id::{PrefixListId, SecurityGroupId};

use super::{Attached, VpcView};
use crate::name;
use crate::nft::{Chain, Key, KeyType, Part, Rule, Set, Table, Verdict};

/// Groups that guard an interface together.
pub(super) type Combination = BTreeSet<SecurityGroupId>;

/// Which way packets go, seen from the guarded side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the guarded side: what a rule allows is accepted.
    In,
    /// From the guarded side: what a rule allows goes on to the next check.
    Out,
}

/// The chain of a combination: its name depends on nothing but the groups.
pub(super) fn chain_name(way: Way, groups: &Combination) -> String {
    let ids: Vec<&str> = groups.iter().map(SecurityGroupId::as_str).collect();
    let prefix = if way == Way::In { "i" } else { "o" };
    format!("{prefix}_{:016x}", name::digest(&ids.join(",")))
}

pub(super) fn group_set(id: &SecurityGroupId) -> String {
    format!("sg_{}", tail(id.as_str()))
}

pub(super) fn list_set(id: &PrefixListId) -> String {
    format!("pl_{}", tail(id.as_str()))
}

pub(super) fn tail(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl VpcView<'_> {
    /// Adds the chain of a combination with the sets that it refers to, and returns its name.
    pub(super) fn guard(&self, table: &mut Table, way: Way, groups: &Combination) -> String {
        let name = chain_name(way, groups);
        if table.chains.contains_key(&name) {
            return name;
        }
        let verdict = if way == Way::In {
            Verdict::Accept
        } else {
            Verdict::Return
        };
        let mut rules = Vec::new();
        for rule in self.rules(way, groups) {
            self.declare(table, &rule.peer);
            let parts = allowed(rule, way)
                .map(|parts| Rule::new(parts.into_iter().chain([Part::Verdict(verdict.clone())])));
            // Two groups may hold the same rule.
            rules.extend(parts.filter(|rule| !rules.contains(rule)));
        }
        rules.push(Rule::new([Part::Verdict(Verdict::Drop)]));
        table.chains.insert(name.clone(), Chain::new(rules));
        name
    }

    /// The chain of an interface: that of its groups, or where it has branches, one that leads each address to its own.
    pub(super) fn guard_of(&self, table: &mut Table, way: Way, attached: &Attached<'_>) -> String {
        let interface = attached.interface;
        let own = self.guard(table, way, &interface.security_groups);
        if interface.branches.is_empty() {
            return own;
        }
        let mut by_groups: BTreeMap<&Combination, Set> = BTreeMap::new();
        let mut all = Set::new(KeyType::Address);
        for branch in &interface.branches {
            let set = by_groups.entry(&branch.security_groups);
            let set = set.or_insert_with(|| Set::new(KeyType::Address));
            set.insert(Key::Address(branch.address));
            all.insert(Key::Address(branch.address));
        }
        // Both ways share the sets.
        let set_name = |groups: &str| format!("b_{}_{groups}", attached.link);
        let its = |name: &str| match way {
            Way::In => Part::DestinationIn(name.to_owned()),
            Way::Out => Part::SourceIn(name.to_owned()),
        };
        let mut rules = Vec::new();
        for (groups, set) in by_groups {
            let guard = self.guard(table, way, groups);
            let name = set_name(guard.split_once('_').map_or("", |(_, digest)| digest));
            rules.push(Rule::new([its(&name), Part::Verdict(Verdict::Jump(guard))]));
            table.sets.insert(name, set);
        }
        let name = set_name("all");
        rules.push(Rule::new([its(&name), Part::Verdict(Verdict::Return)]));
        rules.push(Rule::new([Part::Verdict(Verdict::Jump(own))]));
        table.sets.insert(name, all);
        let prefix = if way == Way::In { "bi" } else { "bo" };
        let chain = format!("{prefix}_{}", attached.link);
        table.chains.insert(chain.clone(), Chain::new(rules));
        chain
    }

    fn rules(&self, way: Way, groups: &Combination) -> Vec<&SecurityRule> {
        let groups = groups
            .iter()
            .filter_map(|id| self.snapshot.security_groups.get(id));
        groups
            .flat_map(|g| {
                if way == Way::In {
                    &g.ingress
                } else {
                    &g.egress
                }
            })
            .collect()
    }

    /// The set of a rule's peer: a group's members in this VPC, or a list's blocks.
    fn declare(&self, table: &mut Table, peer: &Peer) {
        match peer {
            Peer::Cidr(_) => {}
            Peer::Group(id) => {
                table
                    .sets
                    .entry(group_set(id))
                    .or_insert_with(|| self.members(id));
            }
            Peer::PrefixList(id) => {
                table
                    .sets
                    .entry(list_set(id))
                    .or_insert_with(|| self.blocks(id));
            }
        }
    }

    /// A reference means the private addresses (and prefixes) of the group's interfaces
    /// (<https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>), also of a group of another
    /// VPC: the feed holds such a rule only while a Transit Gateway joins the two.
    fn members(&self, id: &SecurityGroupId) -> Set {
        let mut set = Set::new(KeyType::Address);
        let here = self.attached.iter().map(|a| a.interface);
        let here = here.chain(self.gateway_interfaces());
        let members = here.chain(self.elsewhere(id));
        let addresses = members.flat_map(|interface| interface.members(id));
        addresses.for_each(|address| set.insert(Key::Address(address)));
        set
    }

    /// Interfaces of the VPC of a group that is not this one's.
    fn elsewhere(&self, id: &SecurityGroupId) -> impl Iterator<Item = &lath_feed::Interface> {
        let group = self.snapshot.security_groups.get(id);
        let vpc = group.filter(|group| group.vpc != self.vpc.id);
        let vpc = vpc.and_then(|group| self.snapshot.vpcs.get(&group.vpc));
        vpc.into_iter().flat_map(|vpc| vpc.interfaces.values())
    }

    fn blocks(&self, id: &PrefixListId) -> Set {
        let list = self.snapshot.prefix_lists.get(id);
        Set::of_blocks(
            list.into_iter()
                .flat_map(|l| l.cidrs.iter())
                .filter_map(ipv4),
        )
    }
}

pub(super) fn ipv4(net: &IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net.trunc()),
        IpNet::V6(_) => None,
    }
}

/// The matches of a rule; `None` when no IPv4 packet can match it.
fn allowed(rule: &SecurityRule, way: Way) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    match &rule.peer {
        Peer::Cidr(net) => {
            let net = ipv4(net)?;
            if net.prefix_len() > 0 {
                parts.push(if way == Way::In {
                    Part::Source(net)
                } else {
                    Part::Destination(net)
                });
            }
        }
        Peer::Group(id) => parts.push(peer_set(way, group_set(id))),
        Peer::PrefixList(id) => parts.push(peer_set(way, list_set(id))),
    }
    parts.extend(traffic(rule.traffic));
    Some(parts)
}

fn peer_set(way: Way, set: String) -> Part {
    if way == Way::In {
        Part::SourceIn(set)
    } else {
        Part::DestinationIn(set)
    }
}

pub(super) fn traffic(traffic: Traffic) -> Vec<Part> {
    match traffic {
        Traffic::All => Vec::new(),
        Traffic::Tcp(first, last) => ports(TCP, first, last),
        Traffic::Udp(first, last) => ports(UDP, first, last),
        Traffic::Icmp(kind, code) => {
            let mut parts = vec![Part::Protocol(ICMP)];
            parts.extend(kind.map(Part::IcmpType));
            parts.extend(code.map(Part::IcmpCode));
            parts
        }
        Traffic::Icmpv6(..) => vec![Part::Protocol(ICMPV6)],
        Traffic::Protocol(number) => vec![Part::Protocol(number)],
    }
}

fn ports(protocol: u8, first: u16, last: u16) -> Vec<Part> {
    let mut parts = vec![Part::Protocol(protocol)];
    if (first, last) != (0, u16::MAX) {
        parts.push(Part::Ports(first, last));
    }
    parts
}
