//! The HTTP front door: connections in, signed requests to services, answers out.

mod body;
mod door;
mod refusal;
mod server;

pub use door::{FrontDoor, KeyOwner, Limits, Peer};
