//! Reading a table back from the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::encode::{
    INTERVAL_END, SET_INTERVAL, SET_MAP, SET_TIMEOUT, TABLE_OWNER, TABLE_PERSIST, TYPE_ADDRESS,
    TYPE_LINK, TYPE_LINK_ADDRESS, TYPE_LINKS, TYPE_MARK, TYPE_VERDICT, request,
};
use super::{
    Base, Chain, ChainKind, Element, Hook, Key, KeyType, Rule, Set, Table, Timeout, Value,
    ValueType,
};
use crate::netlink::{Message, Netlink, attribute, attributes, be32_of, text};

const GET_TABLE: u16 = 1;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENT: u16 = 13;
const GET_OBJECT: u16 = 19;
/// What precedes the attributes: `nfgenmsg`.
const HEADER: usize = 4;

/// The table of this name as it is; `None` when there is none.
pub(crate) fn read(netlink: &mut Netlink, name: &str) -> io::Result<Option<Table>> {
    let Some(holder) = holder(netlink, name)? else {
        return Ok(None);
    };
    let mut table = Table::new(name);
    table.owned = matches!(holder, Holder::Port(_));
    table.sets = sets(netlink, name)?;
    table.timeouts = timeouts(netlink, name)?;
    table.chains = chains(netlink, name)?;
    for (chain, rule) in rules(netlink, name)? {
        if let Some(chain) = table.chains.get_mut(&chain) {
            chain.rules.push(rule);
        }
    }
    Ok(Some(table))
}

/// Who may change a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Anybody with privilege over the network.
    Anybody,
    /// Anybody, as its owner has ended; and anybody may take it over.
    Nobody,
    /// The netlink socket with this port.
    Port(u32),
}

/// Who may change the table of this name; `None` when there is none.
pub(crate) fn holder(netlink: &mut Netlink, name: &str) -> io::Result<Option<Holder>> {
    let all = netlink.dump(request(GET_TABLE, 0))?;
    let bodies = all.iter().filter_map(|m| m.payload.get(HEADER..));
    let mut named = bodies.filter(|body| attribute(body, 1).map(text).as_deref() == Some(name));
    Ok(named.next().map(|body| {
        let flags = attribute(body, 2).and_then(be32_of).unwrap_or(0);
        match attribute(body, 7).and_then(be32_of) {
            Some(port) if flags & TABLE_OWNER != 0 => Holder::Port(port),
            _ if flags & TABLE_PERSIST != 0 => Holder::Nobody,
            _ => Holder::Anybody,
        }
    }))
}

/// The table that a notification is about. Every kind of object names it first.
pub(crate) fn table_of(payload: &[u8]) -> Option<String> {
    attribute(payload.get(HEADER..)?, 1).map(text)
}

/// A dump of what is in one table.
fn dump(
    netlink: &mut Netlink,
    kind: u16,
    table: &str,
    set: Option<&str>,
) -> io::Result<Vec<Vec<u8>>> {
    let mut message: Message = request(kind, 0);
    message.text(1, table);
    if let Some(set) = set {
        message.text(2, set);
    }
    let all = netlink.dump(message)?;
    let bodies = all
        .into_iter()
        .map(|m| m.payload.get(HEADER..).unwrap_or(&[]).to_vec());
    // Older kernels dump every table whatever the filter says.
    Ok(bodies
        .filter(|b| attribute(b, 1).map(text).as_deref() == Some(table))
        .collect())
}

fn timeouts(netlink: &mut Netlink, table: &str) -> io::Result<BTreeSet<Timeout>> {
    let all = dump(netlink, GET_OBJECT, table, None)?;
    Ok(all
        .iter()
        .filter_map(|b| Timeout::parse(&text(attribute(b, 2)?)))
        .collect())
}

fn chains(netlink: &mut Netlink, table: &str) -> io::Result<BTreeMap<String, Chain>> {
    let all = dump(netlink, GET_CHAIN, table, None)?;
    Ok(all
        .iter()
        .filter_map(|b| Some((text(attribute(b, 3)?), chain(b))))
        .collect())
}

fn chain(body: &[u8]) -> Chain {
    Chain {
        base: attribute(body, 4).and_then(|hook| base(body, hook)),
        rules: Vec::new(),
    }
}

fn base(body: &[u8], hook: &[u8]) -> Option<Base> {
    let number = be32_of(attribute(hook, 1)?)?;
    let hook_kind = *[
        Hook::Prerouting,
        Hook::Input,
        Hook::Forward,
        Hook::Output,
        Hook::Postrouting,
    ]
    .get(number as usize)?;
    let kind = match attribute(body, 7).map(text)?.as_str() {
        "nat" => ChainKind::Nat,
        _ => ChainKind::Filter,
    };
    Some(Base {
        kind,
        hook: hook_kind,
        priority: be32_of(attribute(hook, 2)?)? as i32,
        accept: be32_of(attribute(body, 5)?)? == 1,
    })
}

fn rules(netlink: &mut Netlink, table: &str) -> io::Result<Vec<(String, Rule)>> {
    let all = dump(netlink, GET_RULE, table, None)?;
    Ok(all
        .iter()
        .filter_map(|b| Some((text(attribute(b, 2)?), rule(b))))
        .collect())
}

/// A rule without our comment is a stranger's: its text equals no wanted one.
fn rule(body: &[u8]) -> Rule {
    let comment = attribute(body, 7).and_then(|data| data.get(2..)).map(text);
    Rule::observed(comment.unwrap_or_else(|| "(foreign)".to_owned()))
}

fn sets(netlink: &mut Netlink, table: &str) -> io::Result<BTreeMap<String, Set>> {
    let mut sets = BTreeMap::new();
    for body in dump(netlink, GET_SET, table, None)? {
        let (Some(name), Some(mut set)) = (attribute(&body, 2).map(text), declared(&body)) else {
            continue;
        };
        let mut elements = Vec::new();
        for body in dump(netlink, GET_ELEMENT, table, Some(&name))? {
            if let Some(list) = attribute(&body, 3) {
                elements.extend(attributes(list).filter_map(|(_, e)| element(&set, e)));
            }
        }
        set.elements = if set.key == KeyType::Ranges {
            ranges(elements)
        } else {
            elements.into_iter().map(|(element, _)| element).collect()
        };
        sets.insert(name, set);
    }
    Ok(sets)
}

/// How long each element of a table's sets has still to go, by set.
pub(crate) fn remaining(
    netlink: &mut Netlink,
    table: &str,
) -> io::Result<BTreeMap<String, Vec<(Key, Duration)>>> {
    let mut all = BTreeMap::new();
    if holder(netlink, table)?.is_none() {
        return Ok(all);
    }
    for body in dump(netlink, GET_SET, table, None)? {
        let (Some(name), Some(set)) = (attribute(&body, 2).map(text), declared(&body)) else {
            continue;
        };
        let mut left = Vec::new();
        for body in dump(netlink, GET_ELEMENT, table, Some(&name))? {
            if let Some(list) = attribute(&body, 3) {
                left.extend(attributes(list).filter_map(|(_, e)| expiring(&set, e)));
            }
        }
        all.insert(name, left);
    }
    Ok(all)
}

fn expiring(set: &Set, body: &[u8]) -> Option<(Key, Duration)> {
    let ((key, _), _) = element(set, body)?;
    let left = attribute(body, 5).and_then(|data| Some(u64::from_be_bytes(data.try_into().ok()?)));
    Some((key, Duration::from_millis(left?)))
}

fn declared(body: &[u8]) -> Option<Set> {
    let flags = attribute(body, 3).and_then(be32_of).unwrap_or(0);
    let key = match be32_of(attribute(body, 4)?)? {
        TYPE_ADDRESS if flags & SET_INTERVAL != 0 => KeyType::Ranges,
        TYPE_ADDRESS => KeyType::Address,
        TYPE_LINK => KeyType::Link,
        TYPE_LINK_ADDRESS => KeyType::LinkAddress,
        TYPE_MARK => KeyType::Mark,
        TYPE_LINKS => KeyType::Links,
        _ => return None,
    };
    if flags & SET_MAP == 0 {
        let timed = flags & SET_TIMEOUT != 0;
        return Some(Set {
            timed,
            ..Set::new(key)
        });
    }
    let value = match be32_of(attribute(body, 6)?)? {
        TYPE_MARK => ValueType::Mark,
        TYPE_ADDRESS => ValueType::Address,
        TYPE_VERDICT => ValueType::Jump,
        _ => return None,
    };
    Some(Set::map(key, value))
}

/// An element and whether it only ends a range.
fn element(set: &Set, body: &[u8]) -> Option<(Element, bool)> {
    let bytes = attribute(attribute(body, 1)?, 1)?;
    let key = match set.key {
        KeyType::Address | KeyType::Ranges => Key::Address(address(bytes)?),
        KeyType::Link => Key::Link(text(bytes)),
        KeyType::Links => Key::Links(text(bytes.get(..16)?), text(bytes.get(16..)?)),
        KeyType::Mark => Key::Mark(u32::from_ne_bytes(bytes.try_into().ok()?)),
        KeyType::LinkAddress => {
            Key::LinkAddress(text(bytes.get(..16)?), address(bytes.get(16..)?)?)
        }
    };
    let value = attribute(body, 2)
        .and_then(|data| value(set.value?, data))
        .unwrap_or(Value::None);
    let ends = attribute(body, 3).and_then(be32_of).unwrap_or(0) & INTERVAL_END != 0;
    Some(((key, value), ends))
}

fn value(kind: ValueType, data: &[u8]) -> Option<Value> {
    Some(match kind {
        ValueType::Mark => Value::Mark(u32::from_ne_bytes(attribute(data, 1)?.try_into().ok()?)),
        ValueType::Address => Value::Address(address(attribute(data, 1)?)?),
        ValueType::Jump => Value::Jump(text(attribute(attribute(data, 2)?, 2)?)),
    })
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?))
}

/// Starts and ends, in whatever order they come, as ranges.
fn ranges(elements: Vec<(Element, bool)>) -> BTreeMap<Key, Value> {
    let mut points: Vec<(u32, bool)> = elements
        .into_iter()
        .filter_map(|((key, _), ends)| match key {
            Key::Address(address) => Some((address.to_bits(), ends)),
            _ => None,
        })
        .collect();
    points.sort_unstable();
    let mut found = BTreeMap::new();
    let mut open = None;
    for (point, ends) in points {
        if !ends {
            open = Some(point);
        } else if let Some(first) = open.take() {
            let last = Ipv4Addr::from_bits(point.wrapping_sub(1));
            found.insert(Key::Range(Ipv4Addr::from_bits(first), last), Value::None);
        }
    }
    if let Some(first) = open {
        found.insert(
            Key::Range(Ipv4Addr::from_bits(first), Ipv4Addr::BROADCAST),
            Value::None,
        );
    }
    found
}
