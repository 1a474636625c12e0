//! Where the regions are, as the supervisor laid them out.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// UDP, on underlay addresses: the encrypted links between cells.
pub const LINK_PORT: u16 = 51820;
/// TCP, on link addresses: where a region's control plane exchanges state with the others'.
pub const CONTROL_PORT: u16 = 7001;
/// TCP, on link addresses: where a region's node exchanges state with the others'.
pub const NODE_PORT: u16 = 7002;
/// How far above the port of an exchange ([`CONTROL_PORT`], [`NODE_PORT`]) its heartbeats are: they have connections
/// of their own, so that no value delays them.
pub const HEARTBEAT_PORTS: u16 = 10;
/// TCP, on link addresses: where a region's node takes connections to its Lattice targets and services
/// (HTTP `CONNECT`).
pub const GATEWAY_PORT: u16 = 7003;

/// The regions of one installation, seen from one of them. No secrets in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The region that reads this; the witness calls itself [`WITNESS`].
    pub region: String,
    /// The home of the global services (IAM, Route 53).
    pub home: String,
    /// Every region of this installation, this one included.
    pub regions: BTreeMap<String, RegionPlace>,
    /// A further observer where the regions are even in number, so that one of two regions that lost the
    /// other knows whether it is the one that is cut off.
    pub witness: Option<RegionPlace>,
    /// The pin of this cell's underlay namespace; `None` when there is only the host's network.
    pub underlay: Option<PathBuf>,
}

/// What the witness is called among regions.
pub const WITNESS: &str = "witness";

/// Where a region is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionPlace {
    /// Its address on the WAN segment.
    pub underlay: Ipv4Addr,
    /// Its address inside the encrypted links: for ever the same, and no other's.
    pub link: Ipv4Addr,
    /// Its public key (X25519) for the encrypted links.
    pub public_key: [u8; 32],
    /// The public addresses that its internet gateway gives out.
    pub public_pool: Ipv4Net,
}

impl RegionPlace {
    /// What its devices on this machine are called by: the number of its /24 among those that addresses inside the links
    /// are from, so that regions with different addresses have different ones.
    pub fn number(&self) -> u32 {
        let first = u32::from(Ipv4Addr::new(100, 65, 0, 0));
        u32::from(self.link).wrapping_sub(first) >> 8
    }
}

impl Topology {
    /// One region alone, which is its own home: no underlay, no links, all public addresses.
    pub fn single(region: &str) -> Self {
        let place = RegionPlace {
            underlay: Ipv4Addr::LOCALHOST,
            link: Ipv4Addr::LOCALHOST,
            public_key: [0; 32],
            public_pool: Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
        };
        Self {
            region: region.into(),
            home: region.into(),
            regions: BTreeMap::from([(region.into(), place)]),
            witness: None,
            underlay: None,
        }
    }

    /// Whether the global services live here.
    pub fn is_home(&self) -> bool {
        self.region == self.home
    }

    /// This region's place.
    pub fn here(&self) -> Option<&RegionPlace> {
        self.place(&self.region)
    }

    /// A region's place, or the witness's.
    pub fn place(&self, region: &str) -> Option<&RegionPlace> {
        match region {
            WITNESS => self.witness.as_ref(),
            region => self.regions.get(region),
        }
    }

    /// The other regions, and the witness.
    pub fn peers(&self) -> impl Iterator<Item = (&str, &RegionPlace)> {
        let regions = self
            .regions
            .iter()
            .map(|(name, place)| (name.as_str(), place));
        let witness = self.witness.iter().map(|place| (WITNESS, place));
        regions
            .chain(witness)
            .filter(|(name, _)| *name != self.region)
    }

    /// Who judges health: every region, and the witness where there is one. A majority decides.
    pub fn observers(&self) -> usize {
        self.regions.len() + usize::from(self.witness.is_some())
    }

    /// Where the gateway of a region takes connections, inside the encrypted link.
    pub fn gateway(&self, region: &str) -> Option<SocketAddrV4> {
        let place = self.regions.get(region)?;
        Some(SocketAddrV4::new(place.link, GATEWAY_PORT))
    }
}
