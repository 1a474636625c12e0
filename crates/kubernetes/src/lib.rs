//! Clusters of upstream Kubernetes, as data: keys and certificates, what a control plane and a node run, who a token
//! names.
//!
//! Nothing here starts a process or opens a socket in a network that Lath makes; `lath-node` does that with what this
//! crate renders.

pub mod access;
pub mod agent;
mod audit;
pub mod auth_map;
pub mod authentication;
pub mod binaries;
pub mod client;
pub mod control_plane;
mod files;
pub mod injection;
pub mod issuer;
pub mod leaves;
pub mod manifests;
pub mod metrics;
pub mod node;
pub mod pki;
pub mod pod_groups;
pub mod quantity;
pub mod self_managed;
pub mod services;
pub mod serving;
#[cfg(test)]
mod testing;
pub mod token;
mod watch;

pub use binaries::{Binaries, BinariesError, runtime_program};
pub use client::{Client, ClientError};
pub use watch::{Change, ChangeKind, Changes};

/// Where control planes and nodes find the programs of Kubernetes.
const PROGRAMS_PLACE: &str = "/usr/local/lib/kubernetes";
/// Where kube-apiserver finds the token webhook, on 127.0.0.1 of its namespace, as with AWS's own.
pub const WEBHOOK_PORT: u16 = 21362;
/// Where kube-apiserver finds the metrics of nodes and pods, on its own address.
pub const METRICS_PORT: u16 = 21363;
/// Where containerd finds the registry, on 127.0.0.1 of its node's namespace.
pub const REGISTRY_PORT: u16 = 5000;
