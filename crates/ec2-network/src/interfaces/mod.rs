//! Network interfaces: what instances and others need of them.

pub mod limits;
mod messages;
mod operations;
pub mod prefixes;
mod private_addresses;
mod response;
#[cfg(test)]
mod tests;

pub use messages::PrefixItem;
pub(crate) use operations::{instance_of, register};
pub use private_addresses::add_addresses;
