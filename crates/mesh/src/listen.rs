//! Listening on this cell's link address, for other cells only.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_feed::Topology;
use lath_net::accept::{Acceptor, Slot};
use lath_net::{Network, Place, Throttle};
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

static STRANGERS: Throttle = Throttle::new();

/// The next connection from another cell, and which one it is. Others, which have found another way to
/// the address, are hung up on: only a link leads answers to a link address.
pub(crate) async fn accept(
    listener: &TcpListener,
    topology: &Topology,
    acceptor: &Acceptor,
) -> (TcpStream, String, Slot) {
    loop {
        let (stream, from, slot) = acceptor.accept(listener, &Place::Underlay).await;
        if let Some(cell) = cell(topology, from.ip()) {
            return (stream, cell, slot);
        }
        if let Some(times) = STRANGERS.due() {
            tracing::warn!(client.addr = %from, times, "a stranger was hung up on");
        }
    }
}

fn cell(topology: &Topology, address: IpAddr) -> Option<String> {
    let mut peers = topology.peers();
    let (name, _) = peers.find(|(_, place)| IpAddr::V4(place.link) == address)?;
    Some(name.to_owned())
}
