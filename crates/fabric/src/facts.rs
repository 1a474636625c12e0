//! What a plan must know of the host it is for.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::rtnetlink;

/// What a plan must know of the host it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The owner's name, as in [`crate::FabricConfig`].
    pub owner: String,
    /// How VPCs reach the outside.
    pub uplink: Uplink,
    /// The host's own addresses: no internet gateway leads to them.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Whether the host forwards for others too: then what comes from outside is their business.
    pub forwards: bool,
    /// Whether what leaves by the uplink gets the host's own address. Not in an underlay: behind it the
    /// WAN does that.
    pub masquerades: bool,
    /// Whether the kernel can be told, by rule, when idle connections end.
    pub ends_idle: bool,
    /// The highest group id that exists here: 0 in a user namespace that maps one id.
    pub last_group: u32,
}

/// The highest group id that `ping_group_range` takes.
const GROUPS: u32 = i32::MAX as u32;

/// How VPCs reach the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uplink {
    /// Through the host's namespace, which forwards and masquerades to these links.
    Host {
        /// The links that the host's default routes use.
        devices: Vec<String>,
    },
    /// Not at all, for this reason.
    None(String),
}

impl HostFacts {
    /// Looks at the host's namespace: `None` is the calling thread's, and the host's indeed; another one
    /// is taken for an underlay, which is its region's alone.
    pub fn probe(owner: &str, host: Option<&Netns>) -> Self {
        let (uplink, addresses) = outside(host);
        Self {
            owner: owner.to_owned(),
            uplink,
            addresses,
            forwards: host.is_none() && forwards().unwrap_or(true),
            masquerades: host.is_none(),
            ends_idle: crate::doctor::idle_ends().is_ok(),
            last_group: last_group(),
        }
    }

    /// Looks again at what changes while a host runs: its addresses, and the links of its default routes.
    pub fn refresh(&mut self, host: Option<&Netns>) {
        (self.uplink, self.addresses) = outside(host);
    }
}

fn outside(host: Option<&Netns>) -> (Uplink, BTreeSet<Ipv4Addr>) {
    match host.map_or_else(look_outside, |host| host.run(look_outside)) {
        Ok((devices, addresses)) if may_be_changed(host) => (Uplink::Host { devices }, addresses),
        Ok(_) => (Uplink::None("running rootless".into()), BTreeSet::new()),
        Err(e) => {
            let words = format!("the host's routes cannot be read: {e}");
            (Uplink::None(words), BTreeSet::new())
        }
    }
}

/// The setting for all links, which the fabric leaves alone.
fn forwards() -> io::Result<bool> {
    Ok(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?.trim() == "1")
}

/// From lines of `FIRST-INSIDE FIRST-OUTSIDE COUNT`, as far as ids from 0 on exist.
fn last_group() -> u32 {
    let text = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    let first = text.lines().map(|l| {
        l.split_whitespace()
            .map(str::parse::<u32>)
            .collect::<Vec<_>>()
    });
    let counts = first.filter_map(|words| match words.as_slice() {
        [Ok(0), Ok(_), Ok(count)] => Some(count.saturating_sub(1).min(GROUPS)),
        _ => None,
    });
    counts.max().unwrap_or(0)
}

fn look_outside() -> io::Result<(Vec<String>, BTreeSet<Ipv4Addr>)> {
    let mut netlink = Netlink::route()?;
    let names = rtnetlink::links(&mut netlink)?;
    let devices = rtnetlink::default_devices(&mut netlink, &names)?;
    Ok((devices, rtnetlink::all_addresses(&mut netlink)?))
}

/// A veth's end can be put only into a namespace that may be entered.
fn may_be_changed(host: Option<&Netns>) -> bool {
    host.cloned()
        .map_or_else(Netns::current, Ok)
        .is_ok_and(|host| host.may_be_entered())
}
