//! NAT gateways: packets whose route leads to one take its subnet's route table and leave with its address.
//!
//! In the router's `mark` chain a packet of a table with such routes is matched with the table's prefixes,
//! longest first; if the one it fits leads to a NAT gateway, it gets the gateway's mark, hence its table,
//! and so does its connection: answers that are bound beyond the VPC go back by the same table.

use std::cmp::Reverse;

use lath_feed::{NatGateway, Route, RouteTarget, Subnet};

use super::VpcView;
use super::firewall::TRANSIT;
use super::tables::{KernelTable, KernelTables};
use crate::facts::Uplink;
use crate::nft::{Chain, Key, KeyType, Part, Rule, Set, Table, Timeout, Value, ValueType, Verdict};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// From a table's mark to the chain that knows its NAT gateways.
const TRANSLATED: &str = "translated";
/// From a gateway's mark to its elastic address.
pub(super) const NAT_PUBLIC: &str = "nat_public";
/// From a gateway's mark to its private address.
pub(super) const NAT_PRIVATE: &str = "nat_private";

impl<'a> VpcView<'a> {
    /// The VPC's NAT gateways and their subnets.
    pub(super) fn nat_gateways(
        &self,
    ) -> impl Iterator<Item = (&'a NatGateway, &'a Subnet)> + use<'a> {
        let vpc = self.vpc;
        let all = vpc.nat_gateways.values();
        all.filter_map(move |nat| Some((nat, vpc.subnets.get(&nat.subnet)?)))
    }

    /// Whether each can do what it is for.
    pub(super) fn nat_outcome(&self, nat: &NatGateway) -> Result<(), String> {
        match (&self.facts.uplink, nat.public) {
            (Uplink::None(reason), Some(_)) => Err(format!("no way to the internet: {reason}")),
            _ if !self.vpc.subnets.contains_key(&nat.subnet) => {
                Err(format!("{} is not in the VPC", nat.subnet))
            }
            _ => Ok(()),
        }
    }

    /// Adds what marks packets for NAT gateways; the rules for the `mark` chain.
    pub(super) fn nat_marks(&self, table: &mut Table, tables: &KernelTables<'_>) -> Vec<Rule> {
        let mut translated = Set::map(KeyType::Mark, ValueType::Jump);
        for known in tables.values() {
            if let Some(chain) = self.nat_chain(known, tables) {
                let name = format!("nat_{:x}", known.number);
                let jump = Value::Jump(name.clone());
                translated.elements.insert(Key::Mark(known.number), jump);
                table.chains.insert(name, chain);
            }
        }
        if self.nat_gateways().next().is_none() {
            return Vec::new();
        }
        table.sets.insert(TRANSLATED.into(), translated);
        self.nat_addresses(table, tables);
        let mut rules = vec![Rule::new([Part::MarkVerdict(TRANSLATED.into())])];
        if self.facts.ends_idle {
            rules.extend(idle(table));
        }
        rules.push(Rule::new([Part::AnswerMark]));
        rules
    }

    fn nat_addresses(&self, table: &mut Table, tables: &KernelTables<'_>) {
        let mut public = Set::map(KeyType::Mark, ValueType::Address);
        let mut private = Set::map(KeyType::Mark, ValueType::Address);
        for (nat, _) in self.nat_gateways() {
            let Some(known) = tables.get(nat.id.as_str()) else {
                continue;
            };
            let mark = Key::Mark(known.number);
            let inside = Value::Address(nat.private);
            private.elements.insert(mark.clone(), inside);
            if let Some(address) = nat.public.filter(|_| self.has_gateway()) {
                public.elements.insert(mark, Value::Address(address));
            }
        }
        table.sets.insert(NAT_PUBLIC.into(), public);
        table.sets.insert(NAT_PRIVATE.into(), private);
    }

    /// `None` for a table that leads to no NAT gateway, such as that of one.
    fn nat_chain(&self, table: &KernelTable<'_>, tables: &KernelTables<'_>) -> Option<Chain> {
        let mut routes: Vec<&Route> = table.routes?.routes.iter().collect();
        let leads = |r: &&Route| matches!(r.target, RouteTarget::NatGateway(_));
        if table.of_nat || !routes.iter().any(leads) {
            return None;
        }
        routes.sort_by_key(|route| Reverse(route.destination.prefix_len()));
        let back = || Part::Verdict(Verdict::Return);
        let local = self.vpc.cidrs.iter();
        let mut rules: Vec<Rule> = local
            .map(|cidr| Rule::new([Part::Destination(cidr.trunc()), back()]))
            .collect();
        for route in routes {
            let mut parts = vec![Part::Destination(route.destination.trunc())];
            if let RouteTarget::NatGateway(id) = &route.target
                && let Some(nat) = tables.get(id.as_str())
            {
                parts.extend([Part::Mark(nat.number), Part::ConnectionMark(nat.number)]);
            }
            parts.push(back());
            rules.push(Rule::new(parts));
        }
        Some(Chain::new(rules))
    }
}

/// "If a connection that's using a NAT gateway is idle for 350 seconds or more, the connection times out"
/// (<https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html>).
fn idle(table: &mut Table) -> [Rule; 2] {
    [TCP, UDP].map(|protocol| {
        let timeout = Timeout {
            protocol,
            seconds: 350,
        };
        table.timeouts.insert(timeout);
        Rule::new([Part::MarkIn(NAT_PRIVATE.into()), Part::Idle(timeout)])
    })
}

/// Source translations of the router, before those of public addresses.
pub(super) fn translations(wan: &str) -> [Rule; 2] {
    [
        Rule::new([
            Part::Oif(wan.into()),
            Part::SourceNatByMark(NAT_PUBLIC.into()),
        ]),
        Rule::new([
            Part::OifIn(TRANSIT.into()),
            Part::SourceNatByMark(NAT_PRIVATE.into()),
        ]),
    ]
}
