//! Listening on this cell's link address, for other cells only.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_feed::Topology;
use lath_net::{Network, Place};
use tokio::net::{TcpListener, TcpStream};

/// Before the address is tried again: it comes with the first link.
const PAUSE: Duration = Duration::from_millis(200);

/// A listener on the link address; waits until the links are there.
pub(crate) async fn listener(
    topology: &Topology,
    port: u16,
    network: &Arc<dyn Network>,
) -> TcpListener {
    let link = topology.here().map(|here| here.link);
    let mut said = false;
    loop {
        let outcome = match link {
            Some(link) => bind(SocketAddr::from((link, port)), network).await,
            None => Err(std::io::ErrorKind::NotFound.into()),
        };
        match outcome {
            Ok(listener) => return listener,
            Err(error) if !std::mem::replace(&mut said, true) => {
                tracing::info!(port, %error, "waiting for the link address");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn bind(at: SocketAddr, network: &Arc<dyn Network>) -> std::io::Result<TcpListener> {
    TcpListener::from_std(lath_net::listen(network, &Place::Underlay, at).await?)
}

/// The next connection from another cell, and which one it is. Others, which have found another way to
/// the address, are hung up on: only a link leads answers to a link address.
pub(crate) async fn accept(listener: &TcpListener, topology: &Topology) -> (TcpStream, String) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match cell(topology, from.ip()) {
                Some(cell) => return (stream, cell),
                None => tracing::warn!(%from, "a stranger was hung up on"),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn cell(topology: &Topology, address: IpAddr) -> Option<String> {
    let mut peers = topology.peers();
    let (name, _) = peers.find(|(_, place)| IpAddr::V4(place.link) == address)?;
    Some(name.to_owned())
}
