//! The resolver of a VPC (at base+2 of its primary block and at 169.254.169.253) and the authoritative server
//! of a region, by UDP and TCP.
//!
//! The resolver answers private hosted zones, the names that Lath owns (Lattice services, instances, the
//! reverse of their addresses, endpoints) and public hosted zones from the newest snapshot and the newest
//! health, and asks the host's resolvers for everything else. It is no recursive resolver and keeps no cache:
//! what the snapshot says is true at once. (What the data plane itself asks by [`Lookup`] is kept, as far as the host's
//! resolvers said it.) The authoritative server answers public hosted zones only.
//!
//! - [`decode_query`] reads foreign bytes, [`answer()`] is a pure function of the snapshot;
//! - [`Upstreams`] are the host's resolvers;
//! - [`Dns`] listens in every VPC that wants a resolver, and says in which it does.

mod answer;
mod answer_cache;
mod authority;
mod dns;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod listener;
mod lookup;
mod query;
mod reply;
mod resolve;
mod shares;
mod tcp;
#[cfg(test)]
mod testing;
mod upstreams;
mod zone_state;
mod zones;

pub use answer::{Answer, answer};
pub use authority::{AuthorityConfig, RateLimit, Served};
pub use dns::{Bound, Dns};
pub use lookup::Lookup;
pub use query::{Extension, Query, Undecodable, decode_query};
pub use upstreams::Upstreams;
