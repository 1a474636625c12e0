//! Values that are valid once built: resource ids, ARNs, partitions, timestamps, and the plain data that rule
//! matching and the feed share.
//!
//! This crate knows no runtime, clock, socket or file. Parse at the door with [`std::str::FromStr`];
//! never re-check inside.
//!
//! ```
//! use lath_model::id::VpcId;
//! let id: VpcId = "vpc-0123456789abcdef0".parse().unwrap();
//! assert_eq!(id.as_str(), "vpc-0123456789abcdef0");
//! assert!("subnet-1".parse::<VpcId>().is_err());
//! ```

pub mod arn;
pub mod balancing;
pub mod id;
pub mod lattice;
pub mod matching;
mod outage;
pub mod partition;
mod timestamp;
pub mod traffic;
mod workload;

pub use arn::{Arn, Owner};
pub use outage::Outage;
pub use partition::Partition;
pub use timestamp::Timestamp;
pub use workload::{InvalidWorkload, ManagedId, ManagedKind, WorkloadId};
