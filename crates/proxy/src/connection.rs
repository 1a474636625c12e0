//! Client connections: HTTP/1.1 and HTTP/2 on the same port, told apart by their first bytes.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use http::{HeaderValue, Version};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use lath_model::id::VpcId;
use lath_net::accept::Slot;
use tokio::net::TcpStream;

use crate::ProxyConfig;
use crate::account::Account;
use crate::client_io::{ClientIo, Wire, with_scratch};
use crate::clients::Client;
use crate::config::Limits;
use crate::core::{Core, Entrance, ListenerKey};
use crate::counters::Count;
use crate::exchange::exchange;
use crate::http2::PREFACE;
use crate::meter::Meter;
use crate::seam::Seam;
use crate::state::VpcState;

/// A listener, as one thread sees it.
pub(crate) struct Listening {
    key: ListenerKey,
    pub(crate) closed: Closed,
    /// The newest view of the VPC that this thread has seen, with its generation.
    view: RefCell<Option<(u64, Arc<VpcState>)>>,
}

/// A flag that one task waits for.
#[derive(Default)]
pub(crate) struct Closed {
    set: Cell<bool>,
    notify: tokio::sync::Notify,
}

impl Closed {
    pub(crate) async fn cancelled(&self) {
        while !self.set.get() {
            self.notify.notified().await;
        }
    }
}

impl Listening {
    pub(crate) fn new(key: ListenerKey) -> Self {
        Self {
            key,
            closed: Closed::default(),
            view: RefCell::new(None),
        }
    }

    pub(crate) fn vpc_id(&self) -> &VpcId {
        &self.key.vpc
    }

    pub(crate) fn close(&self) {
        self.closed.set.set(true);
        self.closed.notify.notify_one();
    }

    /// The VPC as of now. The look-up by id is done only when the state was replaced.
    fn vpc(&self, core: &Core) -> Arc<VpcState> {
        let state = core.state.load();
        let mut view = self.view.borrow_mut();
        match &*view {
            Some((generation, vpc)) if *generation == state.generation => Arc::clone(vpc),
            _ => {
                let found = match &self.key.entrance {
                    Entrance::Association => state.vpcs.get(&self.key.vpc),
                    Entrance::Endpoint(id) => state.endpoints.get(id),
                };
                let nothing = || Arc::new(VpcState::without_network(&self.key.vpc));
                let vpc = found.cloned().unwrap_or_else(nothing);
                *view = Some((state.generation, Arc::clone(&vpc)));
                vpc
            }
        }
    }
}

/// What a connection is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Go on.
    Serve,
    /// Take no new requests, finish those in flight by this time.
    Finish(Instant),
    /// End now.
    Abort,
}

/// A client's connection, for whoever looks after deadlines.
pub(crate) struct Connection {
    pub(crate) remote: SocketAddr,
    /// `x-forwarded-for`.
    pub(crate) client_header: HeaderValue,
    /// How long it may be idle, in milliseconds.
    patience: Cell<u32>,
    listening: Rc<Listening>,
    active: Cell<u32>,
    idle_since: Cell<Instant>,
    born: Instant,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    /// `None` until the first bytes have come.
    version: Cell<Option<Version>>,
    pub(crate) wire: Wire,
    /// What waits in memory for it.
    pub(crate) account: Account,
    /// The exchange that hyper began last, until its HTTP/2 stream is run.
    pub(crate) begun: Cell<Option<Rc<Meter>>>,
    /// Whether it was idle at the last tick, and so may rest.
    tired: Cell<bool>,
    clock: Rc<Cell<Instant>>,
    client: Client,
    /// What Lath itself writes to an HTTP/1.1 client.
    pub(crate) seam: Seam,
    /// Whether the connection ends after an answer to a request that was not read to its end.
    pub(crate) lingers: Cell<bool>,
    slot: Slot,
}

impl Connection {
    fn new(
        core: &Core,
        listening: Rc<Listening>,
        remote: SocketAddr,
        client: Client,
        slot: Slot,
    ) -> Self {
        let now = Instant::now();
        Self {
            client_header: HeaderValue::from_str(&remote.ip().to_canonical().to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
            remote,
            patience: Cell::new(60_000),
            listening,
            active: Cell::new(0),
            idle_since: Cell::new(now),
            born: now,
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
            version: Cell::new(None),
            wire: Wire::default(),
            account: Account::of_connection(&core.config.limits, client.account()),
            begun: Cell::new(None),
            tired: Cell::new(false),
            clock: Rc::clone(&core.clock),
            client,
            seam: Seam::default(),
            lingers: Cell::new(false),
            slot,
        }
    }

    /// As exact as the last tick.
    pub(crate) fn now(&self) -> Instant {
        self.clock.get()
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.version.get() == Some(Version::HTTP_2)
    }

    pub(crate) fn vpc(&self, core: &Core) -> Arc<VpcState> {
        self.listening.vpc(core)
    }

    pub(crate) fn port(&self) -> u16 {
        self.listening.key.at.port()
    }

    pub(crate) fn enter(&self) {
        self.active.set(self.active.get() + 1);
        self.slot.work();
    }

    pub(crate) fn leave(&self, now: Instant) {
        self.active.set(self.active.get().saturating_sub(1));
        self.tired.set(false);
        if self.active.get() == 0 {
            self.slot.rest(now);
        }
        self.idle_since.set(now);
    }

    /// Whether a request is being answered.
    pub(crate) fn is_active(&self) -> bool {
        self.active.get() > 0
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.order.get() == Order::Abort
    }

    /// Called each tick.
    pub(crate) fn check(&self, now: Instant, config: &ProxyConfig) {
        match self.order.get() {
            Order::Serve if self.listening.closed.set.get() => {
                self.finish(now + config.listener_drain);
            }
            Order::Serve
                if now.saturating_duration_since(self.born) > config.max_connection_lifetime =>
            {
                self.finish(now + config.lifetime_grace);
            }
            Order::Serve if self.is_idle(now) => self.finish(now + config.lifetime_grace),
            Order::Finish(by) if now >= by => self.tell(Order::Abort),
            Order::Serve | Order::Finish(_) if self.wire.blocked_for(now) > config.limits.stall => {
                self.give_up();
            }
            Order::Serve if self.is_tired(now, &config.limits) => self.wake(),
            Order::Serve | Order::Finish(_) | Order::Abort => {}
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.idle_since.get());
        self.active.get() == 0 && idle > Duration::from_millis(self.patience.get().into())
    }

    pub(crate) fn set_idle_timeout(&self, to: Duration) {
        let millis = u32::try_from(to.as_millis());
        self.patience.set(millis.unwrap_or(u32::MAX));
    }

    /// Takes no new requests; what is in flight has until then.
    pub(crate) fn finish(&self, by: Instant) {
        if self.order.get() == Order::Serve {
            self.tell(Order::Finish(by));
        }
    }

    /// Whether it may rest since this tick.
    fn is_tired(&self, now: Instant, limits: &Limits) -> bool {
        let idle = now.saturating_duration_since(self.idle_since.get());
        let http1 = self.version.get() == Some(Version::HTTP_11);
        let tired = http1 && self.active.get() == 0 && idle >= limits.park_after;
        tired && !self.tired.replace(true)
    }

    /// Whether hyper is not needed until the next request comes.
    fn may_rest(&self) -> bool {
        let serves = self.order.get() == Order::Serve;
        serves && self.tired.get() && self.active.get() == 0 && self.wire.is_at_rest()
    }

    /// The client takes nothing: ends the connection.
    pub(crate) fn give_up(&self) {
        if self.order.get() != Order::Abort {
            self.stalled();
            self.tell(Order::Abort);
        }
    }

    /// The connection or a stream of it is ended because the client takes nothing.
    pub(crate) fn stalled(&self) {
        self.client.stalled();
    }

    fn tell(&self, order: Order) {
        self.order.set(order);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Serves one connection to its end.
///
/// Between requests of HTTP/1.1 that are far apart, the socket waits here alone: hyper's buffers, 20 KB, are
/// given back.
pub(crate) fn serve(
    core: Rc<Core>,
    listening: Rc<Listening>,
    stream: TcpStream,
    remote: SocketAddr,
    slot: Slot,
) -> impl Future<Output = ()> {
    let client = core.clients.enter(&listening.key.vpc, remote.ip());
    // Made here, so that the future carries no more than it needs to wait.
    let connection = Rc::new(Connection::new(&core, listening, remote, client, slot));
    let mut stream = Some(stream);
    async move {
        core.totals.add(Count::Connections, 1);
        core.totals.add(Count::ActiveConnections, 1);
        let registered = core.connections.insert(Rc::clone(&connection));
        while let Some(resting) = &stream
            && let Some(first) = connection.rest(&core, resting).await
            && let Some(awake) = stream.take()
        {
            // Boxed, so that a connection that waits is no larger than what it needs to wait.
            stream = Box::pin(speak(&core, &connection, awake, first)).await;
        }
        drop(registered);
        core.totals.subtract(Count::ActiveConnections, 1);
        // Closed before its slot is free.
        drop(stream);
        drop(connection);
    }
}

/// Answers requests; returns the socket when it rests, nothing when the connection is over.
async fn speak(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    stream: TcpStream,
    first: Vec<u8>,
) -> Option<TcpStream> {
    let spoken = match connection.version_of(core, &first) {
        Version::HTTP_2 => Box::pin(speak_http2(core, connection, stream, first)).await,
        _ => Box::pin(speak_http1(core, connection, stream, first)).await,
    };
    spoken.unwrap_or_else(|error| {
        core.totals.add(Count::ConnectionErrors, 1);
        tracing::debug!(client.addr = %connection.remote, %error, "a client connection broke");
        None
    })
}

/// The socket, when it rests between requests; nothing when the connection is over.
type Spoken = hyper::Result<Option<TcpStream>>;

async fn speak_http1(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    stream: TcpStream,
    first: Vec<u8>,
) -> Spoken {
    let (for_exchange, its_connection) = (Rc::clone(core), Rc::clone(connection));
    let service = service_fn(move |request| exchange(&for_exchange, &its_connection, request));
    let io = ClientIo::http1(stream, first, Rc::clone(connection));
    let mut serving = http1_builder().serve_connection(io, service);
    let mut told = false;
    let ended = obeying(connection, |cx, finish| {
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
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    stream: TcpStream,
    first: Vec<u8>,
) -> Spoken {
    let (for_exchange, its_connection) = (Rc::clone(core), Rc::clone(connection));
    let service = service_fn(move |request| exchange(&for_exchange, &its_connection, request));
    let io = ClientIo::http2(stream, &first, Rc::clone(connection));
    let builder = http2_builder(connection, &core.config.limits);
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut told = false;
    let ended = obeying(connection, |cx, finish| {
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

impl Connection {
    /// Waits for a request without buffers. `None`: there is none to come.
    async fn rest(&self, core: &Core, stream: &TcpStream) -> Option<Vec<u8>> {
        core.totals.add(Count::RestingConnections, 1);
        let first = self.wake_up(stream).await;
        core.totals.subtract(Count::RestingConnections, 1);
        first
    }

    async fn wake_up(&self, stream: &TcpStream) -> Option<Vec<u8>> {
        let mut first = Vec::new();
        let bytes = obeying(self, |cx, finish| {
            if finish {
                return Poll::Ready(None);
            }
            loop {
                match ready!(stream.poll_read_ready(cx))
                    .and_then(|()| read_some(stream, &mut first))
                {
                    Ok(0) => return Poll::Ready(None),
                    Ok(_) if self.is_enough(&first) => {
                        return Poll::Ready(Some(std::mem::take(&mut first)));
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return Poll::Ready(None),
                }
            }
        });
        bytes.await?
    }

    /// Whether it is clear which version the client speaks.
    fn is_enough(&self, first: &[u8]) -> bool {
        self.version.get().is_some() || first.len() >= PREFACE.len() || !PREFACE.starts_with(first)
    }

    /// The version that the client speaks, by its first bytes.
    fn version_of(&self, core: &Core, first: &[u8]) -> Version {
        if let Some(version) = self.version.get() {
            return version;
        }
        let (version, count) = match first.starts_with(PREFACE) {
            true => (Version::HTTP_2, Count::Http2Connections),
            false => (Version::HTTP_11, Count::Http1Connections),
        };
        core.totals.add(count, 1);
        self.version.set(Some(version));
        version
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

/// Polls until it is ready, or until the connection is told to end: then `None`. `poll` is told whether
/// the connection should finish.
async fn obeying<T>(
    connection: &Connection,
    mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<T>,
) -> Option<T> {
    poll_fn(|cx| {
        {
            let mut waker = connection.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
                connection.slot.wake_when_evicted(cx.waker());
            }
        }
        if connection.slot.is_evicted() {
            connection.order.set(Order::Abort);
        }
        match connection.order.get() {
            Order::Abort => Poll::Ready(None),
            order => poll(cx, order != Order::Serve).map(Some),
        }
    })
    .await
}
