//! What joins the cells of an installation.
//!
//! - [`Links`]: an encrypted link to every other cell, in the underlay namespace, with an address at each
//!   end. Only a peer with the right WireGuard key reaches those addresses.
//! - [`mod@carry`]: the newest value per topic, told to every peer over such links ([`lath_feed::Mesh`]), and
//!   heartbeats, which no value delays.
//! - [`gateway`]: connections into this region's targets and services, for the other cells.
//!
//! Nothing is kept: a cell that comes back gets all newest values again.
//!
//! ```no_run
//! # async fn example(topology: std::sync::Arc<lath_feed::Topology>, key: lath_feed::PrivateKey) {
//! use std::sync::Arc;
//! use lath_feed::{Mesh, NODE_PORT};
//! use tokio_util::sync::CancellationToken;
//!
//! let network: Arc<dyn lath_net::Network> = Arc::new(lath_mesh::Underlay::of(&topology));
//! let (mesh, carrier) = Mesh::new();
//! let (clock, stop) = (lath_clock::Clock::system(), CancellationToken::new());
//! let links = lath_mesh::Links::new(Arc::clone(&topology), key, Arc::clone(&network), clock.clone());
//! let carried = lath_mesh::carry(topology, NODE_PORT, network, carrier, clock, stop.clone());
//! mesh.publish("greeting", "hello".into());
//! tokio::join!(links.run(stop), carried);
//! # }
//! ```

mod beats;
pub mod carry;
mod frame;
pub mod fuzzing;
pub mod gateway;
mod links;
mod listen;
mod peers;
mod road;
mod underlay;
mod values;

pub use carry::carry;
pub use links::{LINK_MTU, LinkState, Links};
pub use underlay::Underlay;
