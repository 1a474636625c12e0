//! The resolver of a VPC: at base+2 of its primary block and at 169.254.169.253, by UDP and TCP.
//!
//! It answers the names that Lath owns (Lattice services, instances, the reverse of their addresses)
//! from the newest snapshot, and asks the host's resolvers for everything else. It is no recursive
//! resolver and keeps no cache: what the snapshot says is true at once.
//!
//! - [`decode_query`] reads foreign bytes, [`answer`] is a pure function of the snapshot;
//! - [`Upstreams`] are the host's resolvers;
//! - [`Dns`] listens in every VPC that wants a resolver, and says in which it does.

mod answer;
mod dns;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod listener;
mod query;
mod reply;
mod tcp;
#[cfg(test)]
mod testing;
mod upstreams;
mod zones;

pub use answer::{Answer, answer};
pub use dns::{Bound, Dns};
pub use query::{Extension, Query, Undecodable, decode_query};
pub use upstreams::Upstreams;
