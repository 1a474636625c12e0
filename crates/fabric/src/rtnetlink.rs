//! Links, addresses, routes and rules through rtnetlink.
//!
//! Ours are known by the link's alias and by the protocol number of addresses, routes and rules.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;

use crate::name;
use crate::netlink::{Message, Netlink, Received, attribute, text, u32_of};
use crate::plan::{Address, Link, LinkKind, RouteKey, RouteTo, Rule, RuleAction, RuleMatch};

/// Lath's number as the origin of routes, rules and addresses (`ip route` prints it as `proto 76`).
pub(crate) const PROTOCOL: u8 = 76;

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;
const REPLACE: u16 = libc::NLM_F_REPLACE as u16;
const INET: u8 = libc::AF_INET as u8;
const UP: u32 = libc::IFF_UP as u32;

const IFLA_EXT_MASK: u16 = 29;
const SKIP_STATISTICS: u32 = 8;
const VETH_INFO_PEER: u16 = 1;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const NO_PREFIX_ROUTE: u32 = 0x200;
const RTA_TABLE: u16 = 15;
const ON_LINK: u32 = 4;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_MARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_MASK: u16 = 16;
const FRA_PROTOCOL: u16 = 21;
const TO_TABLE: u8 = 1;
const DROP: u8 = 6;

/// `ifinfomsg`.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// Links by index: name and what is known.
pub(crate) fn links(netlink: &mut Netlink) -> io::Result<BTreeMap<u32, (String, Link)>> {
    let mut message = Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0));
    message.u32(IFLA_EXT_MASK, SKIP_STATISTICS);
    Ok(netlink.dump(message)?.iter().filter_map(link).collect())
}

fn link(received: &Received) -> Option<(u32, (String, Link))> {
    let header = received.payload.get(..16)?;
    let body = received.payload.get(16..)?;
    let name = text(attribute(body, libc::IFLA_IFNAME)?);
    let link = Link {
        kind: if name == "lo" {
            LinkKind::Loopback
        } else {
            LinkKind::Observed
        },
        mac: attribute(body, libc::IFLA_ADDRESS).map(mac_text),
        mtu: attribute(body, libc::IFLA_MTU).and_then(u32_of),
        alias: attribute(body, libc::IFLA_IFALIAS)
            .map(text)
            .filter(|a| !a.is_empty()),
        up: u32_of(&header[8..12])? & UP != 0,
    };
    Some((u32_of(&header[4..8])?, (name, link)))
}

fn mac_text(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    pairs.join(":")
}

fn mac_bytes(text: &str) -> io::Result<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect();
    bytes.filter(|b| b.len() == 6).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{text:?} is no hardware address"),
        )
    })
}

/// Makes a veth whose peer is in another namespace; both are down.
pub(crate) fn add_veth(
    netlink: &mut Netlink,
    name: &str,
    peer: &str,
    place: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut message = Message::new(libc::RTM_NEWLINK, CREATE | EXCLUSIVE, &link_header(0, 0, 0));
    message
        .text(libc::IFLA_IFNAME, name)
        .nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth")
                .nest(libc::IFLA_INFO_DATA, |data| {
                    data.nest(VETH_INFO_PEER, |other| {
                        other
                            .raw(&link_header(0, 0, 0))
                            .text(libc::IFLA_IFNAME, peer);
                        other.u32(libc::IFLA_NET_NS_FD, place.as_raw_fd() as u32);
                    });
                });
        });
    netlink.request(message)
}

/// Makes hardware address, MTU, alias and state those of `wanted`.
pub(crate) fn set_link(netlink: &mut Netlink, index: u32, wanted: &Link) -> io::Result<()> {
    let flags = if wanted.up { UP } else { 0 };
    let mut message = Message::new(libc::RTM_SETLINK, 0, &link_header(index, flags, UP));
    if let Some(mac) = &wanted.mac {
        message.attr(libc::IFLA_ADDRESS, &mac_bytes(mac)?);
    }
    if let Some(mtu) = wanted.mtu {
        message.u32(libc::IFLA_MTU, mtu);
    }
    if let Some(alias) = &wanted.alias {
        message.attr(libc::IFLA_IFALIAS, alias.as_bytes());
    }
    netlink.request(message)
}

/// Sets the loopback link up, which gives it 127.0.0.1. It is the first link of every namespace.
pub(crate) fn raise_loopback(netlink: &mut Netlink) -> io::Result<()> {
    netlink.request(Message::new(libc::RTM_SETLINK, 0, &link_header(1, UP, UP)))
}

/// Removes a link.
pub(crate) fn delete_link(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    netlink.request(Message::new(
        libc::RTM_DELLINK,
        0,
        &link_header(index, 0, 0),
    ))
}

/// Our addresses.
pub(crate) fn addresses(
    netlink: &mut Netlink,
    names: &BTreeMap<u32, (String, Link)>,
) -> io::Result<BTreeSet<Address>> {
    let message = Message::new(libc::RTM_GETADDR, 0, &[INET, 0, 0, 0, 0, 0, 0, 0]);
    Ok(netlink
        .dump(message)?
        .iter()
        .filter_map(|r| address(r, names))
        .collect())
}

/// All addresses, those that other programs made included.
pub(crate) fn all_addresses(netlink: &mut Netlink) -> io::Result<BTreeSet<Ipv4Addr>> {
    let message = Message::new(libc::RTM_GETADDR, 0, &[INET, 0, 0, 0, 0, 0, 0, 0]);
    let all = netlink.dump(message)?;
    let bodies = all.iter().filter_map(|r| r.payload.get(8..));
    Ok(bodies
        .filter_map(|body| attribute(body, libc::IFA_LOCAL).and_then(ipv4))
        .collect())
}

fn address(received: &Received, names: &BTreeMap<u32, (String, Link)>) -> Option<Address> {
    let body = received.payload.get(8..)?;
    if attribute(body, IFA_PROTO) != Some(&[PROTOCOL]) {
        return None;
    }
    let (dev, _) = names.get(&u32_of(&received.payload[4..8])?)?;
    let address = ipv4(attribute(body, libc::IFA_LOCAL)?)?;
    let net = Ipv4Net::new(address, received.payload[1]).ok()?;
    Some(Address {
        dev: dev.clone(),
        net,
    })
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

fn address_message(kind: u16, flags: u16, index: u32, net: Ipv4Net) -> Message {
    let mut header = [INET, net.prefix_len(), 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut message = Message::new(kind, flags, &header);
    message.attr(libc::IFA_LOCAL, &net.addr().octets());
    message.attr(libc::IFA_ADDRESS, &net.addr().octets());
    message
}

/// Adds an address without a route to its network.
pub(crate) fn add_address(netlink: &mut Netlink, index: u32, net: Ipv4Net) -> io::Result<()> {
    let mut message = address_message(libc::RTM_NEWADDR, CREATE | REPLACE, index, net);
    message
        .u32(IFA_FLAGS, NO_PREFIX_ROUTE)
        .attr(IFA_PROTO, &[PROTOCOL]);
    netlink.request(message)
}

/// Removes an address.
pub(crate) fn delete_address(netlink: &mut Netlink, index: u32, net: Ipv4Net) -> io::Result<()> {
    netlink.request(address_message(libc::RTM_DELADDR, 0, index, net))
}

/// `rtmsg`.
fn route_header(to: Ipv4Net, scope: u8, kind: u8, flags: u32) -> [u8; 12] {
    let mut header = [
        INET,
        to.prefix_len(),
        0,
        0,
        0,
        PROTOCOL,
        scope,
        kind,
        0,
        0,
        0,
        0,
    ];
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header
}

const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_NOWHERE: u8 = 255;
const UNICAST: u8 = 1;
const BLACKHOLE: u8 = 6;
const UNREACHABLE: u8 = 7;
const THROW: u8 = 9;

/// Our routes, of every table.
pub(crate) fn routes(
    netlink: &mut Netlink,
    names: &BTreeMap<u32, (String, Link)>,
) -> io::Result<BTreeMap<RouteKey, RouteTo>> {
    let filter = [INET, 0, 0, 0, 0, PROTOCOL, 0, 0, 0, 0, 0, 0];
    let all = netlink.dump(Message::new(libc::RTM_GETROUTE, 0, &filter))?;
    Ok(all.iter().filter_map(|r| route(r, names)).collect())
}

fn route(
    received: &Received,
    names: &BTreeMap<u32, (String, Link)>,
) -> Option<(RouteKey, RouteTo)> {
    let header = received.payload.get(..12)?;
    let body = received.payload.get(12..)?;
    if header[5] != PROTOCOL || header[0] != INET {
        return None;
    }
    let to = attribute(body, libc::RTA_DST).map_or(Some(Ipv4Addr::UNSPECIFIED), ipv4)?;
    let to = Ipv4Net::new(to, header[1]).ok()?;
    let table = attribute(body, RTA_TABLE)
        .and_then(u32_of)
        .unwrap_or_else(|| u32::from(header[4]));
    let target = match header[7] {
        BLACKHOLE => RouteTo::Blackhole,
        UNREACHABLE => RouteTo::Unreachable,
        THROW => RouteTo::Throw,
        UNICAST => RouteTo::Dev {
            dev: names
                .get(&attribute(body, libc::RTA_OIF).and_then(u32_of)?)?
                .0
                .clone(),
            via: attribute(body, libc::RTA_GATEWAY).and_then(ipv4),
            source: attribute(body, libc::RTA_PREFSRC).and_then(ipv4),
        },
        _ => return None,
    };
    let metric = attribute(body, libc::RTA_PRIORITY)
        .and_then(u32_of)
        .unwrap_or(0);
    Some((RouteKey { table, to, metric }, target))
}

/// Adds a route, or replaces the one to the same destination. `index` is that of the target's link.
pub(crate) fn set_route(
    netlink: &mut Netlink,
    key: &RouteKey,
    target: &RouteTo,
    index: Option<u32>,
) -> io::Result<()> {
    let (scope, kind, flags) = match target {
        RouteTo::Dev { via: None, .. } => (SCOPE_LINK, UNICAST, 0),
        RouteTo::Dev { via: Some(_), .. } => (SCOPE_UNIVERSE, UNICAST, ON_LINK),
        RouteTo::Unreachable => (SCOPE_UNIVERSE, UNREACHABLE, 0),
        RouteTo::Blackhole => (SCOPE_UNIVERSE, BLACKHOLE, 0),
        RouteTo::Throw => (SCOPE_UNIVERSE, THROW, 0),
    };
    let header = route_header(key.to, scope, kind, flags);
    let mut message = Message::new(libc::RTM_NEWROUTE, CREATE | REPLACE, &header);
    put_route_key(&mut message, key);
    if let RouteTo::Dev { via, source, .. } = target {
        message.u32(libc::RTA_OIF, index.unwrap_or(0));
        if let Some(via) = via {
            message.attr(libc::RTA_GATEWAY, &via.octets());
        }
        if let Some(source) = source {
            message.attr(libc::RTA_PREFSRC, &source.octets());
        }
    }
    netlink.request(message)
}

/// Removes our route to a destination.
pub(crate) fn delete_route(netlink: &mut Netlink, key: &RouteKey) -> io::Result<()> {
    let header = route_header(key.to, SCOPE_NOWHERE, 0, 0);
    let mut message = Message::new(libc::RTM_DELROUTE, 0, &header);
    put_route_key(&mut message, key);
    netlink.request(message)
}

fn put_route_key(message: &mut Message, key: &RouteKey) {
    if key.to.prefix_len() > 0 {
        message.attr(libc::RTA_DST, &key.to.network().octets());
    }
    message.u32(RTA_TABLE, key.table);
    if key.metric > 0 {
        message.u32(libc::RTA_PRIORITY, key.metric);
    }
}

/// Our policy rules.
pub(crate) fn rules(netlink: &mut Netlink) -> io::Result<BTreeSet<Rule>> {
    let mut header = [0; 12];
    header[0] = INET;
    let all = netlink.dump(Message::new(libc::RTM_GETRULE, 0, &header))?;
    Ok(all.iter().filter_map(rule).collect())
}

fn rule(received: &Received) -> Option<Rule> {
    let body = received.payload.get(12..)?;
    if attribute(body, FRA_PROTOCOL) != Some(&[PROTOCOL]) {
        return None;
    }
    let mark = attribute(body, FRA_MARK).and_then(u32_of);
    let masked = attribute(body, FRA_MASK).is_some();
    let local = attribute(body, FRA_IIFNAME).is_some();
    let when = match (attribute(body, FRA_SRC), mark) {
        (Some(source), _) => {
            let length = *received.payload.get(2)?;
            RuleMatch::From(Ipv4Net::new(ipv4(source)?, length).ok()?)
        }
        (None, Some(mark)) if local => RuleMatch::Own(mark),
        (None, Some(mark)) => RuleMatch::Mark(mark),
        (None, None) if local => RuleMatch::Local,
        // The kernel does not say a mark of 0, only its mask.
        (None, None) if masked => RuleMatch::Unmarked,
        (None, None) => RuleMatch::All,
    };
    let action = match *received.payload.get(7)? {
        TO_TABLE => RuleAction::Table(attribute(body, FRA_TABLE).and_then(u32_of)?),
        DROP => RuleAction::Blackhole,
        _ => return None,
    };
    Some(Rule {
        priority: attribute(body, FRA_PRIORITY).and_then(u32_of)?,
        when,
        action,
    })
}

fn rule_message(kind: u16, flags: u16, rule: &Rule) -> Message {
    let source_length = match rule.when {
        RuleMatch::From(source) => source.prefix_len(),
        _ => 0,
    };
    let action = match rule.action {
        RuleAction::Table(_) => TO_TABLE,
        RuleAction::Blackhole => DROP,
    };
    let header = [INET, 0, source_length, 0, 0, 0, 0, action, 0, 0, 0, 0];
    let mut message = Message::new(kind, flags, &header);
    match rule.when {
        RuleMatch::Mark(mark) => message.u32(FRA_MARK, mark).u32(FRA_MASK, u32::MAX),
        RuleMatch::Own(mark) => message
            .text(FRA_IIFNAME, "lo")
            .u32(FRA_MARK, mark)
            .u32(FRA_MASK, u32::MAX),
        RuleMatch::Local => message.text(FRA_IIFNAME, "lo"),
        RuleMatch::Unmarked => message.u32(FRA_MARK, 0).u32(FRA_MASK, u32::MAX),
        RuleMatch::All => &mut message,
        RuleMatch::From(source) => message.attr(FRA_SRC, &source.network().octets()),
    };
    message.u32(FRA_PRIORITY, rule.priority);
    if let RuleAction::Table(table) = rule.action {
        message.u32(FRA_TABLE, table);
    }
    message.attr(FRA_PROTOCOL, &[PROTOCOL]);
    message
}

/// Adds a policy rule.
pub(crate) fn add_rule(netlink: &mut Netlink, rule: &Rule) -> io::Result<()> {
    netlink.request(rule_message(libc::RTM_NEWRULE, CREATE | EXCLUSIVE, rule))
}

/// Removes a policy rule.
pub(crate) fn delete_rule(netlink: &mut Netlink, rule: &Rule) -> io::Result<()> {
    netlink.request(rule_message(libc::RTM_DELRULE, 0, rule))
}

/// Whom a change in the host's namespace concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Concern {
    /// It may be about what is ours.
    Owner,
    /// An address of the host or one of its default routes.
    Host,
    /// Neither.
    Others,
}

/// Whom a notification concerns.
pub(crate) fn concern(received: &Received, owner: &str) -> Concern {
    let payload = &received.payload;
    let of_ours = |header: usize, kind: u16| {
        let body = payload.get(header..).unwrap_or_default();
        attribute(body, kind) == Some(&[PROTOCOL])
    };
    match received.kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => match link(received) {
            Some((_, (_, link))) if !is_ours(&link, owner) => Concern::Others,
            _ => Concern::Owner,
        },
        libc::RTM_NEWADDR | libc::RTM_DELADDR if of_ours(8, IFA_PROTO) => Concern::Owner,
        libc::RTM_NEWADDR | libc::RTM_DELADDR => Concern::Host,
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => match payload.get(..6) {
            Some([_, _, _, _, _, PROTOCOL]) => Concern::Owner,
            Some([_, 0, ..]) => Concern::Host,
            _ => Concern::Others,
        },
        libc::RTM_NEWRULE | libc::RTM_DELRULE if of_ours(12, FRA_PROTOCOL) => Concern::Owner,
        _ => Concern::Others,
    }
}

/// Whether a link is this owner's.
pub(crate) fn is_ours(link: &Link, owner: &str) -> bool {
    link.alias
        .as_deref()
        .is_some_and(|alias| name::is_owned(alias, owner))
}

/// The links of the default routes in the main table, Lath's and others'.
pub(crate) fn default_devices(
    netlink: &mut Netlink,
    names: &BTreeMap<u32, (String, Link)>,
) -> io::Result<Vec<String>> {
    let mut filter = [0; 12];
    filter[0] = INET;
    filter[4] = 254;
    let all = netlink.dump(Message::new(libc::RTM_GETROUTE, 0, &filter))?;
    let devices: BTreeSet<String> = all
        .iter()
        .filter(|r| r.payload.first() == Some(&INET) && r.payload.get(1) == Some(&0))
        .filter_map(|r| attribute(r.payload.get(12..)?, libc::RTA_OIF).and_then(u32_of))
        .filter_map(|index| names.get(&index).map(|(name, _)| name.clone()))
        .collect();
    Ok(devices.into_iter().collect())
}
