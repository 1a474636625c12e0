//! Connections to targets: hyper beneath, pools of each thread's own.
//!
//! An HTTP/1.1 connection has no task: whoever uses it drives it, so that a request costs no switch
//! between tasks. An idle one is looked at when it is taken out of the pool.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use lath_model::id::VpcId;
use lath_model::lattice::ProtocolVersion;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::body::{RequestBody, quiet};
use crate::core::{Core, LocalExecutor};
use crate::counters::Count;
use crate::flight::Flight;
use crate::framing::MAX_RESPONSE_HEAD;
use crate::head;
use crate::meter::Meter;
use crate::slot::{GroupSlot, TargetSlot};
use crate::spare;
use crate::target_io::{TargetIo, TargetSocket};

type Io = TokioIo<TargetIo>;

/// The idle connections of one thread, by target.
#[derive(Default)]
pub(crate) struct Pools(RefCell<HashMap<u64, Pool, Serials>>);

/// Hashes targets' serial numbers, which nobody outside chooses.
type Serials = BuildHasherDefault<SerialHasher>;

#[derive(Default)]
struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, serial: u64) {
        // Spreads neighbours over the high bits, which the table looks at too.
        self.0 = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

struct Pool {
    target: Arc<TargetSlot>,
    /// The one used last is the last.
    #[expect(clippy::vec_box, reason = "each exchange moves one out and in again")]
    idle: Vec<Box<Link>>,
    /// Those that have been idle for a while.
    cold: Vec<Cold>,
    shared: Option<http2::SendRequest<RequestBody>>,
}

/// An HTTP/1.1 connection.
struct Link {
    sender: http1::SendRequest<RequestBody>,
    connection: Pin<Box<http1::Connection<Io, RequestBody>>>,
    socket: Rc<TargetSocket>,
    finished: bool,
    /// Whether something may have happened to the connection since it was looked at last.
    stirred: Arc<Stirred>,
    born: Instant,
    idle_since: Instant,
    open: Open,
}

/// An HTTP/1.1 connection that has been idle for a while: its socket without hyper's buffers.
struct Cold {
    socket: Rc<TargetSocket>,
    born: Instant,
    idle_since: Instant,
    open: Open,
    _resting: Resting,
}

/// Counts a cold connection.
struct Resting {
    group: Arc<GroupSlot>,
    thread: usize,
}

/// Woken when an idle connection can be read, or ends.
#[derive(Debug, Default)]
struct Stirred(AtomicBool);

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Counts an open connection for as long as it lives.
struct Open {
    group: Arc<GroupSlot>,
    thread: usize,
    _room: Room,
}

/// The right to have a connection to a target open.
pub(crate) type Room = OwnedSemaphorePermit;

/// The right to use a connection for one exchange.
pub(crate) struct Lease {
    core: Rc<Core>,
    target: Arc<TargetSlot>,
    kind: Kind,
    /// Whether an exchange went over the connection before.
    pub(crate) reused: bool,
}

enum Kind {
    /// Boxed: a lease is moved several times in each exchange.
    Http1(Box<Link>),
    Http2(http2::SendRequest<RequestBody>),
}

/// Why no response came.
pub(crate) struct NotSent {
    /// The request, when no byte of it was written.
    pub(crate) request: Option<Box<Request<RequestBody>>>,
    /// Its head, if it was kept: bytes of it may have been written.
    pub(crate) spare: Option<Box<Request<()>>>,
    pub(crate) cause: Cause,
}

/// What went wrong with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It hung up.
    Closed,
    /// It does not speak HTTP.
    Protocol,
    /// It was silent for too long.
    Timeout,
    /// Its host or the link to its region is gone.
    Unreachable,
}

impl Pools {
    /// A connection on which nothing has happened, as far as the thread was told and the kernel knows by now.
    pub(crate) fn take(&self, core: &Rc<Core>, target: &Arc<TargetSlot>) -> Option<Lease> {
        let mut pools = self.0.borrow_mut();
        let pool = pools.get_mut(&target.serial)?;
        let lease = |kind| Lease {
            core: Rc::clone(core),
            target: Arc::clone(target),
            kind,
            reused: true,
        };
        if let Some(shared) = &pool.shared {
            if !shared.is_closed() {
                return Some(lease(Kind::Http2(shared.clone())));
            }
            pool.shared = None;
        }
        // The one that was used last is the least likely to be closed just now.
        while let Some(mut link) = pool.idle.pop() {
            let open = link.is_undisturbed() || link.is_open();
            // The kernel is asked whatever the request: what a target sent unasked would else answer it.
            if open && link.socket.is_quiet() {
                return Some(lease(Kind::Http1(link)));
            }
        }
        while let Some(cold) = pool.cold.pop() {
            if let Some(link) = cold.warm() {
                return Some(lease(Kind::Http1(Box::new(link))));
            }
        }
        None
    }

    /// Closes the connection that has been idle for longest to the target that has most of them; whether
    /// there was one.
    pub(crate) fn shed(&self) -> bool {
        let mut pools = self.0.borrow_mut();
        let most = pools.values_mut().max_by_key(|pool| pool.unused());
        most.is_some_and(Pool::shed)
    }

    fn with(&self, target: &Arc<TargetSlot>, use_pool: impl FnOnce(&mut Pool)) {
        let mut pools = self.0.borrow_mut();
        use_pool(pools.entry(target.serial).or_insert_with(|| Pool {
            target: Arc::clone(target),
            idle: Vec::new(),
            cold: Vec::new(),
            shared: None,
        }));
    }

    /// Drops the connections into a VPC whose network was made anew: nothing answers on them any more.
    pub(crate) fn forget(&self, vpc: &VpcId) {
        self.0
            .borrow_mut()
            .retain(|_, pool| pool.target.reach.vpc != *vpc);
    }

    /// Closes what is idle for too long or leads to a target that is gone.
    pub(crate) fn sweep(&self, core: &Core, now: Instant) {
        self.0.borrow_mut().retain(|_, pool| {
            let gone = pool.target.is_gone();
            let kept = |since: Instant| {
                let idle = now.saturating_duration_since(since);
                !gone && idle < core.config.pool_idle
            };
            pool.cold
                .retain(|cold| kept(cold.idle_since) && cold.socket.is_quiet());
            pool.idle
                .retain_mut(|link| kept(link.idle_since) && link.is_open());
            pool.cool(now, core.config.limits.park_after);
            if gone
                || pool
                    .shared
                    .as_ref()
                    .is_some_and(http2::SendRequest::is_closed)
            {
                pool.shared = None;
            }
            pool.unused() > 0 || pool.shared.is_some()
        });
    }
}

impl Pool {
    fn unused(&self) -> usize {
        self.idle.len() + self.cold.len()
    }

    fn shed(&mut self) -> bool {
        // The cold ones were idle before the others; in both, the first for longest.
        if !self.cold.is_empty() {
            self.cold.remove(0);
            return true;
        }
        let any = !self.idle.is_empty();
        if any {
            self.idle.remove(0);
        }
        any
    }

    /// Takes the buffers from what has been idle for so long.
    fn cool(&mut self, now: Instant, after: Duration) {
        let idle = |link: &Link| now.saturating_duration_since(link.idle_since) >= after;
        let mut at = 0;
        while at < self.idle.len() {
            if idle(&self.idle[at]) && self.idle[at].sender.is_ready() {
                self.cold.push(self.idle.remove(at).cool());
            } else {
                at += 1;
            }
        }
    }
}

impl Cold {
    /// Ready for an exchange, unless the target has closed it.
    fn warm(self) -> Option<Link> {
        let (sender, connection) = self.socket.is_quiet().then(|| engine(&self.socket))??;
        Some(Link {
            sender,
            connection,
            socket: self.socket,
            finished: false,
            stirred: Arc::default(),
            born: self.born,
            idle_since: self.idle_since,
            open: self.open,
        })
    }
}

impl Lease {
    /// A new connection.
    ///
    /// # Errors
    /// What connecting said.
    pub(crate) async fn connect(
        core: &Rc<Core>,
        group: &Arc<GroupSlot>,
        target: &Arc<TargetSlot>,
        room: Room,
    ) -> io::Result<Self> {
        let cells = group.counters.of(core.index);
        cells.add(Count::Connections, 1);
        let connecting = async {
            let timeout = match target.reach.region {
                None => core.config.connect_timeout,
                Some(_) => core.config.remote_connect_timeout,
            };
            let dialing = core.dial.connect(&target.reach, target.address, timeout);
            let stream = dialing.await?;
            if let Some(span) = core.config.unacknowledged {
                watch_silence(&stream, span)?;
            }
            Ok(stream)
        };
        let stream = connecting.await.inspect_err(|error: &io::Error| {
            let timed_out = error.kind() == io::ErrorKind::TimedOut;
            cells.add(Count::ConnectionErrors, 1);
            cells.add(Count::ConnectionTimeouts, u64::from(timed_out));
        })?;
        let kind = handshake(core, group, target, stream, room).await?;
        Ok(Self {
            core: Rc::clone(core),
            target: Arc::clone(target),
            kind,
            reused: false,
        })
    }

    /// Sends the request and waits for the response's head. Interim responses are passed on meanwhile. `keeps`: its
    /// head is kept, should it have to be sent once more.
    ///
    /// # Errors
    /// The target hung up, was silent, or does not speak HTTP.
    pub(crate) async fn send(
        &mut self,
        request: Box<Request<RequestBody>>,
        keeps: bool,
        flight: &Flight,
    ) -> Result<Response<Incoming>, NotSent> {
        match &mut self.kind {
            Kind::Http1(link) => {
                let sent = link.send(request, keeps, flight).await;
                sent.map_err(|failed| NotSent {
                    spare: link.socket.take_head().and_then(|head| spare::read(&head)),
                    ..failed
                })
            }
            Kind::Http2(sender) => {
                let kept = (keeps && spare::is_safe(request.method())).then(|| head_of(&request));
                let sent = Box::pin(send_shared(sender, request, flight.meter())).await;
                sent.map_err(|failed| NotSent {
                    spare: kept,
                    ..failed
                })
            }
        }
    }

    /// Whether the target may have seen a byte of the request.
    pub(crate) fn is_written(&self) -> bool {
        match &self.kind {
            Kind::Http1(link) => link.socket.is_written(),
            Kind::Http2(_) => true,
        }
    }

    /// The next frame of the response's body.
    pub(crate) fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        meter: &Meter,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let polled = match &mut self.kind {
            Kind::Http1(link) => link.poll_body(incoming, cx),
            Kind::Http2(_) => Pin::new(incoming)
                .poll_frame(cx)
                .map_err(|error| cause(&error)),
        };
        match polled {
            Poll::Ready(frame) => {
                meter.touch();
                Poll::Ready(frame)
            }
            Poll::Pending if meter.expired.get() => Poll::Ready(Some(Err(Cause::Timeout))),
            Poll::Pending if meter.lost.get() => Poll::Ready(Some(Err(Cause::Unreachable))),
            Poll::Pending => {
                meter.wait(cx);
                Poll::Pending
            }
        }
    }

    /// The exchange is over: keeps the connection for others, if it can carry another exchange.
    pub(crate) fn release(self) {
        let Kind::Http1(mut link) = self.kind else {
            return;
        };
        let now = self.core.clock.get();
        let old =
            now.saturating_duration_since(link.born) > self.core.config.max_connection_lifetime;
        if old || self.target.is_gone() || !link.rests() {
            return;
        }
        link.idle_since = now;
        self.core.pools.with(&self.target, |pool| {
            if pool.unused() < self.core.config.pool_size {
                pool.idle.push(link);
            }
        });
    }
}

impl Link {
    /// Without hyper: nothing is on its way in either direction.
    fn cool(self) -> Cold {
        let resting = Resting::new(&self.open.group, self.open.thread);
        self.socket.take_head();
        Cold {
            socket: self.socket,
            born: self.born,
            idle_since: self.idle_since,
            open: self.open,
            _resting: resting,
        }
    }

    /// Whether it can carry another exchange, now that one is over. From here on it is noted whether something
    /// happens to it.
    fn rests(&mut self) -> bool {
        if self.socket.offence().is_some() {
            return false;
        }
        // Mostly hyper has seen the end of the exchange already, and the socket alone is to be watched.
        if self.finished || !self.sender.is_ready() {
            return self.is_open() && self.sender.is_ready();
        }
        self.stirred.0.store(false, Relaxed);
        let waker = Waker::from(Arc::clone(&self.stirred));
        match self.socket.poll_stirred(&mut Context::from_waker(&waker)) {
            Poll::Pending => true,
            Poll::Ready(_) => self.is_open() && self.sender.is_ready(),
        }
    }

    /// Lets the connection see what happened to it meanwhile.
    fn is_open(&mut self) -> bool {
        self.stirred.0.store(false, Relaxed);
        let waker = Waker::from(Arc::clone(&self.stirred));
        self.drive(&mut Context::from_waker(&waker));
        !self.finished && !self.sender.is_closed()
    }

    /// Whether nothing happened to the connection since [`Self::is_open`] looked at it.
    fn is_undisturbed(&self) -> bool {
        !self.stirred.0.load(Relaxed)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.finished && self.connection.as_mut().poll(cx).is_ready() {
            self.finished = true;
        }
    }

    async fn send(
        &mut self,
        mut request: Box<Request<RequestBody>>,
        keeps: bool,
        flight: &Flight,
    ) -> Result<Response<Incoming>, NotSent> {
        let socket = Rc::clone(&self.socket);
        socket.begin(request.method() == Method::HEAD, keeps);
        request.body_mut().goes_over(&socket);
        if flight.survey.expect && head::expects_continue(request.headers()) {
            flight.meter().expect_continue();
        }
        let cause = |error: &hyper::Error| match socket.offence() {
            Some(_) => Cause::Protocol,
            None => cause(error),
        };
        // Only the connection's own poll makes the reply ready, so the reply needs no waker, and tokio's
        // cooperative budget must not hold it back.
        let mut reply = pin!(tokio::task::unconstrained(
            self.sender.try_send_request(*request)
        ));
        std::future::poll_fn(|cx| {
            self.drive(cx);
            while flight.pass_on(socket.take_interim()) {
                // The body may flow now.
                self.drive(cx);
            }
            match reply.as_mut().poll(&mut quiet()) {
                Poll::Ready(Ok(response)) => return Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut error)) => {
                    let cause = cause(error.error());
                    return Poll::Ready(Err(NotSent {
                        request: error.take_message().map(Box::new),
                        spare: None,
                        cause,
                    }));
                }
                Poll::Pending => {}
            }
            waiting(flight.meter(), self.finished, cx)
        })
        .await
    }

    fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let socket = Rc::clone(&self.socket);
        let cause = |error: &hyper::Error| match socket.offence() {
            Some(_) => Cause::Protocol,
            None => cause(error),
        };
        let mut incoming = Pin::new(incoming);
        for _ in 0..2 {
            if let Poll::Ready(frame) = incoming.as_mut().poll_frame(&mut quiet()) {
                return Poll::Ready(frame.map(|frame| frame.map_err(|error| cause(&error))));
            }
            self.drive(cx);
        }
        // The connection was driven after the body was asked: ask once more.
        match incoming.poll_frame(&mut quiet()) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|f| f.map_err(|error| cause(&error)))),
            Poll::Pending if self.finished => Poll::Ready(Some(Err(Cause::Closed))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn waiting<T>(meter: &Meter, finished: bool, cx: &Context<'_>) -> Poll<Result<T, NotSent>> {
    let failed = |cause| {
        Poll::Ready(Err(NotSent {
            request: None,
            spare: None,
            cause,
        }))
    };
    match () {
        () if meter.expired.get() => failed(Cause::Timeout),
        () if meter.lost.get() => failed(Cause::Unreachable),
        () if finished => failed(Cause::Closed),
        () => {
            meter.wait(cx);
            Poll::Pending
        }
    }
}

/// A copy of the request's head.
fn head_of(request: &Request<RequestBody>) -> Box<Request<()>> {
    let mut head = Request::new(());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    *head.version_mut() = request.version();
    head.headers_mut().clone_from(request.headers());
    Box::new(head)
}

async fn send_shared(
    sender: &mut http2::SendRequest<RequestBody>,
    request: Box<Request<RequestBody>>,
    meter: &Meter,
) -> Result<Response<Incoming>, NotSent> {
    let mut reply = pin!(sender.try_send_request(*request));
    std::future::poll_fn(|cx| match reply.as_mut().poll(cx) {
        Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
        Poll::Ready(Err(mut error)) => {
            let cause = cause(error.error());
            Poll::Ready(Err(NotSent {
                request: error.take_message().map(Box::new),
                spare: None,
                cause,
            }))
        }
        Poll::Pending => waiting(meter, false, cx),
    })
    .await
}

async fn handshake(
    core: &Rc<Core>,
    group: &Arc<GroupSlot>,
    target: &Arc<TargetSlot>,
    stream: TcpStream,
    room: Room,
) -> io::Result<Kind> {
    let now = core.clock.get();
    if group.version == ProtocolVersion::Http1 {
        let open = Open::new(group, core.index, Count::Http1Connections, room);
        let socket = Rc::new(TargetSocket::new(stream));
        let (sender, connection) = engine(&socket).ok_or(io::ErrorKind::Other)?;
        return Ok(Kind::Http1(Box::new(Link {
            sender,
            connection,
            socket,
            finished: false,
            stirred: Arc::default(),
            born: now,
            idle_since: now,
            open,
        })));
    }
    let open = Open::new(group, core.index, Count::Http2Connections, room);
    let io = TokioIo::new(stream);
    // All clients share the connection: one of them that does not read must not use its window up.
    let shaken = http2::Builder::new(LocalExecutor)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(256 * STREAM_WINDOW)
        .handshake(io)
        .await;
    let (sender, connection) = shaken.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP/2 connection to a target ended");
        }
    });
    core.pools
        .with(target, |pool| pool.shared = Some(sender.clone()));
    Ok(Kind::Http2(sender))
}

/// What a target may send on one HTTP/2 stream before its client has taken any of it, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;

type Engine = (
    http1::SendRequest<RequestBody>,
    Pin<Box<http1::Connection<Io, RequestBody>>>,
);

/// hyper over the socket. HTTP/1.1 shakes no hands, so that there is nothing to wait for.
fn engine(socket: &Rc<TargetSocket>) -> Option<Engine> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_RESPONSE_HEAD);
    let io = TokioIo::new(TargetIo(Rc::clone(socket)));
    match pin!(builder.handshake(io)).poll(&mut quiet()) {
        Poll::Ready(Ok((sender, connection))) => Some((sender, Box::pin(connection))),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

fn cause(error: &hyper::Error) -> Cause {
    match () {
        () if error.is_parse() => Cause::Protocol,
        () if is_timed_out(error) => Cause::Unreachable,
        () => Cause::Closed,
    }
}

/// Whether the kernel gave the connection up because the other host does not answer.
fn is_timed_out(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::TimedOut;
        }
        source = error.source();
    }
    false
}

/// A host that acknowledges nothing for this long ends the connection; keep-alive probes, after a second of
/// silence, find out where there is nothing to acknowledge.
fn watch_silence(stream: &TcpStream, span: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(span))?;
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second);
    socket.set_tcp_keepalive(&keepalive)
}

impl Open {
    fn new(group: &Arc<GroupSlot>, thread: usize, version: Count, room: Room) -> Self {
        let cells = group.counters.of(thread);
        cells.add(Count::ActiveConnections, 1);
        cells.add(version, 1);
        Self {
            group: Arc::clone(group),
            thread,
            _room: room,
        }
    }
}

impl Resting {
    fn new(group: &Arc<GroupSlot>, thread: usize) -> Self {
        let cells = group.counters.of(thread);
        cells.add(Count::RestingConnections, 1);
        let group = Arc::clone(group);
        Self { group, thread }
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        let cells = self.group.counters.of(self.thread);
        cells.subtract(Count::RestingConnections, 1);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.group
            .counters
            .of(self.thread)
            .subtract(Count::ActiveConnections, 1);
    }
}
