//! The engine: HTTP as hyper reads and writes it, over streams and between guards of this crate.
//!
//! Nothing outside knows hyper. What goes in and comes out are heads (of the `http` crate, which any engine can fill
//! in), bodies as they come ([`Source`]) and bodies as they go, which are polled for their frames
//! ([`http_body::Body`]). Another engine, or a second one beside this, replaces this module.
//!
//! - [`server`]: a client's connection, from a stream and a service.
//! - [`client`]: connections to targets, which their users drive.
//! - [`http2_client`]: those that several exchanges share.

pub(crate) mod client;
mod client_io;
pub(crate) mod http2_client;
mod nudge;
pub(crate) mod server;
mod source;

use std::future::Future;

pub(crate) use source::{Ended, Error, Reset, Source};

/// Has hyper's tasks stay on their thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
