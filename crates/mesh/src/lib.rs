//! What joins the cells of an installation.
//!
//! - [`Links`]: an encrypted link to every other cell, in the underlay namespace, with an address at each
//!   end. Whoever reaches those addresses has the right WireGuard key.
//! - [`carry`]: the newest value per topic, told to every peer over such links ([`lath_feed::Mesh`]).
//! - [`gateway`]: connections into this region's targets and services, for the other cells.
//!
//! Nothing is kept: a cell that comes back is told all newest values again.

pub mod carry;
mod frame;
pub mod fuzzing;
pub mod gateway;
mod links;
mod listen;
mod peers;
mod underlay;

pub use carry::carry;
pub use links::{LINK_MTU, LinkState, Links};
pub use underlay::Underlay;
