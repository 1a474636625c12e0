//! The HTTP front door: connections in, signed requests to services, answers out.
//!
//! [`FrontDoor`] verifies the signatures of requests and gives them to the services of its regions; [`Relay`] hands them
//! over to other processes, each with the front door of one region.
//!
//! Not here: what is in requests and answers (`lath-wire`), who owns which key, who may do what.

mod arriving;
mod body;
mod door;
mod known;
mod relay;
mod server;
mod unserved;
mod waiters;

pub use door::{FrontDoor, Limits, Peer};
pub use known::KNOWN_SERVICES;
pub use relay::{Outlook, Relay, Way};
