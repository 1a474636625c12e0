//! The host's own side of internet gateways: the far ends of uplinks, routes to public addresses, and a
//! table that lets instances through to the outside and never to the host itself.

use lath_feed::Snapshot;

use super::{GATEWAY_MTU, UPLINK_HOST, UPLINK_ROUTER, VpcView, host_net, uplink_name};
use crate::fabric::host_table;
use crate::facts::{HostFacts, Uplink};
use crate::name;
use crate::nft::{Chain, ChainKind, CtState, Hook, Key, KeyType, Part, Rule, Set, Table, Verdict};
use crate::plan::{Link, LinkKind, MAIN, Namespace, RouteTo};

const UPLINKS: &str = "uplinks";
const PUBLIC: &str = "public";
const OUTSIDE: &str = "outside";
/// Before other tables' filters: a drop is final, an accept is not.
const FIRST: i32 = -10;
const SOURCE_NAT: i32 = 100;

pub(super) fn plan(snapshot: &Snapshot, facts: &HostFacts) -> Namespace {
    let mut host = Namespace::default();
    let Uplink::Host { devices } = &facts.uplink else {
        return host;
    };
    let mut uplinks = Set::new(KeyType::Link);
    let mut public = Set::new(KeyType::Address);
    for vpc in snapshot.vpcs.values() {
        let view = VpcView::new(snapshot, facts, vpc);
        if !view.has_gateway() {
            continue;
        }
        let link = uplink_name(facts, vpc);
        add_uplink(&mut host, facts, &link, vpc.id.as_str());
        for address in view.public_addresses() {
            host.route(MAIN, host_net(address), RouteTo::via(&link, UPLINK_ROUTER));
            public.insert(Key::Address(address));
        }
        uplinks.insert(Key::Link(link));
    }
    if uplinks.elements.is_empty() {
        return host;
    }
    for device in devices {
        // Per device, so that a host which does not forward otherwise goes on not to.
        host.sysctl(format!("ipv4/conf/{device}/forwarding"), 1);
    }
    host.table = Some(table(facts, uplinks, public, devices));
    host
}

fn add_uplink(host: &mut Namespace, facts: &HostFacts, link: &str, vpc: &str) {
    let end = Link {
        kind: LinkKind::Peer,
        mac: None,
        mtu: Some(GATEWAY_MTU),
        alias: Some(name::alias(&facts.owner, vpc)),
        up: true,
    };
    host.links.insert(link.to_owned(), end);
    host.address(link, host_net(UPLINK_HOST));
    host.sysctl(format!("ipv4/conf/{link}/forwarding"), 1);
    host.sysctl(format!("ipv4/conf/{link}/rp_filter"), 0);
    host.sysctl(format!("ipv6/conf/{link}/disable_ipv6"), 1);
}

pub(crate) fn table(facts: &HostFacts, uplinks: Set, public: Set, devices: &[String]) -> Table {
    let mut table = Table::new(host_table(&facts.owner));
    let mut outside = Set::new(KeyType::Link);
    devices
        .iter()
        .for_each(|device| outside.insert(Key::Link(device.clone())));
    let sets = [(UPLINKS, uplinks), (PUBLIC, public), (OUTSIDE, outside)];
    table
        .sets
        .extend(sets.map(|(name, set)| (name.to_owned(), set)));
    let filter = |hook, rules| Chain::base(ChainKind::Filter, hook, FIRST, true, rules);
    table
        .chains
        .insert("input".into(), filter(Hook::Input, input()));
    table.chains.insert(
        "forward".into(),
        filter(Hook::Forward, forward(facts.forwards)),
    );
    if !facts.masquerades {
        return table;
    }
    let masquerade = Rule::new([
        Part::SourceIn(PUBLIC.into()),
        Part::OifNotIn(UPLINKS.into()),
        Part::Masquerade,
    ]);
    let chain = Chain::base(
        ChainKind::Nat,
        Hook::Postrouting,
        SOURCE_NAT,
        true,
        vec![masquerade],
    );
    table.chains.insert("masquerade".into(), chain);
    table
}

fn accept() -> Part {
    Part::Verdict(Verdict::Accept)
}

fn drop_it() -> Part {
    Part::Verdict(Verdict::Drop)
}

/// Instances reach nothing of the host, its API included; answers to the host's own connections pass.
fn input() -> Vec<Rule> {
    let uplinks = || Part::IifIn(UPLINKS.into());
    vec![
        Rule::new([uplinks(), Part::Ct(CtState::EstablishedRelated), accept()]),
        Rule::new([uplinks(), drop_it()]),
    ]
}

/// Only mapped addresses leave, only towards the outside or another VPC's public address. A host
/// without other forwarding lets nothing through from the outside but to uplinks.
fn forward(for_others: bool) -> Vec<Rule> {
    let uplinks = || Part::IifIn(UPLINKS.into());
    let mut rules = vec![
        Rule::new([uplinks(), Part::Ct(CtState::EstablishedRelated), accept()]),
        Rule::new([uplinks(), Part::SourceNotIn(PUBLIC.into()), drop_it()]),
        Rule::new([uplinks(), Part::OifIn(UPLINKS.into()), accept()]),
        Rule::new([uplinks(), Part::OifNotIn(OUTSIDE.into()), drop_it()]),
    ];
    if !for_others {
        let outside = Part::IifIn(OUTSIDE.into());
        rules.push(Rule::new([
            outside,
            Part::OifNotIn(UPLINKS.into()),
            drop_it(),
        ]));
    }
    rules
}
