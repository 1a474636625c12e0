//! Network interfaces: what instances and others need of them.

pub(crate) mod limits;
mod messages;
mod operations;
pub(crate) mod prefixes;
mod private_addresses;
mod response;
#[cfg(test)]
mod tests;

pub(crate) use messages::PrefixItem;
pub(crate) use operations::{instance_of, register};
pub(crate) use private_addresses::add_addresses;
