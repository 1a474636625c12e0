//! What joins this node with those of other regions: encrypted links, a mesh over them, a gateway into this
//! region's targets, and the tunnels of Transit Gateway peerings.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lath_clock::Clock;
use lath_fabric::Fabric;
use lath_feed::{Mesh, NODE_PORT, PrivateKey, SnapshotReceiver, Topology};
use lath_health::{Gateways, Regions};
use lath_mesh::{Links, carry, gateway};
use lath_model::id::VpcId;
use lath_net::Network;
use lath_tasks::Group;
use lath_tunnel::Tunnels;
use tokio::net::TcpStream;

/// This cell among the others.
#[derive(Debug, Clone)]
pub struct CellMembership {
    /// Where the regions are.
    pub topology: Arc<Topology>,
    /// This cell's key for the encrypted links; `None` where there are no other cells.
    pub link_key: Option<PrivateKey>,
}

impl CellMembership {
    /// One region alone.
    pub fn alone(region: &str) -> Self {
        Self {
            topology: Arc::new(Topology::single(region)),
            link_key: None,
        }
    }

    /// Keeps the links to the other cells, and the mesh of nodes over them.
    pub fn join(self, network: &Arc<dyn Network>, clock: &Clock, group: &mut Group) -> Mesh {
        let (mesh, carrier) = Mesh::new();
        if let Some(key) = self.link_key {
            let links = Links::new(
                Arc::clone(&self.topology),
                key,
                Arc::clone(network),
                clock.clone(),
            );
            group.spawn("the links to other regions", links.run(group.token()));
        }
        let network = Arc::clone(network);
        let carrying = carry(
            self.topology,
            NODE_PORT,
            network,
            carrier,
            clock.clone(),
            group.token(),
        );
        group.spawn("the mesh", carrying);
        mesh
    }
}

/// The other regions, where there are any.
pub(crate) fn regions(topology: &Arc<Topology>, mesh: &Mesh) -> Option<Regions> {
    topology.peers().next()?;
    Some(Regions {
        gateways: Arc::new(ByLink(Arc::clone(topology))),
        peers: mesh.peers(),
    })
}

/// Lets the other regions in, and tunnels packets of peerings.
pub(crate) fn serve(
    topology: &Arc<Topology>,
    network: &Arc<dyn Network>,
    snapshots: &SnapshotReceiver,
    (fabric, clock): (&Arc<Fabric>, &Clock),
    group: &mut Group,
) -> Tunnels {
    let serving = gateway::serve(
        Arc::clone(topology),
        Arc::clone(network),
        snapshots.clone(),
        group.token(),
    );
    group.spawn("the gateway for other regions", serving);
    let fabric = Arc::clone(fabric);
    let netns = move |id: &lath_model::id::TransitGatewayId| fabric.netns(id.as_str());
    Tunnels::new(
        Arc::clone(network),
        Arc::new(netns),
        snapshots.clone(),
        clock.clone(),
    )
}

/// Reaches other regions' gateways through the encrypted links.
#[derive(Debug)]
struct ByLink(Arc<Topology>);

#[async_trait]
impl Gateways for ByLink {
    async fn connect(
        &self,
        network: &Arc<dyn Network>,
        region: &str,
        vpc: &VpcId,
        to: SocketAddr,
        timeout: Duration,
    ) -> io::Result<TcpStream> {
        let gateway = self.0.gateway(region).ok_or(io::ErrorKind::NotFound)?;
        let authority = gateway::target_authority(vpc, to);
        gateway::connect(network, gateway, &authority, timeout).await
    }
}
