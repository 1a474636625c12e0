//! The feed between processes: between a region's control plane and its nodes, over a Unix socket on one machine and over
//! an encrypted connection between two, in which each end proves that it has the key that the other one expects.
//!
//! Down go snapshots (whole at first, then what changed) and questions; up go observations, telemetry and
//! answers. Either side may die and come back in any order: everything but telemetry is a level, told anew on
//! every connection. A node keeps its last snapshot on disk ([`SnapshotFile`]) and obeys it while control is away; it
//! never takes an absent control for an empty snapshot.

mod address;
mod control;
mod delta;
pub(crate) mod frame;
mod message;
mod node;
mod outbox;
mod report;
mod secure;
mod snapshot_file;

pub use address::{Address, Listener};
pub use control::{RemoteNodes, listen, serve};
pub use frame::{FrameError, MAX_FRAME};
pub use node::{Follower, Metrics, Source};
pub use outbox::Outbox;
pub use secure::{FeedKey, FeedPublicKey, KnownNodes};
pub use snapshot_file::SnapshotFile;

pub(crate) use delta::Delta;
pub(crate) use message::{Down, Up};
pub(crate) use report::Report;

#[cfg(test)]
mod tests;
