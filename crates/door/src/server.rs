//! Connections: accept, serve, drain.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use lath_model::id::VpcId;
use lath_net::Place;
use lath_net::accept::{Acceptor, ConnectionLimits, Listen, Slot, Watched};
use lath_net::descriptors::Purpose;
use lath_wire::FromVpc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arriving::Arriving;
use crate::{FrontDoor, Limits};

/// Requests of one HTTP/2 connection at the same time.
const STREAMS: u32 = 64;

/// Where a relayed request came from: believed on a [`FrontDoor::serve_relayed`] socket and nowhere else.
pub(crate) const SOURCE: HeaderName = HeaderName::from_static("x-lath-source");

/// Answers requests.
pub(crate) trait Answer: Send + Sync + 'static {
    fn limits(&self) -> Limits;

    /// How many connections one source may have.
    fn per_source(&self) -> usize {
        self.limits().connections.div_ceil(2)
    }

    fn answer(
        &self,
        request: Request<Arriving>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Bytes>> + Send;
}

impl Answer for FrontDoor {
    fn limits(&self) -> Limits {
        self.limits
    }

    async fn answer(&self, request: Request<Arriving>, peer: SocketAddr) -> Response<Bytes> {
        Self::answer(self, request, peer).await
    }
}

/// A door whose requests come from a relay, which says where they came from.
struct Relayed(Arc<FrontDoor>);

impl Answer for Relayed {
    fn limits(&self) -> Limits {
        self.0.limits
    }

    /// There is only one: the relay, which has shares for those who come to it.
    fn per_source(&self) -> usize {
        self.limits().connections
    }

    async fn answer(&self, mut request: Request<Arriving>, peer: SocketAddr) -> Response<Bytes> {
        let source = request.headers_mut().remove(SOURCE);
        let source = source.as_ref().and_then(|value| value.to_str().ok());
        let (vpc, ip) = match source.and_then(|it| it.split_once('/')) {
            Some((vpc, ip)) => (vpc.parse().ok(), Some(ip)),
            None => (None, source),
        };
        let ip: Option<IpAddr> = ip.and_then(|it| it.parse().ok());
        if let (Some(vpc), Some(address)) = (vpc, ip) {
            let from = FromVpc { vpc, address };
            request.extensions_mut().insert(from);
        }
        let peer = ip.map_or(peer, |ip| SocketAddr::new(ip, 0));
        self.0.answer(request, peer).await
    }
}

impl FrontDoor {
    /// Serves HTTP/1.1 and HTTP/2 (prior knowledge) until `stop`, then lets calls in flight finish
    /// within [`crate::Limits::drain`].
    ///
    /// # Errors
    /// None once listening: failures to accept are logged and tried again.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        self.close_with(stop.clone());
        serve(self, listener, stop).await;
        Ok(())
    }

    /// Serves clients of a VPC, with slots of `acceptor`, until `stop`.
    pub async fn serve_vpc(
        self: Arc<Self>,
        listener: TcpListener,
        (vpc, acceptor): (VpcId, Acceptor),
        stop: CancellationToken,
    ) {
        serve_vpc(self, listener, (vpc, acceptor), stop).await;
    }

    /// Serves what a [`crate::Relay`] hands over at a socket that only it can open, until `stop`.
    pub async fn serve_relayed(self: Arc<Self>, listener: UnixListener, stop: CancellationToken) {
        self.close_with(stop.clone());
        serve(Arc::new(Relayed(self)), listener, stop).await;
    }

    /// What is held is answered as soon as the door closes.
    fn close_with(&self, stop: CancellationToken) {
        let closing = self.closing.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            closing.cancel();
        });
    }
}

/// Serves connections until `stop`, then lets calls in flight finish.
pub(crate) async fn serve<L>(door: Arc<impl Answer>, listener: L, stop: CancellationToken)
where
    L: Listen,
    L::Stream: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let acceptor = Acceptor::new("API", connection_limits(&*door));
    let step = Doorstep {
        place: Place::Host,
        vpc: None,
        acceptor,
    };
    serve_at(door, listener, step, stop).await;
}

/// Serves connections from a VPC until `stop`, then lets calls in flight finish.
pub(crate) async fn serve_vpc(
    door: Arc<impl Answer>,
    listener: TcpListener,
    (vpc, acceptor): (VpcId, Acceptor),
    stop: CancellationToken,
) {
    let step = Doorstep {
        place: Place::Vpc(vpc.clone()),
        vpc: Some(vpc),
        acceptor,
    };
    serve_at(door, listener, step, stop).await;
}

/// Where connections come from, and who gives them slots.
struct Doorstep {
    place: Place,
    vpc: Option<VpcId>,
    acceptor: Acceptor,
}

async fn serve_at<L>(door: Arc<impl Answer>, listener: L, step: Doorstep, stop: CancellationToken)
where
    L: Listen,
    L::Stream: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = door.limits();
    let drain = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer, slot) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = step.acceptor.accept(&listener, &step.place) => accepted,
        };
        let door = Arc::clone(&door);
        let watcher = drain.watcher();
        while connections.try_join_next().is_some() {}
        let from = step.vpc.clone().map(|vpc| FromVpc {
            vpc,
            address: peer.ip(),
        });
        connections.spawn(connection(door, stream, (peer, from), slot, watcher));
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, drain.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("calls still in flight at the end of the drain are cut off");
    }
    connections.shutdown().await;
}

fn connection_limits(door: &impl Answer) -> ConnectionLimits {
    let limits = door.limits();
    let total = Purpose::Api.share(limits.connections);
    ConnectionLimits {
        total,
        per_place: total,
        per_source: door.per_source().min(total),
        idle: limits.head_timeout,
    }
}

async fn connection(
    door: Arc<impl Answer>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (peer, from): (SocketAddr, Option<FromVpc>),
    slot: Slot,
    watcher: Watcher,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(door.limits().head_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30));
    let stream = TokioIo::new(Watched::new(stream, &slot));
    let slot = Arc::new(slot);
    let of_requests = Arc::clone(&slot);
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut parts, body) = request.into_parts();
        if let Some(from) = &from {
            parts.extensions.insert(from.clone());
        }
        let (body, work) = Arriving::new(body, &of_requests, door.limits().body_timeout);
        let door = Arc::clone(&door);
        async move {
            let response = door.answer(Request::from_parts(parts, body), peer).await;
            drop(work);
            Ok::<_, Infallible>(response.map(Full::<Bytes>::new))
        }
    });
    let connection = builder.serve_connection(stream, service);
    tokio::select! {
        served = watcher.watch(connection.into_owned()) => if let Err(error) = served {
            tracing::debug!(peer = %peer, error = %error, "a connection ended badly");
        },
        () = slot.ended() => tracing::debug!(peer = %peer, "an idle connection was ended"),
    }
}
