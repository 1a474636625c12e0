//! Connects to targets from the router of their VPC, or through the gateway of their region.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lath_feed::{PeerState, Snapshot, TargetGroup};
use lath_model::id::VpcId;
use lath_net::{Network, Place};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Connects to targets in other regions, each through its region's gateway.
#[async_trait]
pub trait Gateways: fmt::Debug + Send + Sync + 'static {
    /// Opens a stream to `to` in a VPC of another region. `network` makes the sockets on the underlay.
    ///
    /// # Errors
    /// `TimedOut` after `timeout`, which covers all steps; else the error of the connection to the gateway or
    /// the target.
    async fn connect(
        &self,
        network: &Arc<dyn Network>,
        region: &str,
        vpc: &VpcId,
        to: SocketAddr,
        timeout: Duration,
    ) -> io::Result<TcpStream>;
}

/// The newest state of the links to other regions, from [`lath_feed::Mesh::peers`].
pub type PeersReceiver = watch::Receiver<Arc<BTreeMap<String, PeerState>>>;

/// A node's access to the other regions.
#[derive(Debug, Clone)]
pub struct Regions {
    /// Connects to their targets.
    pub gateways: Arc<dyn Gateways>,
    /// Their link states. Targets of a region that is not connected are left out at once.
    pub peers: PeersReceiver,
}

impl Regions {
    /// The regions of the snapshot's groups that are not connected.
    pub fn lost(known: Option<&mut Self>, snapshot: &Snapshot) -> BTreeSet<String> {
        let groups = snapshot.target_groups.values();
        let mut named: BTreeSet<String> = groups.filter_map(|group| group.region.clone()).collect();
        if let Some(regions) = known {
            let peers = regions.peers.borrow_and_update();
            named.retain(|region| peers.get(region).is_none_or(|peer| !peer.connected));
        }
        named
    }

    /// How many other regions are connected.
    pub fn connected(known: Option<&mut Self>) -> usize {
        let peers = known.map(|it| Arc::clone(&it.peers.borrow()));
        let peers = peers.iter().flat_map(|it| it.iter());
        peers
            .filter(|(name, peer)| *name != lath_feed::WITNESS && peer.connected)
            .count()
    }

    /// Returns when a link goes up or down or a peer sends a value. Never returns if there are no other regions.
    pub async fn changed(known: Option<&mut Self>) {
        if let Some(regions) = known
            && regions.peers.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

/// The location of a group's targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Their VPC.
    pub vpc: VpcId,
    /// The region, if it is not this one.
    pub region: Option<Arc<str>>,
}

impl Reach {
    /// The location of this group's targets.
    pub fn of(group: &TargetGroup) -> Self {
        Self {
            vpc: group.vpc.clone(),
            region: group.region.as_deref().map(Arc::from),
        }
    }
}

/// Connects to targets in any region.
#[derive(Clone)]
pub struct Dial {
    /// Makes sockets in VPCs of this region.
    pub network: Arc<dyn Network>,
    /// The source address of connections to this region's targets.
    pub source: Option<IpAddr>,
    /// Connects to other regions' targets.
    pub gateways: Option<Arc<dyn Gateways>>,
}

impl Dial {
    /// Connects to a target.
    ///
    /// # Errors
    /// `TimedOut` after `timeout`; `NotFound` for a target in another region without `gateways`; else the
    /// connection's error.
    pub async fn connect(
        &self,
        reach: &Reach,
        to: SocketAddr,
        timeout: Duration,
    ) -> io::Result<TcpStream> {
        let Some(region) = &reach.region else {
            let place = Place::Vpc(reach.vpc.clone());
            return lath_net::connect(&self.network, &place, self.source, to, timeout).await;
        };
        let Some(gateways) = &self.gateways else {
            let text = format!("there is no way to region {region}");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        };
        let network = &self.network;
        let connecting = gateways.connect(network, region, &reach.vpc, to, timeout);
        connecting.await
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("source", &self.source)
            .field("gateways", &self.gateways)
            .finish_non_exhaustive()
    }
}
