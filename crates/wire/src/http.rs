//! The HTTP front door: connections in, signed requests to services, answers out.

mod arriving;
mod body;
mod door;
mod known;
pub(crate) mod refusal;
mod relay;
mod server;
mod unserved;
mod waiters;

pub use door::{FrontDoor, KeyOwner, Limits, Peer};
pub use known::KNOWN_SERVICES;
pub use relay::{Outlook, Relay, Way};
