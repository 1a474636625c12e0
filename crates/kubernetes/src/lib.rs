//! Clusters of upstream Kubernetes, as data: keys and certificates, what a control plane and a node run, who a token
//! names.
//!
//! Nothing here starts a process or opens a socket in a network that Lath makes; `lath-node` does that with what this
//! crate renders.

pub mod binaries;
pub mod pki;

pub use binaries::Binaries;
