//! Client connections: HTTP/1.1 and HTTP/2 on the same port, told apart by their first bytes.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use tokio::net::TcpStream;

use crate::ProxyConfig;
use crate::client_io::ClientIo;
use crate::core::{Core, Entrance, ListenerKey, LocalExecutor};
use crate::counters::Count;
use crate::exchange::exchange;
use crate::state::VpcState;

/// HTTP/2 with prior knowledge begins with this (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
    pub(crate) idle_timeout: Cell<Duration>,
    listening: Rc<Listening>,
    active: Cell<u32>,
    idle_since: Cell<Instant>,
    born: Instant,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Connection {
    fn new(listening: Rc<Listening>, remote: SocketAddr) -> Self {
        let now = Instant::now();
        Self {
            client_header: HeaderValue::from_str(&remote.ip().to_canonical().to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
            remote,
            idle_timeout: Cell::new(Duration::from_secs(60)),
            listening,
            active: Cell::new(0),
            idle_since: Cell::new(now),
            born: now,
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
        }
    }

    pub(crate) fn vpc(&self, core: &Core) -> Arc<VpcState> {
        self.listening.vpc(core)
    }

    pub(crate) fn port(&self) -> u16 {
        self.listening.key.at.port()
    }

    pub(crate) fn enter(&self) {
        self.active.set(self.active.get() + 1);
    }

    pub(crate) fn leave(&self, now: Instant) {
        self.active.set(self.active.get().saturating_sub(1));
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
            Order::Serve | Order::Finish(_) | Order::Abort => {}
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.idle_since.get());
        self.active.get() == 0 && idle > self.idle_timeout.get()
    }

    /// Takes no new requests; what is in flight has until then.
    pub(crate) fn finish(&self, by: Instant) {
        if self.order.get() == Order::Serve {
            self.tell(Order::Finish(by));
        }
    }

    fn tell(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    core: Rc<Core>,
    listening: Rc<Listening>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let connection = Rc::new(Connection::new(listening, remote));
    core.totals.add(Count::Connections, 1);
    core.totals.add(Count::ActiveConnections, 1);
    let registered = core.connections.insert(Rc::clone(&connection));
    speak(&core, &connection, stream).await;
    drop(registered);
    core.totals.subtract(Count::ActiveConnections, 1);
}

async fn speak(core: &Rc<Core>, connection: &Rc<Connection>, stream: TcpStream) {
    let Some(first) = first_bytes(connection, &stream).await else {
        return;
    };
    let (for_exchange, its_connection) = (Rc::clone(core), Rc::clone(connection));
    let service = service_fn(move |request| exchange(&for_exchange, &its_connection, request));
    let ended = if first.starts_with(PREFACE) {
        core.totals.add(Count::Http2Connections, 1);
        let io = ClientIo::http2(stream, first);
        drive(http2_builder().serve_connection(io, service), connection).await
    } else {
        core.totals.add(Count::Http1Connections, 1);
        let io = ClientIo::http1(stream, first, Rc::clone(connection));
        drive(http1_builder().serve_connection(io, service), connection).await
    };
    if let Err(error) = ended {
        core.totals.add(Count::ConnectionErrors, 1);
        tracing::debug!(client.addr = %connection.remote, %error, "a client connection broke");
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Deadlines are the registry's; the buffer holds the largest head that is allowed.
    builder.header_read_timeout(None).max_buf_size(128 * 1024);
    builder
}

fn http2_builder() -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    // Somewhat more than what is allowed, so that the refusal is ours: a 400.
    builder
        .max_header_list_size(96 * 1024)
        .max_concurrent_streams(250)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024);
    builder
}

/// Reads until it is clear which version the client speaks. `None`: it said nothing.
async fn first_bytes(connection: &Connection, stream: &TcpStream) -> Option<Vec<u8>> {
    let enough = |bytes: &[u8]| {
        !bytes.is_empty() && (bytes.len() >= PREFACE.len() || !PREFACE.starts_with(bytes))
    };
    let reading = async {
        let mut first = Vec::with_capacity(4096);
        while !enough(&first) {
            stream.readable().await.ok()?;
            match stream.try_read_buf(&mut first) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
        Some(first)
    };
    let mut reading = pin!(reading);
    let read = obeying(connection, |cx, finish| {
        if finish {
            Poll::Ready(None)
        } else {
            reading.as_mut().poll(cx)
        }
    });
    read.await?
}

/// A connection of hyper's.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<S, B> Graceful for http1::Connection<ClientIo, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B> Graceful for http2::Connection<ClientIo, S, LocalExecutor>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    LocalExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive(serving: impl Graceful, connection: &Connection) -> hyper::Result<()> {
    let mut serving = pin!(serving);
    let mut told = false;
    let ended = obeying(connection, |cx, finish| {
        if finish && !std::mem::replace(&mut told, true) {
            serving.as_mut().finish();
        }
        serving.as_mut().poll(cx)
    })
    .await;
    ended.unwrap_or(Ok(()))
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
            }
        }
        match connection.order.get() {
            Order::Abort => Poll::Ready(None),
            order => poll(cx, order != Order::Serve).map(Some),
        }
    })
    .await
}
