//! The feed between two processes: a Unix socket between a region's control plane and its node.
//!
//! Down go snapshots (whole at first, then what changed) and questions; up go observations, telemetry and
//! answers. Either side may die and come back in any order: everything but telemetry is a level, told anew on
//! every connection. A node keeps its last snapshot on disk ([`Kept`]) and obeys it while control is away; it
//! never takes an absent control for an empty snapshot.

mod control;
mod delta;
pub(crate) mod frame;
mod kept;
mod message;
mod node;
mod outbox;

pub use control::{Asks, RemoteNode, listen, serve};
pub use frame::{FrameError, MAX_FRAME};
pub use kept::Kept;
pub use node::{Follower, Metrics, Source};
pub use outbox::Outbox;

pub(crate) use delta::Delta;
pub(crate) use message::{Down, Up};

#[cfg(test)]
mod tests;
