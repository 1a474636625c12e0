//! Serving a client's connection: HTTP/1.1 and HTTP/2 on the same port, told apart by their first bytes.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::Version;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use lath_net::accept::Slot;
use tokio::net::TcpStream;

use crate::client_io::{ClientIo, with_scratch};
use crate::config::Limits;
use crate::connection::{Connection, Listening, Order};
use crate::core::Core;
use crate::counters::Count;
use crate::exchange::exchange;
use crate::http2::PREFACE;

/// Serves one connection to its end.
///
/// Between requests of HTTP/1.1 that are far apart, the socket waits here alone: hyper's buffers, 20 KB, are
/// given back. Written out instead of as an `async fn`, because most connections wait most of the time, and so this
/// future is what they cost: it has room for what a waiting connection needs, and for nothing else.
pub(crate) struct Serving {
    /// Before the connection: the socket is closed before its slot is free.
    state: State,
    /// The connection's place in the registry.
    key: usize,
    connection: Rc<Connection>,
    core: Rc<Core>,
}

enum State {
    /// The socket waits for a request, perhaps with a part of the first one, too short to say which version of HTTP
    /// it is.
    Resting(TcpStream, Option<Box<Vec<u8>>>),
    /// Requests are answered.
    Speaking(Pin<Box<dyn Future<Output = Spoken>>>),
    Over,
}

/// The socket, when it rests between requests; nothing when the connection is over.
type Spoken = hyper::Result<Option<TcpStream>>;

/// Serves a connection that was accepted.
pub(crate) fn serve(
    core: &Rc<Core>,
    listening: &Rc<Listening>,
    stream: TcpStream,
    remote: SocketAddr,
    slot: Slot,
) -> Serving {
    let client = core.clients.enter(listening.vpc_id(), remote.ip());
    let connection = Connection::new(core, Rc::clone(listening), remote, client, slot);
    let connection = Rc::new(connection);
    core.totals.add(Count::Connections, 1);
    core.totals.add(Count::ActiveConnections, 1);
    core.totals.add(Count::RestingConnections, 1);
    Serving {
        state: State::Resting(stream, None),
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
                    let first = ready!(wake_up(&this.connection, stream, first, cx));
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
        self.state = State::Speaking(match version_of(&core, &connection, &first) {
            Version::HTTP_2 => Box::pin(speak_http2(core, connection, stream, first)),
            _ => Box::pin(speak_http1(core, connection, stream, first)),
        });
    }

    fn spoken(&mut self, spoken: Spoken) {
        self.state = match spoken {
            Ok(Some(stream)) => {
                self.core.totals.add(Count::RestingConnections, 1);
                State::Resting(stream, None)
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
    connection: &Connection,
    stream: &TcpStream,
    first: &mut Option<Box<Vec<u8>>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Vec<u8>>> {
    if connection.order(cx) != Order::Serve {
        return Poll::Ready(None);
    }
    loop {
        let ready = ready!(stream.poll_read_ready(cx));
        let mut bytes = first.take().map_or_else(Vec::new, |first| *first);
        match ready.and_then(|()| read_some(stream, &mut bytes)) {
            Ok(0) => return Poll::Ready(None),
            Ok(_) if is_enough(connection, &bytes) => return Poll::Ready(Some(bytes)),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(None),
        }
        *first = (!bytes.is_empty()).then(|| Box::new(bytes));
    }
}

/// Reads by way of the thread's own room: a connection that waits has none.
fn read_some(stream: &TcpStream, into: &mut Vec<u8>) -> std::io::Result<usize> {
    with_scratch(|scratch| {
        let count = stream.try_read(scratch)?;
        into.extend_from_slice(&scratch[..count]);
        Ok(count)
    })
}

/// Whether it is clear which version the client speaks.
fn is_enough(connection: &Connection, first: &[u8]) -> bool {
    connection.version.get().is_some()
        || first.len() >= PREFACE.len()
        || !PREFACE.starts_with(first)
}

/// The version that the client speaks, by its first bytes.
fn version_of(core: &Core, connection: &Connection, first: &[u8]) -> Version {
    if let Some(version) = connection.version.get() {
        return version;
    }
    let (version, count) = match first.starts_with(PREFACE) {
        true => (Version::HTTP_2, Count::Http2Connections),
        false => (Version::HTTP_11, Count::Http1Connections),
    };
    core.totals.add(count, 1);
    connection.version.set(Some(version));
    version
}

async fn speak_http1(
    core: Rc<Core>,
    connection: Rc<Connection>,
    stream: TcpStream,
    first: Vec<u8>,
) -> Spoken {
    let io = ClientIo::http1(stream, first, Rc::clone(&connection));
    let its_connection = Rc::clone(&connection);
    let service = service_fn(move |request| exchange(&core, &its_connection, request));
    let mut serving = http1_builder().serve_connection(io, service);
    let mut told = false;
    let ended = obeying(&connection, |cx, finish| {
        if finish && !std::mem::replace(&mut told, true) {
            Pin::new(&mut serving).graceful_shutdown();
        }
        connection.wire.look();
        match Pin::new(&mut serving).poll(cx) {
            Poll::Pending if connection.may_rest() => Poll::Ready(Ok(Turn::Rest)),
            polled => polled.map_ok(|()| Turn::Over),
        }
    })
    .await;
    if !matches!(ended.transpose()?, Some(Turn::Rest)) {
        return Ok(None);
    }
    let parts = serving.into_parts();
    // Nothing but empty lines, which mean nothing, can be left with hyper, see `Wire::is_at_rest`. Anything else
    // would not begin a request.
    let nothing = parts.read_buf.iter().all(|byte| b"\r\n".contains(byte));
    Ok(nothing.then(|| parts.io.into_stream()))
}

/// What came of a poll of an HTTP/1.1 connection.
enum Turn {
    Over,
    Rest,
}

async fn speak_http2(
    core: Rc<Core>,
    connection: Rc<Connection>,
    stream: TcpStream,
    first: Vec<u8>,
) -> Spoken {
    let io = ClientIo::http2(stream, &first, Rc::clone(&connection));
    let builder = http2_builder(&connection, &core.config.limits);
    let its_connection = Rc::clone(&connection);
    let service = service_fn(move |request| exchange(&core, &its_connection, request));
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut told = false;
    let ended = obeying(&connection, |cx, finish| {
        if finish && !std::mem::replace(&mut told, true) {
            serving.as_mut().graceful_shutdown();
        }
        serving.as_mut().poll(cx)
    })
    .await;
    ended.transpose().map(|_over| None)
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Deadlines are the registry's; the buffer holds the largest head that is allowed.
    builder.header_read_timeout(None).max_buf_size(128 * 1024);
    builder
}

fn http2_builder(connection: &Rc<Connection>, limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams(Rc::clone(connection)));
    // The list is somewhat longer than what is allowed, so that the refusal is ours: a 400. The windows bound
    // what of requests waits unread by targets.
    builder
        .max_header_list_size(96 * 1024)
        .max_concurrent_streams(limits.streams)
        .max_send_buf_size(64 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024);
    builder
}

/// Runs the streams of a client's HTTP/2 connection, each until it is over or its client is cut off.
#[derive(Clone)]
struct Streams(Rc<Connection>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        // hyper begins the exchange, then has its stream run.
        let Some(meter) = self.0.begun.take() else {
            tokio::task::spawn_local(stream);
            return;
        };
        // Boxed, because a task is moved several times before it runs.
        let mut stream = Box::pin(stream);
        tokio::task::spawn_local(poll_fn(move |cx| match meter.is_cut(cx) {
            // Dropped unfinished, the stream is reset.
            true => Poll::Ready(()),
            false => stream.as_mut().poll(cx),
        }));
    }
}

/// Polls until it is ready, or until the connection is told to end: then `None`. `poll` is told whether
/// the connection should finish.
async fn obeying<T>(
    connection: &Connection,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<T>,
) -> Option<T> {
    poll_fn(|cx| match connection.order(cx) {
        Order::Abort => Poll::Ready(None),
        order => poll(cx, order != Order::Serve).map(Some),
    })
    .await
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
