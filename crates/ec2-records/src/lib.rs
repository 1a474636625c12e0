//! What EC2 keeps: the records of its networks and instances, what policies and errors say of each kind of them, and
//! what other services make in the account's VPCs.
//!
//! No operation is handled here. Who reads EC2's state, such as VPC Lattice and Route 53, needs this crate and none of
//! those with EC2's operations.

pub mod errors;
pub mod ids;
pub mod interfaces;
pub mod managed;
pub mod prefix_lists;
pub mod public_pool;
mod records;
pub mod resources;
pub mod tags;
pub mod transit;
mod zones;

pub use records::*;
pub use zones::zone_id;
