//! The WAN, which joins the regions of one machine, and the firewall between them.
//!
//! It is a router namespace and one *underlay* per region, each joined to the router by a veth. A region's
//! fabric uses its underlay as the host's network ([`crate::FabricConfig::host`]): cutting its link cuts it off
//! from other regions and the internet. The supervisor's fabric owns only the parts of an underlay that are
//! planned here.
//!
//! | Address | Owner |
//! |---|---|
//! | 100.64.NUMBER.1 ([`RegionPlace::underlay`]) | a region, on its end of the link |
//! | 100.64.255.1 ([`ROUTER`]) | the router, on its end of every link; also the source of packets from the host |
//! | 169.254.101.1, 169.254.101.2 | the host's and the router's end of the uplink |
//!
//! ```no_run
//! # async fn example(topology: lath_feed::Topology) -> Result<(), Box<dyn std::error::Error>> {
//! use lath_fabric::{Fabric, FabricConfig, HostFacts, Netns, wan};
//!
//! let run_dir: std::path::PathBuf = "/var/lib/lath/wan".into();
//! let config = FabricConfig { run_dir: run_dir.clone(), owner: "wan".into(), host: None };
//! let fabric = Fabric::open(config)?;
//! let report = fabric.apply(&wan::plan(&topology, &HostFacts::probe("wan", None))).await;
//! assert!(report.is_complete());
//! // And in a region's own process:
//! let underlay = Netns::open(&wan::pin(&run_dir, "us-east-1"))?;
//! let facts = HostFacts::probe("us-east-1", Some(&underlay));
//! # Ok(()) }
//! ```

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use lath_feed::{RegionPlace, Topology, WITNESS};

use crate::TABLE;
use crate::facts::{HostFacts, Uplink};
use crate::name;
use crate::nft::{Chain, ChainKind, CtState, Hook, Key, KeyType, Part, Rule, Set, Table, Verdict};
use crate::plan::{HostPlan, Link, LinkKind, MAIN, MARKED, Namespace, NamespaceRef, RouteTo};
use crate::translate::firewall::not_public;
use crate::translate::{GATEWAY_MTU, host};

/// The router's namespace.
pub const SPACE: &str = "wan";
/// A region's end of its link, in its underlay.
pub const LINK: &str = "wan";
/// The router's end of the uplink to the host's network.
pub const UPLINK: &str = "up";
/// The router's address towards the regions.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(100, 64, 255, 1);
/// The MTU of a link: a VPC's largest packet fits into an encrypted tunnel.
pub const MTU: u32 = 9216;

/// The prefix of the names of uplinks in the host's network.
const HOST_LINK: &str = "lw";
const HOST_END: Ipv4Addr = Ipv4Addr::new(169, 254, 101, 1);
const ROUTER_END: Ipv4Addr = Ipv4Addr::new(169, 254, 101, 2);

const POOLS: &str = "pools";
const UNDERLAYS: &str = "underlays";
const REGIONS: &str = "regions";
const NOT_PUBLIC: &str = "not_public";

const RAW: i32 = -300;
const MANGLE: i32 = -150;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

/// The name of a region's underlay namespace; [`WITNESS`] has one too.
pub fn underlay(region: &str) -> String {
    format!("u-{region}")
}

/// The path at which a fabric with this run directory pins a region's underlay.
pub fn pin(run_dir: &Path, region: &str) -> PathBuf {
    run_dir.join("netns").join(underlay(region))
}

/// The router's end of a region's link. Cutting it in [`SPACE`] cuts the region off.
pub fn link(place: &RegionPlace) -> String {
    format!("r{}", place.number())
}

/// Finds the uplink of another owner's WAN in the calling thread's network namespace, which can have only one WAN.
/// Returns its link and its owner.
///
/// # Errors
/// The kernel's error.
pub fn foreign_uplink(owner: &str) -> std::io::Result<Option<(String, String)>> {
    let links = crate::rtnetlink::links(&mut crate::netlink::Netlink::route()?)?;
    let found = links.into_values().find_map(|(name, link)| {
        let alias = link.alias?;
        let other = alias.strip_prefix("lath:")?.strip_suffix(":wan")?;
        (name.starts_with(HOST_LINK) && other != owner).then(|| (name.clone(), other.to_owned()))
    });
    Ok(found)
}

/// Plans the WAN between all regions of a topology and the witness. If Lath may change the host's network, the
/// WAN also leads to the internet.
pub fn plan(topology: &Topology, facts: &HostFacts) -> HostPlan {
    let members: Vec<(&str, &RegionPlace)> = members(topology).collect();
    let mut plan = HostPlan::default();
    for (region, place) in &members {
        plan.spaces
            .insert(underlay(region), underlay_space(facts, region, place));
    }
    plan.spaces.insert(SPACE.into(), router(facts, &members));
    if let Uplink::Host { devices } = &facts.uplink {
        plan.host = host_side(facts, &members, devices);
    }
    plan
}

fn members(topology: &Topology) -> impl Iterator<Item = (&str, &RegionPlace)> {
    let regions = topology.regions.iter().map(|(n, p)| (n.as_str(), p));
    regions.chain(topology.witness.iter().map(|place| (WITNESS, place)))
}

/// A region's underlay. The region's node adds its VPCs' uplinks.
fn underlay_space(facts: &HostFacts, region: &str, place: &RegionPlace) -> Namespace {
    let mut space = Namespace::with_loopback();
    space.shared = true;
    quiet(&mut space);
    let kind = LinkKind::Veth {
        peer_place: NamespaceRef::Named(SPACE.into()),
        peer: link(place),
    };
    space
        .links
        .insert(LINK.into(), end(kind, MTU, facts, &underlay(region)));
    space.address(LINK, Ipv4Net::from(place.underlay));
    let out = RouteTo::Dev {
        dev: LINK.into(),
        via: Some(ROUTER),
        source: Some(place.underlay),
    };
    space.route(MAIN, Ipv4Net::default(), out);
    space
}

fn quiet(space: &mut Namespace) {
    for scope in ["all", "default"] {
        space.sysctl(format!("ipv4/conf/{scope}/rp_filter"), 0);
        space.sysctl(format!("ipv4/conf/{scope}/send_redirects"), 0);
        space.sysctl(format!("ipv4/conf/{scope}/accept_redirects"), 0);
        space.sysctl(format!("ipv6/conf/{scope}/disable_ipv6"), 1);
    }
}

fn end(kind: LinkKind, mtu: u32, facts: &HostFacts, id: &str) -> Link {
    Link {
        kind,
        mac: None,
        mtu: Some(mtu),
        alias: Some(name::alias(&facts.owner, id)),
        up: true,
    }
}

fn router(facts: &HostFacts, members: &[(&str, &RegionPlace)]) -> Namespace {
    let mut router = Namespace::with_loopback();
    quiet(&mut router);
    router.sysctl("ipv4/ip_forward", 1);
    for (region, place) in members {
        let dev = link(place);
        let kind = LinkKind::Peer;
        router
            .links
            .insert(dev.clone(), end(kind, MTU, facts, &underlay(region)));
        // The underlays make these devices before this namespace's defaults are set, so set them per device.
        router.sysctl(format!("ipv4/conf/{dev}/rp_filter"), 0);
        router.sysctl(format!("ipv6/conf/{dev}/disable_ipv6"), 1);
        router.address(&dev, Ipv4Net::from(ROUTER));
        router.route(MAIN, Ipv4Net::from(place.underlay), RouteTo::dev(&dev));
    }
    for (place, pool) in pools(members) {
        let way = RouteTo::via(&link(place), place.underlay);
        router.route(MAIN, pool, way);
    }
    // Addresses of no region must not loop between router and host.
    router.route(MAIN, benchmark_range(), RouteTo::Unreachable);
    if matches!(facts.uplink, Uplink::Host { .. }) {
        add_uplink(&mut router, facts);
    }
    router.route(MAIN, Ipv4Net::default(), RouteTo::Unreachable);
    router.table = Some(table(facts, members));
    router.forward_marked_only();
    router
}

/// The range of public addresses: "devices in networks used for benchmarking" (RFC 2544).
fn benchmark_range() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15)
}

/// The public pools of the regions. The witness has no VPCs and no pool.
fn pools<'a>(
    members: &[(&'a str, &'a RegionPlace)],
) -> impl Iterator<Item = (&'a RegionPlace, Ipv4Net)> {
    let regions = members.iter().filter(|(region, _)| *region != WITNESS);
    regions
        .map(|(_, place)| (*place, place.public_pool.trunc()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn add_uplink(router: &mut Namespace, facts: &HostFacts) {
    let kind = LinkKind::Veth {
        peer_place: NamespaceRef::Host,
        peer: host_link(facts),
    };
    router
        .links
        .insert(UPLINK.into(), end(kind, GATEWAY_MTU, facts, SPACE));
    router.address(UPLINK, Ipv4Net::from(ROUTER_END));
    router.route(MAIN, Ipv4Net::from(HOST_END), RouteTo::dev(UPLINK));
    router.route(MAIN, Ipv4Net::default(), RouteTo::via(UPLINK, HOST_END));
}

/// The host's end of the uplink. Its name has a digest of the owner, like those of VPCs' uplinks.
fn host_link(facts: &HostFacts) -> String {
    format!("{HOST_LINK}{:08x}", name::digest(&facts.owner) as u32)
}

fn host_side(facts: &HostFacts, members: &[(&str, &RegionPlace)], devices: &[String]) -> Namespace {
    let mut side = Namespace::default();
    let dev = host_link(facts);
    side.links
        .insert(dev.clone(), end(LinkKind::Peer, GATEWAY_MTU, facts, SPACE));
    side.address(&dev, Ipv4Net::from(HOST_END));
    side.route(MAIN, Ipv4Net::from(ROUTER_END), RouteTo::dev(&dev));
    for (_, pool) in pools(members) {
        side.route(MAIN, pool, RouteTo::via(&dev, ROUTER_END));
    }
    side.sysctl(format!("ipv4/conf/{dev}/forwarding"), 1);
    side.sysctl(format!("ipv4/conf/{dev}/rp_filter"), 0);
    side.sysctl(format!("ipv6/conf/{dev}/disable_ipv6"), 1);
    for device in devices {
        side.sysctl(format!("ipv4/conf/{device}/forwarding"), 1);
    }
    let mut uplinks = Set::new(KeyType::Link);
    uplinks.insert(Key::Link(dev));
    side.table = Some(host::table(facts, uplinks, regions(members), devices));
    side
}

fn regions(members: &[(&str, &RegionPlace)]) -> Set {
    let own = members.iter().map(|(_, place)| place.underlay.into());
    Set::of_blocks(own.chain(pools(members).map(|(_, pool)| pool)))
}

fn table(facts: &HostFacts, members: &[(&str, &RegionPlace)]) -> Table {
    let mut table = Table::new(TABLE);
    let underlays = members.iter().map(|(_, place)| place.underlay.into());
    let sets = [
        (POOLS, Set::of_blocks(pools(members).map(|(_, pool)| pool))),
        (UNDERLAYS, Set::of_blocks(underlays)),
        (REGIONS, regions(members)),
        (NOT_PUBLIC, Set::of_blocks(not_public(facts))),
    ];
    table
        .sets
        .extend(sets.map(|(name, set)| (name.to_owned(), set)));
    let filter =
        |hook, priority, rules| Chain::base(ChainKind::Filter, hook, priority, false, rules);
    let disguise = vec![Rule::new([
        Part::SourceNotIn(REGIONS.into()),
        Part::Masquerade,
    ])];
    let nat = Chain::base(
        ChainKind::Nat,
        Hook::Postrouting,
        SOURCE_NAT,
        true,
        disguise,
    );
    let mark = vec![Rule::new([Part::Mark(MARKED)])];
    let chains = [
        ("guard", filter(Hook::Prerouting, RAW, guard(members))),
        // The router forwards only marked packets.
        (
            "mark",
            Chain::base(ChainKind::Filter, Hook::Prerouting, MANGLE, true, mark),
        ),
        ("input", filter(Hook::Input, FILTER, input())),
        ("forward", filter(Hook::Forward, FILTER, forward())),
        // Hide the host's networks from the regions.
        ("disguise", nat),
    ];
    table
        .chains
        .extend(chains.map(|(name, chain)| (name.to_owned(), chain)));
    table
}

fn accept() -> Part {
    Part::Verdict(Verdict::Accept)
}

fn drop_it() -> Part {
    Part::Verdict(Verdict::Drop)
}

/// Drops packets with a forged source: a region may not use another region's addresses, nor the outside a region's.
fn guard(members: &[(&str, &RegionPlace)]) -> Vec<Rule> {
    let from = |place: &RegionPlace, net: Ipv4Net| {
        Rule::new([Part::Iif(link(place)), Part::Source(net), accept()])
    };
    let mut rules: Vec<Rule> = members
        .iter()
        .map(|(_, place)| from(place, place.underlay.into()))
        .collect();
    rules.extend(pools(members).map(|(place, pool)| from(place, pool)));
    let up = || Part::Iif(UPLINK.into());
    rules.extend([
        Rule::new([up(), Part::SourceIn(REGIONS.into()), drop_it()]),
        Rule::new([up(), accept()]),
        Rule::new([Part::Iif("lo".into()), accept()]),
    ]);
    rules
}

/// Drops packets to the router itself, on which nothing listens.
fn input() -> Vec<Rule> {
    vec![Rule::new([Part::Ct(CtState::EstablishedRelated), accept()])]
}

/// Packets to private destinations never leave, and instances reach only other instances, not the infrastructure.
fn forward() -> Vec<Rule> {
    let up = || Part::Oif(UPLINK.into());
    let outside = || Part::Iif(UPLINK.into());
    vec![
        Rule::new([Part::Ct(CtState::EstablishedRelated), accept()]),
        Rule::new([up(), Part::DestinationIn(NOT_PUBLIC.into()), drop_it()]),
        Rule::new([outside(), Part::DestinationIn(POOLS.into()), accept()]),
        Rule::new([outside(), drop_it()]),
        Rule::new([
            Part::SourceIn(POOLS.into()),
            Part::DestinationIn(UNDERLAYS.into()),
            drop_it(),
        ]),
        Rule::new([accept()]),
    ]
}
