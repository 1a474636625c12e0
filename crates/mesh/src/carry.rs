//! Carries a mesh: two roads to every peer, one for heartbeats and one for values.

use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::{Carrier, HEARTBEAT_PORTS, Topology};
use lath_net::Network;
use tokio_util::sync::CancellationToken;

use crate::beats::{Beats, Pulse};
use crate::peers::Peers;
use crate::road::Road;
use crate::values::Publisher;

/// Between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// A peer counts as not connected after this long without a heartbeat.
pub const SILENCE: Duration = Duration::from_millis(400);
/// Connections are given up after this long without a heartbeat: new ones are sooner there than TCP's next
/// repetition.
pub const GIVE_UP: Duration = Duration::from_millis(1000);

/// Sends the values of `carrier` to all peers of the topology, and gives it theirs, until `stop`.
/// `port` is [`lath_feed::CONTROL_PORT`] or [`lath_feed::NODE_PORT`]; heartbeats are at
/// [`HEARTBEAT_PORTS`] above it.
pub async fn carry(
    topology: Arc<Topology>,
    port: u16,
    network: Arc<dyn Network>,
    carrier: Carrier,
    clock: Clock,
    stop: CancellationToken,
) {
    let own = topology.region.clone();
    let peers = Peers::new(carrier.peers, &topology, clock);
    if topology.peers().next().is_none() {
        return stop.cancelled().await;
    }
    let road = |port| Road {
        topology: Arc::clone(&topology),
        port,
        network: Arc::clone(&network),
    };
    let pulse = Arc::new(Pulse::new());
    let beats = Beats {
        own: own.clone(),
        peers: peers.clone(),
        pulse: Arc::clone(&pulse),
    };
    let publisher = Publisher {
        own,
        peers,
        values_rx: carrier.told,
    };
    // The thread ends with this future, however that ends.
    let ends = stop.child_token();
    let _ends = ends.clone().drop_guard();
    if let Err(error) = beats.start(road(port + HEARTBEAT_PORTS), ends) {
        tracing::error!(%error, "no thread for heartbeats: other cells take this one for dead");
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = pulse.turn() => {}
        () = road(port).keep(publisher) => {}
    }
}
