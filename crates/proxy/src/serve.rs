//! Serving a client's connection: HTTP/1.1 and HTTP/2 on the same port, told apart by their first bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use http::Version;
use lath_clock::Clock;
use lath_net::accept::Slot;

use crate::connection::{Connection, Order};
use crate::core::Core;
use crate::counters::Count;
use crate::engine::server::{self, Spoken};
use crate::exchange::exchange;
use crate::http2::PREFACE;
use crate::listener::Listening;
use crate::passthrough;
use crate::scratch::with_scratch;
use crate::stream::Stream;
use crate::tls;

/// Serves one connection to its end.
///
/// Between requests of HTTP/1.1 that are far apart, the stream waits here alone: the engine's buffers, 20 KB, are
/// given back. Written out instead of as an `async fn`, because most connections wait most of the time, and so this
/// future is what they cost: it has room for what a waiting connection needs, and for nothing else.
pub(crate) struct Serving {
    /// Before the connection: the stream is closed before its slot is free.
    state: State,
    /// The connection's place in the registry.
    key: usize,
    connection: Rc<Connection>,
    core: Rc<Core>,
}

enum State {
    /// The stream waits for a request, perhaps with a part of the first one, too short to say which version of HTTP
    /// it is.
    Resting(Stream, Vec<u8>),
    /// Requests are answered.
    Speaking(Pin<Box<dyn Future<Output = Spoken>>>),
    Over,
}

/// Serves a connection that was accepted.
pub(crate) fn serve(
    core: &Rc<Core>,
    listening: &Rc<Listening>,
    stream: Stream,
    remote: SocketAddr,
    slot: Slot,
) -> Serving {
    let client = core.clients.enter(listening.vpc_id(), remote.ip());
    let limits = &core.config.limits;
    let connection = Connection::new(limits, Rc::clone(listening), remote, client, slot);
    let connection = Rc::new(connection);
    core.totals.add(Count::Connections, 1);
    core.totals.add(Count::ActiveConnections, 1);
    core.totals.add(Count::RestingConnections, 1);
    Serving {
        state: State::Resting(stream, Vec::new()),
        key: core.connections.add(Rc::clone(&connection)),
        connection,
        core: Rc::clone(core),
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Resting(stream, first) => {
                    let first = ready!(wake_up(&this.core, &this.connection, stream, first, cx));
                    this.speak(first);
                }
                State::Speaking(speaking) => {
                    let spoken = ready!(speaking.as_mut().poll(cx));
                    this.spoken(spoken);
                }
                State::Over => return Poll::Ready(()),
            }
        }
    }
}

impl Serving {
    /// A request begins with these bytes; without any, none is to come.
    fn speak(&mut self, first: Option<Vec<u8>>) {
        let resting = std::mem::replace(&mut self.state, State::Over);
        self.core.totals.subtract(Count::RestingConnections, 1);
        let (State::Resting(stream, _), Some(first)) = (resting, first) else {
            return;
        };
        let (core, connection) = (Rc::clone(&self.core), Rc::clone(&self.connection));
        let stream = match stream {
            Stream::Passed(passed) => {
                self.state = State::Speaking(Box::pin(async move {
                    passthrough::pass(&core, &connection, *passed).await;
                    Ok(None)
                }));
                return;
            }
            stream => stream,
        };
        let version = version_of(&core, &connection, &stream, &first);
        let (most, its) = (core.config.limits.streams, Rc::clone(&connection));
        let service = move |request| exchange(&core, &its, request);
        self.state = State::Speaking(match version {
            Version::HTTP_2 => Box::pin(server::http2(connection, stream, first, most, service)),
            _ => Box::pin(server::http1(connection, stream, first, service)),
        });
    }

    fn spoken(&mut self, spoken: Spoken) {
        self.state = match spoken {
            Ok(Some(stream)) => {
                self.core.totals.add(Count::RestingConnections, 1);
                State::Resting(stream, Vec::new())
            }
            Ok(None) => State::Over,
            Err(error) => {
                self.core.totals.add(Count::ConnectionErrors, 1);
                let client = self.connection.remote();
                tracing::debug!(client.addr = %client, %error, "a client connection broke");
                State::Over
            }
        };
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.core.connections.remove(self.key);
        self.core.totals.subtract(Count::ActiveConnections, 1);
        if matches!(self.state, State::Resting(..)) {
            self.core.totals.subtract(Count::RestingConnections, 1);
        }
    }
}

/// Ready with the first bytes of a request, as many as tell the version of HTTP; with `None` when there is none to
/// come.
fn wake_up(
    core: &Core,
    connection: &Connection,
    stream: &mut Stream,
    first: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Option<Vec<u8>>> {
    if connection.order(cx) != Order::Serve {
        let broken = u64::from(stream.is_opening());
        core.totals.add(Count::TlsErrors, broken);
        return Poll::Ready(None);
    }
    loop {
        let polled = stream.poll_readable(cx);
        if connection.is_opening() {
            follow(core, connection, stream, &polled);
        }
        let ready = ready!(polled);
        if matches!(stream, Stream::Passed(_)) {
            return Poll::Ready(Some(Vec::new()));
        }
        match ready.and_then(|()| read_some(stream, first)) {
            Ok(0) => return Poll::Ready(None),
            Ok(_) if is_enough(connection, stream, first) => {
                return Poll::Ready(Some(std::mem::take(first)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(None),
        }
    }
}

/// Notes what comes of a handshake.
fn follow(
    core: &Core,
    connection: &Connection,
    stream: &Stream,
    polled: &Poll<std::io::Result<()>>,
) {
    if !stream.is_opening() {
        let secured = stream.secured();
        let shaken = u64::from(secured.is_some());
        core.totals.add(Count::TlsHandshakes, shaken);
        connection.opened(secured);
    } else if let Poll::Ready(Err(error)) = polled {
        core.totals.add(Count::TlsErrors, 1);
        let client = connection.remote();
        match tls::is_about_certificate(error) {
            true => {
                core.totals.add(Count::ClientCertificatesRefused, 1);
                report_refused(client, error, &core.config.clock);
            }
            false => {
                tracing::debug!(client.addr = %client, %error, "a client's handshake failed");
            }
        }
    }
}

/// Logs why a client's certificate was refused, at most once in a second: clients could fill the log.
fn report_refused(client: SocketAddr, error: &std::io::Error, clock: &Clock) {
    static SECOND: AtomicI64 = AtomicI64::new(0);
    let now = clock.unix_seconds();
    if SECOND.swap(now, Relaxed) == now {
        tracing::debug!(client.addr = %client, %error, "a client's certificate was refused");
    } else {
        tracing::info!(client.addr = %client, %error, "a client's certificate was refused");
    }
}

/// Reads by way of the thread's own room: a connection that waits has none.
fn read_some(stream: &mut Stream, into: &mut Vec<u8>) -> std::io::Result<usize> {
    with_scratch(|scratch| {
        let count = stream.try_read(scratch)?;
        into.extend_from_slice(&scratch[..count]);
        Ok(count)
    })
}

/// Whether it is clear which version the client speaks.
fn is_enough(connection: &Connection, stream: &Stream, first: &[u8]) -> bool {
    connection.version.get().is_some()
        || stream.agreed_version().is_some()
        || first.len() >= PREFACE.len()
        || !PREFACE.starts_with(first)
}

/// The version that the client speaks, as was agreed on, or by its first bytes.
fn version_of(core: &Core, connection: &Connection, stream: &Stream, first: &[u8]) -> Version {
    if let Some(version) = connection.version.get() {
        return version;
    }
    let by_bytes = match first.starts_with(PREFACE) {
        true => Version::HTTP_2,
        false => Version::HTTP_11,
    };
    let version = stream.agreed_version().unwrap_or(by_bytes);
    let count = match version {
        Version::HTTP_2 => Count::Http2Connections,
        _ => Count::Http1Connections,
    };
    core.totals.add(count, 1);
    connection.version.set(Some(version));
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokio puts 96 bytes around a task's future and rounds up to 128, so that this one takes 256. What is
    /// needed only while requests are answered belongs into [`State::Speaking`].
    #[test]
    fn a_connection_that_waits_is_a_small_task() {
        assert!(size_of::<Serving>() <= 96, "{}", size_of::<Serving>());
    }
}
