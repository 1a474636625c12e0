//! The way to targets of other regions: their regions' gateways, over the encrypted links.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lath_feed::Topology;
use lath_health::Gateways;
use lath_mesh::gateway::{connect, target_authority};
use lath_model::id::VpcId;
use lath_net::Network;
use tokio::net::TcpStream;

/// Finds gateways by the topology.
#[derive(Debug, Clone)]
pub struct MeshGateways(pub Arc<Topology>);

#[async_trait]
impl Gateways for MeshGateways {
    async fn connect(
        &self,
        network: &Arc<dyn Network>,
        region: &str,
        vpc: &VpcId,
        to: SocketAddr,
        timeout: Duration,
    ) -> io::Result<TcpStream> {
        let Some(gateway) = self.0.gateway(region) else {
            let text = format!("region {region} is not known here");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        };
        connect(network, gateway, &target_authority(vpc, to), timeout).await
    }
}
