//! How targets are reached: from the router of their VPC, or through the gateway of their region.

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

/// Connects targets of other regions, each through its region's gateway.
#[async_trait]
pub trait Gateways: fmt::Debug + Send + Sync + 'static {
    /// A stream to `to` in the VPC of that region. Sockets come from `network`, which knows the underlay.
    ///
    /// # Errors
    /// `TimedOut` after `timeout`, which covers everything; else why the gateway or the target could not be
    /// connected.
    async fn connect(
        &self,
        network: &Arc<dyn Network>,
        region: &str,
        vpc: &VpcId,
        to: SocketAddr,
        timeout: Duration,
    ) -> io::Result<TcpStream>;
}

/// Where the newest state of the links to other regions is read, as [`lath_feed::Mesh::peers`] gives it.
pub type PeersReceiver = watch::Receiver<Arc<BTreeMap<String, PeerState>>>;

/// The other regions, as a node reaches them.
#[derive(Debug, Clone)]
pub struct Regions {
    /// The way to their targets.
    pub gateways: Arc<dyn Gateways>,
    /// Whether they answer. One that does not is left out at once.
    pub peers: PeersReceiver,
}

impl Regions {
    /// Of the regions that groups of the snapshot are in, those that do not answer.
    pub fn lost(known: Option<&mut Self>, snapshot: &Snapshot) -> BTreeSet<String> {
        let groups = snapshot.target_groups.values();
        let mut named: BTreeSet<String> = groups.filter_map(|group| group.region.clone()).collect();
        if let Some(regions) = known {
            let peers = regions.peers.borrow_and_update();
            named.retain(|region| peers.get(region).is_none_or(|peer| !peer.connected));
        }
        named
    }

    /// Returns when a link goes up or down, or when a peer tells something; never where there are no regions.
    pub async fn changed(known: Option<&mut Self>) {
        if let Some(regions) = known
            && regions.peers.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Where the targets of a group are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Their VPC.
    pub vpc: VpcId,
    /// Its region, when it is not this one.
    pub region: Option<Arc<str>>,
}

impl Reach {
    /// Of a group's targets.
    pub fn of(group: &TargetGroup) -> Self {
        Self {
            vpc: group.vpc.clone(),
            region: group.region.as_deref().map(Arc::from),
        }
    }
}

/// Connects targets wherever they are.
#[derive(Clone)]
pub struct Dial {
    /// Sockets in VPCs of this region.
    pub network: Arc<dyn Network>,
    /// The address from which this region's targets are connected.
    pub source: Option<IpAddr>,
    /// The way to other regions' targets.
    pub gateways: Option<Arc<dyn Gateways>>,
}

impl Dial {
    /// Connects a target.
    ///
    /// # Errors
    /// `TimedOut` after `timeout`; `NotFound` for another region's target where there is no way to other
    /// regions; else what connecting said.
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
