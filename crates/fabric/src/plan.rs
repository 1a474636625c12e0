//! What a host's network must be, as plain comparable data, and the same data read back as what it is.
//!
//! Everything prints as text that a reader of `ip` and `nft` knows, one object per line, so that tests
//! compare whole networks and logs show exactly what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_model::WorkloadId;
use lath_model::id::{
    NatGatewayId, NetworkInterfaceId, TransitGatewayAttachmentId, TransitGatewayId, VpcId,
    VpcPeeringConnectionId,
};

use crate::nft::Table;

/// All that Lath wants of a host's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPlan {
    /// What is wanted in the host's own namespace: uplinks' far ends and their guard.
    pub host: Namespace,
    /// Each VPC with its workloads.
    pub vpcs: BTreeMap<VpcId, VpcPlan>,
    /// Further namespaces by name, such as transit gateways and the WAN's: pinned as VPCs' are. They are
    /// made in the order of their names, after the VPCs: of two that share a veth the first one makes it.
    pub spaces: BTreeMap<String, Namespace>,
    /// Which of the spaces are transit gateways, and what joins each to its attachments.
    pub transit: BTreeMap<TransitGatewayId, BTreeMap<TransitGatewayAttachmentId, Joint>>,
    /// Which of the spaces are VPC peering connections, and the VPCs that each joins: they work when it does.
    pub peerings: BTreeMap<VpcPeeringConnectionId, [VpcId; 2]>,
}

impl HostPlan {
    /// The workloads whose namespaces others make.
    pub(crate) fn handed_over(&self) -> impl Iterator<Item = &WorkloadId> {
        let workloads = self.vpcs.values().flat_map(|vpc| &vpc.workloads);
        let of_others = workloads.filter(|(_, namespace)| namespace.handed_over);
        of_others.map(|(id, _)| id)
    }
}

/// The ends of the link of a transit gateway's attachment, each as namespace and link; or why there is none.
pub type Joint = Result<Vec<(String, String)>, String>;

/// One VPC: a router and the workloads joined to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VpcPlan {
    /// The router's namespace.
    pub router: Namespace,
    /// The workloads' namespaces.
    pub workloads: BTreeMap<WorkloadId, Namespace>,
    /// The router's link of each attached interface.
    pub interfaces: BTreeMap<NetworkInterfaceId, String>,
    /// Its NAT gateways, and why one does not work, if so.
    pub nat_gateways: BTreeMap<NatGatewayId, Result<(), String>>,
    /// What was asked for and cannot be given here, in words for the user.
    pub refused: Vec<String>,
}

/// What belongs to Lath in one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Path below `/proc/sys/net` and value.
    pub sysctls: BTreeMap<String, String>,
    /// Links by name.
    pub links: BTreeMap<String, Link>,
    /// Addresses on links.
    pub addresses: BTreeSet<Address>,
    /// Routes: what is between the key and the target is unique.
    pub routes: BTreeMap<RouteKey, RouteTo>,
    /// Policy rules by priority: packets with the mark use the table.
    pub rules: BTreeSet<Rule>,
    /// The nf_tables table.
    pub table: Option<Table>,
    /// Others have objects here too: only what is on this owner's links is its own, as on the host.
    pub shared: bool,
    /// It is made by others and handed over ([`crate::Fabric::hand_over`]), not made by an apply. Until then its links
    /// do not work, and nothing else waits for it.
    pub handed_over: bool,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it comes from.
    pub kind: LinkKind,
    /// Its hardware address such as `02:00:0a:00:01:0a`; `None`: whatever the kernel chose.
    pub mac: Option<String>,
    /// In bytes; `None`: whatever the kernel chose.
    pub mtu: Option<u32>,
    /// The owner's mark, `lath:OWNER:ID`.
    pub alias: Option<String>,
    /// Whether it is administratively up.
    pub up: bool,
}

/// Where a link comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// `lo`, which every namespace has.
    Loopback,
    /// A veth made here, with its peer in another namespace.
    Veth {
        /// Where the peer is.
        peer_place: NamespaceRef,
        /// What it is called there.
        peer: String,
    },
    /// The peer of a veth that is made in another namespace.
    Peer,
    /// A link that others make and remove; it is only brought into its state.
    Guest,
    /// Read back from the kernel.
    Observed,
}

/// A namespace by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceRef {
    /// The namespace that the host side is in.
    Host,
    /// One that Lath made and pinned under this name: a VPC's or a workload's id.
    Named(String),
}

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The link's name.
    pub dev: String,
    /// The address and the length of its network. No route to that network is made from it.
    pub net: Ipv4Net,
}

/// What identifies a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    /// The table's number; [`MAIN`] is the usual one.
    pub table: u32,
    /// Where packets are bound.
    pub to: Ipv4Net,
    /// Of routes to one destination the one with the lowest metric is used.
    pub metric: u32,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTo {
    /// Out of a link, to a neighbour or by a next hop that is taken to be on the link.
    Dev {
        /// The link's name.
        dev: String,
        /// The next hop.
        via: Option<Ipv4Addr>,
        /// The address that the host's own packets get.
        source: Option<Ipv4Addr>,
    },
    /// Dropped, and the sender gets an ICMP error.
    Unreachable,
    /// Dropped.
    Blackhole,
    /// As if this table had no route: the next rule's table decides.
    Throw,
}

/// The number of the main routing table.
pub const MAIN: u32 = 254;
/// The metric of what takes packets when the link of the route before it is gone: the kernel removes a
/// route with its link, and a shorter prefix must not take over.
pub const FALLBACK: u32 = 1000;

/// Rules of this priority and the next ones stand behind all others of Lath's, and before the main table's (32766).
const LAST_PRIORITY: u32 = 32_000;
/// The mark of what may be forwarded and has no route table of its own.
pub const MARKED: u32 = 1;

/// A policy rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Lower ones are asked first.
    pub priority: u32,
    /// What selects packets.
    pub when: RuleMatch,
    /// What becomes of them.
    pub action: RuleAction,
}

/// What becomes of the packets that a rule selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// This table is asked; where it has no route, the next rule.
    Table(u32),
    /// They are dropped.
    Blackhole,
}

/// What selects packets for a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleMatch {
    /// Those with this mark.
    Mark(u32),
    /// Those with this mark that are made here, such as errors about packets that had it.
    Own(u32),
    /// Those that are made here.
    Local,
    /// Those without a mark.
    Unmarked,
    /// All.
    All,
    /// Those from this block.
    From(Ipv4Net),
}

impl Namespace {
    /// A namespace with `lo` up.
    pub fn with_loopback() -> Self {
        let lo = Link {
            kind: LinkKind::Loopback,
            mac: None,
            mtu: None,
            alias: None,
            up: true,
        };
        Self {
            links: BTreeMap::from([("lo".to_owned(), lo)]),
            ..Self::default()
        }
    }

    /// Sets a sysctl, by its path below `/proc/sys/net`.
    pub fn sysctl(&mut self, path: impl Into<String>, value: impl ToString) {
        self.sysctls.insert(path.into(), value.to_string());
    }

    /// Adds an address.
    pub fn address(&mut self, dev: &str, net: Ipv4Net) {
        self.addresses.insert(Address {
            dev: dev.to_owned(),
            net,
        });
    }

    /// Forwards nothing that the table did not mark: when the table is gone, so is the way through. What is
    /// bound for this namespace itself is not asked, nor what is made here.
    pub fn forward_marked_only(&mut self) {
        let rules = [
            (RuleMatch::Local, RuleAction::Table(MAIN)),
            (RuleMatch::Unmarked, RuleAction::Blackhole),
            // The kernel's own rule for that table may be flushed, and does not come back.
            (RuleMatch::All, RuleAction::Table(MAIN)),
        ];
        let rules = (LAST_PRIORITY..).zip(rules);
        self.rules
            .extend(rules.map(|(priority, (when, action))| Rule {
                priority,
                when,
                action,
            }));
    }

    /// Adds a route; the first one to a destination stays.
    pub fn route(&mut self, table: u32, to: Ipv4Net, target: RouteTo) {
        let key = RouteKey {
            table,
            to,
            metric: 0,
        };
        self.routes.entry(key).or_insert(target);
    }

    /// Says what becomes of packets to a destination when its route's link is gone.
    pub fn fallback(&mut self, table: u32, to: Ipv4Net, target: RouteTo) {
        let key = RouteKey {
            table,
            to,
            metric: FALLBACK,
        };
        self.routes.entry(key).or_insert(target);
    }
}

impl RouteTo {
    /// Out of a link, without a next hop.
    pub fn dev(dev: &str) -> Self {
        Self::Dev {
            dev: dev.to_owned(),
            via: None,
            source: None,
        }
    }

    /// Out of a link by a next hop.
    pub fn via(dev: &str, via: Ipv4Addr) -> Self {
        Self::Dev {
            dev: dev.to_owned(),
            via: Some(via),
            source: None,
        }
    }
}

impl fmt::Display for HostPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        section(f, "host", &self.host)?;
        for (id, vpc) in &self.vpcs {
            section(f, id.as_str(), &vpc.router)?;
            for (id, workload) in &vpc.workloads {
                section(f, id.as_str(), workload)?;
            }
            for words in &vpc.refused {
                writeln!(f, "refused: {words}")?;
            }
        }
        for (name, space) in &self.spaces {
            section(f, name, space)?;
        }
        Ok(())
    }
}

fn section(f: &mut fmt::Formatter<'_>, name: &str, namespace: &Namespace) -> fmt::Result {
    writeln!(f, "[{name}]\n{namespace}")
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, value) in &self.sysctls {
            writeln!(f, "sysctl {path} = {value}")?;
        }
        for (name, link) in &self.links {
            writeln!(f, "link {name} {link}")?;
        }
        for address in &self.addresses {
            writeln!(f, "address {address}")?;
        }
        for (key, to) in &self.routes {
            writeln!(f, "route {key} {to}")?;
        }
        for rule in &self.rules {
            writeln!(f, "rule {rule}")?;
        }
        if let Some(table) = &self.table {
            write!(f, "{table}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            LinkKind::Loopback => write!(f, "loopback")?,
            LinkKind::Veth { peer_place, peer } => write!(f, "veth peer {peer} in {peer_place}")?,
            LinkKind::Peer => write!(f, "peer")?,
            LinkKind::Guest => write!(f, "guest")?,
            LinkKind::Observed => write!(f, "observed")?,
        }
        if let Some(mac) = &self.mac {
            write!(f, " mac {mac}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if let Some(alias) = &self.alias {
            write!(f, " alias {alias}")?;
        }
        f.write_str(if self.up { " up" } else { " down" })
    }
}

impl fmt::Display for NamespaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Named(name) => name,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.net, self.dev)
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        if self.table != MAIN {
            write!(f, " table {}", self.table)?;
        }
        if self.metric > 0 {
            write!(f, " metric {}", self.metric)?;
        }
        Ok(())
    }
}

impl fmt::Display for RouteTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dev { dev, via, source } => {
                if let Some(via) = via {
                    write!(f, "via {via} ")?;
                }
                write!(f, "dev {dev}")?;
                source.map_or(Ok(()), |source| write!(f, " src {source}"))
            }
            Self::Unreachable => f.write_str("unreachable"),
            Self::Blackhole => f.write_str("blackhole"),
            Self::Throw => f.write_str("throw"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            RuleMatch::Mark(mark) => write!(f, "{}: mark {mark}", self.priority)?,
            RuleMatch::Own(mark) => write!(f, "{}: iif lo mark {mark}", self.priority)?,
            RuleMatch::Local => write!(f, "{}: iif lo", self.priority)?,
            RuleMatch::Unmarked => write!(f, "{}: mark 0", self.priority)?,
            RuleMatch::All => write!(f, "{}: all", self.priority)?,
            RuleMatch::From(from) if from.prefix_len() == 32 => {
                write!(f, "{}: from {}", self.priority, from.addr())?;
            }
            RuleMatch::From(from) => write!(f, "{}: from {from}", self.priority)?,
        }
        match self.action {
            RuleAction::Table(table) => write!(f, " lookup {table}"),
            RuleAction::Blackhole => f.write_str(" blackhole"),
        }
    }
}
