//! The only contract between control and nodes.
//!
//! Control publishes an immutable [`Snapshot`]: all that a node must do, in plain data. A node applies it
//! and answers with [`Observed`]: the actual state. Both are levels, not events: a reader that missed ten
//! versions reads the newest and loses nothing. Items stand behind [`Arc`], and the publisher keeps an
//! item's `Arc` when it did not change, so that a node finds what changed by comparing pointers first.
//!
//! In one process the channel is a `tokio::sync::watch`; between processes it is a [`stream`] of the same
//! values. What flows continuously (access logs, counters) goes through [`telemetry::Sink`], and the few
//! questions that control asks a node go through [`NodeQueries`].

mod callers;
mod desired;
mod dhcp;
mod function;
#[doc(hidden)]
pub mod fuzzing;
mod instance;
mod items;
mod kubernetes;
mod lattice;
mod merged;
mod mesh;
mod observed;
mod resource;
mod route53;
mod slice;
pub mod stream;
pub mod telemetry;
mod topology;
mod transit;
mod vpc;

use std::sync::Arc;

use async_trait::async_trait;
use lath_model::id::InstanceId;

pub use callers::*;
pub use desired::*;
pub use dhcp::{DhcpOptions, NameServer};
pub use function::*;
pub use instance::*;
pub use items::Items;
pub use kubernetes::*;
pub use lattice::*;
pub use merged::{ABSENCE, Merged, NodeId};
pub use mesh::{Carrier, LONGEST_VALUE, Mesh, PeerState, Values, section_of};
pub use observed::*;
pub use resource::*;
pub use route53::*;
pub use slice::Placement;
pub use topology::*;
pub use transit::*;
pub use vpc::*;

/// Where nodes read the newest snapshot.
pub type SnapshotReceiver = tokio::sync::watch::Receiver<Arc<Snapshot>>;

/// Where control reads the newest observation.
pub type ObservedReceiver = tokio::sync::watch::Receiver<Arc<Observed>>;

/// Questions that control asks the node that runs an instance or a function.
#[async_trait]
pub trait NodeQueries: Send + Sync + 'static {
    /// The newest bytes that the instance wrote to its console (at most 64 KiB), and when they were
    /// written last. `None` when the node does not know the instance.
    async fn console_output(&self, instance: &InstanceId) -> Option<ConsoleOutput>;

    /// Runs a function once, to its end. `None` when no node that runs functions answers.
    async fn invoke(&self, _invocation: Invocation) -> Option<Invoked> {
        None
    }
}

/// What an instance wrote to `/dev/console`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConsoleOutput {
    /// The newest bytes, at most 64 KiB.
    pub bytes: Vec<u8>,
    /// When something was written last.
    pub at: lath_model::Timestamp,
}

/// A node that runs nothing: for control-plane tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNode;

#[async_trait]
impl NodeQueries for NoNode {
    async fn console_output(&self, _instance: &InstanceId) -> Option<ConsoleOutput> {
        None
    }
}
