//! The fabric: VPCs and instances as network namespaces of one host.
//!
//! A [`HostPlan`] says in plain data what the host's network must be; [`translate::plan`] makes it from a
//! feed snapshot, purely; [`Fabric::apply`] makes it so by the difference between it and what the kernel
//! says. Nothing is remembered between applies but the names of what is Lath's, so that a successor of a
//! killed process adopts what it finds. Sockets in VPCs come from [`Fabric::network`].
//!
//! This crate starts no process and serves no protocol. It is the only one, besides socket options
//! elsewhere, that changes the kernel's networking.
//!
//! ```no_run
//! # async fn example(snapshot: lath_feed::Snapshot) -> Result<(), Box<dyn std::error::Error>> {
//! use lath_fabric::{Fabric, FabricConfig, HostFacts, plan};
//!
//! let fabric = Fabric::open(FabricConfig {
//!     run_dir: "/var/lib/lath/run".into(),
//!     owner: "us-east-1".into(),
//!     host: None,
//! })?;
//! let facts = HostFacts::probe("us-east-1", None);
//! let report = fabric.apply(&plan(&snapshot, &facts)).await;
//! assert!(report.is_complete());
//! # Ok(()) }
//! ```

mod apply;
pub mod doctor;
mod fabric;
mod facts;
pub mod faults;
pub mod kernel;
pub mod name;
mod netlink;
mod netns;
mod network;
pub mod nft;
pub mod operation;
mod pins;
pub mod plan;
mod rootless;
mod rtnetlink;
pub mod translate;
pub mod wan;
mod watch;

pub use apply::{ApplyReport, Known, apply, apply_changes};
pub use fabric::{AUDIT, Fabric, FabricConfig, OpenError, run_dir};
pub use facts::{HostFacts, Uplink};
pub use faults::{Fault, Faults};
pub use netns::Netns;
pub use network::FabricNetwork;
pub use plan::HostPlan;
pub use rootless::{Privilege, UserNamespaceError, enter_user_namespace};
pub use translate::plan;

/// The nf_tables table in every router's namespace.
pub const TABLE: &str = "lath";
