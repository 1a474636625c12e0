//! What is done to one namespace, and the diff that finds it: pure, so that tests read it as text.

use std::fmt;

use crate::nft::{self, Change};
use crate::plan::{Address, Link, Namespace, RouteKey, RouteTo, Rule};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a sysctl.
    SetSysctl(String, String),
    /// All changes to the firewall: one transaction.
    Firewall(String, Vec<Change>),
    /// Makes a link and brings it into its state.
    AddLink(String, Link),
    /// Changes a link's address, MTU, alias or state.
    SetLink(String, Link),
    /// Removes a link.
    DeleteLink(String),
    /// Adds an address.
    AddAddress(Address),
    /// Removes an address.
    DeleteAddress(Address),
    /// Adds or replaces a route.
    SetRoute(RouteKey, RouteTo),
    /// Removes a route.
    DeleteRoute(RouteKey),
    /// Adds a policy rule.
    AddRule(Rule),
    /// Removes a policy rule.
    DeleteRule(Rule),
}

impl Operation {
    /// The link that the operation is about: when it fails, only that link is broken.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::AddLink(name, _) | Self::SetLink(name, _) | Self::DeleteLink(name) => Some(name),
            Self::AddAddress(address) | Self::DeleteAddress(address) => Some(&address.dev),
            Self::SetRoute(_, RouteTo::Dev { dev, .. }) => Some(dev),
            Self::SetSysctl(path, _) => sysctl_link(path),
            _ => None,
        }
    }
}

/// `ipv4/conf/eth0/proxy_arp` is about `eth0`.
fn sysctl_link(path: &str) -> Option<&str> {
    let mut parts = path.split('/').skip(1);
    matches!(parts.next(), Some("conf" | "neigh")).then(|| parts.next())?
}

/// What turns `actual` into `wanted`: the firewall first, so that nothing new is ever unguarded, then
/// what goes, then what comes, links last before what needs them.
pub fn diff(actual: &Namespace, wanted: &Namespace) -> Vec<Operation> {
    let mut all = Vec::new();
    let (late, early): (Vec<_>, Vec<_>) = wanted
        .sysctls
        .iter()
        .filter(|(path, value)| actual.sysctls.get(*path) != Some(*value))
        .map(|(path, value)| Operation::SetSysctl(path.clone(), value.clone()))
        .partition(|operation| {
            operation
                .link()
                .is_some_and(|l| wanted.links.contains_key(l))
        });
    all.extend(early);
    all.extend(firewall(actual, wanted));
    removals(&mut all, actual, wanted);
    for (name, link) in &wanted.links {
        all.extend(link_change(name, actual.links.get(name), link));
    }
    all.extend(late);
    let new = wanted.addresses.difference(&actual.addresses);
    all.extend(new.map(|address| Operation::AddAddress(address.clone())));
    for (key, to) in &wanted.routes {
        if actual.routes.get(key) != Some(to) {
            all.push(Operation::SetRoute(key.clone(), to.clone()));
        }
    }
    all.extend(
        wanted
            .rules
            .difference(&actual.rules)
            .map(|r| Operation::AddRule(r.clone())),
    );
    all
}

fn firewall(actual: &Namespace, wanted: &Namespace) -> Option<Operation> {
    let name = wanted
        .table
        .as_ref()
        .or(actual.table.as_ref())?
        .name
        .clone();
    let changes = nft::changes(actual.table.as_ref(), wanted.table.as_ref());
    (!changes.is_empty()).then_some(Operation::Firewall(name, changes))
}

fn removals(all: &mut Vec<Operation>, actual: &Namespace, wanted: &Namespace) {
    all.extend(
        actual
            .rules
            .difference(&wanted.rules)
            .map(|r| Operation::DeleteRule(r.clone())),
    );
    let gone = actual
        .routes
        .keys()
        .filter(|key| !wanted.routes.contains_key(*key));
    all.extend(gone.map(|key| Operation::DeleteRoute(key.clone())));
    let gone = actual.addresses.difference(&wanted.addresses);
    all.extend(gone.map(|address| Operation::DeleteAddress(address.clone())));
    let gone = actual
        .links
        .keys()
        .filter(|name| !wanted.links.contains_key(*name));
    all.extend(
        gone.filter(|name| *name != "lo")
            .map(|name| Operation::DeleteLink(name.clone())),
    );
}

fn link_change(name: &str, actual: Option<&Link>, wanted: &Link) -> Option<Operation> {
    let Some(actual) = actual else {
        return Some(Operation::AddLink(name.to_owned(), wanted.clone()));
    };
    let alike = (wanted.mac.is_none() || wanted.mac == actual.mac)
        && (wanted.mtu.is_none() || wanted.mtu == actual.mtu)
        && (wanted.alias.is_none() || wanted.alias == actual.alias)
        && wanted.up == actual.up;
    (!alike).then(|| Operation::SetLink(name.to_owned(), wanted.clone()))
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetSysctl(path, value) => write!(f, "set sysctl {path} = {value}"),
            Self::Firewall(table, changes) => {
                let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
                write!(f, "firewall {table}: {}", words.join("; "))
            }
            Self::AddLink(name, link) => write!(f, "add link {name} {link}"),
            Self::SetLink(name, link) => write!(f, "set link {name} {link}"),
            Self::DeleteLink(name) => write!(f, "delete link {name}"),
            Self::AddAddress(address) => write!(f, "add address {address}"),
            Self::DeleteAddress(address) => write!(f, "delete address {address}"),
            Self::SetRoute(key, to) => write!(f, "set route {key} {to}"),
            Self::DeleteRoute(key) => write!(f, "delete route {key}"),
            Self::AddRule(rule) => write!(f, "add rule {rule}"),
            Self::DeleteRule(rule) => write!(f, "delete rule {rule}"),
        }
    }
}
