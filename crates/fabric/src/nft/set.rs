//! Sets and maps.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A set, or a map where there is a value type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What keys are.
    pub key: KeyType,
    /// What a map's values are.
    pub value: Option<ValueType>,
    /// Whether elements may have an end, at which the kernel removes them.
    pub timed: bool,
    /// The elements.
    pub elements: BTreeMap<Key, Value>,
}

/// An element.
pub type Element = (Key, Value);

/// What a set's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// IPv4 addresses.
    Address,
    /// Disjoint ranges of IPv4 addresses.
    Ranges,
    /// Names of links.
    Link,
    /// A link's name and an IPv4 address.
    LinkAddress,
    /// Packet marks.
    Mark,
    /// Names of two links.
    Links,
}

/// What a map's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Packet marks.
    Mark,
    /// IPv4 addresses.
    Address,
    /// Chains to jump to.
    Jump,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// From the first to the last, inclusive.
    Range(Ipv4Addr, Ipv4Addr),
    /// A link's name.
    Link(String),
    /// A link's name and an IPv4 address.
    LinkAddress(String, Ipv4Addr),
    /// The names of two links.
    Links(String, String),
    /// A packet mark.
    Mark(u32),
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A set's elements have none.
    None,
    /// A packet mark.
    Mark(u32),
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// A chain to jump to.
    Jump(String),
}

impl Set {
    /// An empty set.
    pub fn new(key: KeyType) -> Self {
        Self {
            key,
            value: None,
            timed: false,
            elements: BTreeMap::new(),
        }
    }

    /// An empty map.
    pub fn map(key: KeyType, value: ValueType) -> Self {
        Self {
            key,
            value: Some(value),
            timed: false,
            elements: BTreeMap::new(),
        }
    }

    /// A set of ranges: `blocks` with overlaps and neighbours merged.
    pub fn of_blocks(blocks: impl IntoIterator<Item = Ipv4Net>) -> Self {
        let mut set = Self::new(KeyType::Ranges);
        for (first, last) in disjoint(blocks) {
            set.elements.insert(Key::Range(first, last), Value::None);
        }
        set
    }

    /// Adds a key to a set.
    pub fn insert(&mut self, key: Key) {
        self.elements.insert(key, Value::None);
    }

    /// Whether the two are declared alike, whatever their elements.
    pub fn same_kind(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value && self.timed == other.timed
    }
}

/// The ranges that `blocks` cover, ascending; none touches another, as the kernel demands.
pub fn disjoint(blocks: impl IntoIterator<Item = Ipv4Net>) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let mut ranges: Vec<(u32, u32)> = blocks
        .into_iter()
        .map(|b| (b.network().to_bits(), b.broadcast().to_bits()))
        .collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
        .into_iter()
        .map(|(a, b)| (Ipv4Addr::from_bits(a), Ipv4Addr::from_bits(b)))
        .collect()
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.key {
            KeyType::Address => "address",
            KeyType::Ranges => "ranges",
            KeyType::Link => "link",
            KeyType::LinkAddress => "link . address",
            KeyType::Mark => "mark",
            KeyType::Links => "link . link",
        })?;
        f.write_str(match self.value {
            None => "",
            Some(ValueType::Mark) => " : mark",
            Some(ValueType::Address) => " : address",
            Some(ValueType::Jump) => " : verdict",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Link(name) => f.write_str(name),
            Self::LinkAddress(name, address) => write!(f, "{name} . {address}"),
            Self::Mark(mark) => write!(f, "{mark}"),
            Self::Links(one, other) => write!(f, "{one} . {other}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Mark(mark) => write!(f, " : {mark}"),
            Self::Address(address) => write!(f, " : {address}"),
            Self::Jump(chain) => write!(f, " : jump {chain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_disjoint_ranges() {
        for (name, blocks, want) in [
            ("none", vec![], ""),
            ("one", vec!["10.0.0.0/24"], "10.0.0.0-10.0.0.255"),
            (
                "inside",
                vec!["10.0.0.0/8", "10.1.0.0/16"],
                "10.0.0.0-10.255.255.255",
            ),
            (
                "neighbours",
                vec!["10.0.1.0/24", "10.0.0.0/24"],
                "10.0.0.0-10.0.1.255",
            ),
            (
                "apart",
                vec!["10.0.2.0/24", "10.0.0.0/24"],
                "10.0.0.0-10.0.0.255 10.0.2.0-10.0.2.255",
            ),
            (
                "all",
                vec!["0.0.0.0/0", "1.2.3.4/32"],
                "0.0.0.0-255.255.255.255",
            ),
            (
                "end",
                vec!["255.255.255.255/32"],
                "255.255.255.255-255.255.255.255",
            ),
        ] {
            let got: Vec<String> = disjoint(blocks.iter().map(|b| b.parse().unwrap()))
                .iter()
                .map(|(a, b)| format!("{a}-{b}"))
                .collect();
            assert_eq!(got.join(" "), want, "{name}");
        }
    }
}
