//! Connections: accept, serve, drain.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{FrontDoor, Limits};

/// Where a relayed request came from: believed on a [`FrontDoor::serve_relayed`] socket and nowhere else.
pub(super) const SOURCE: HeaderName = HeaderName::from_static("x-lath-source");

/// Answers requests.
pub(super) trait Answer: Send + Sync + 'static {
    fn limits(&self) -> Limits;
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Bytes>> + Send;
}

/// Where connections come from.
pub(super) trait Listen: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "TCP_NODELAY was refused");
        }
        Ok((stream, peer))
    }
}

/// Who is at the other end of a Unix socket.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, NOBODY))
    }
}

impl Answer for FrontDoor {
    fn limits(&self) -> Limits {
        self.limits
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Bytes> {
        Self::answer(self, request, peer).await
    }
}

/// A door whose requests come from a relay, which says where they came from.
struct Relayed(Arc<FrontDoor>);

impl Answer for Relayed {
    fn limits(&self) -> Limits {
        self.0.limits
    }

    async fn answer(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Bytes> {
        let source = request.headers_mut().remove(SOURCE);
        let source = source.and_then(|value| value.to_str().ok()?.parse().ok());
        let peer = source.map_or(peer, |ip| SocketAddr::new(ip, 0));
        self.0.answer(request, peer).await
    }
}

impl FrontDoor {
    /// Serves HTTP/1.1 and HTTP/2 (prior knowledge) until `stop`, then lets calls in flight finish
    /// within [`super::Limits::drain`].
    ///
    /// # Errors
    /// None once listening: failures to accept are logged and tried again.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        serve(self, listener, stop).await;
        Ok(())
    }

    /// Serves what a [`super::Relay`] hands over at a socket that only it can open, until `stop`.
    pub async fn serve_relayed(self: Arc<Self>, listener: UnixListener, stop: CancellationToken) {
        serve(Arc::new(Relayed(self)), listener, stop).await;
    }
}

/// Serves connections until `stop`, then lets calls in flight finish.
pub(super) async fn serve(door: Arc<impl Answer>, listener: impl Listen, stop: CancellationToken) {
    let limits = door.limits();
    let places = Arc::new(Semaphore::new(limits.connections));
    let drain = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let Some((stream, peer, place)) = next(&listener, &places, &stop).await else {
            break;
        };
        let door = Arc::clone(&door);
        let watcher = drain.watcher();
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            connection(door, stream, peer, watcher).await;
            drop(place);
        });
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

async fn connection(
    door: Arc<impl Answer>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
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
        .max_concurrent_streams(128)
        .keep_alive_interval(Duration::from_secs(30));
    let service = service_fn(move |request: Request<Incoming>| {
        let door = Arc::clone(&door);
        async move {
            let response = door.answer(request, peer).await;
            Ok::<_, Infallible>(response.map(Full::<Bytes>::new))
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(peer = %peer, error = %error, "a connection ended badly");
    }
}

type Accepted<S> = (S, SocketAddr, OwnedSemaphorePermit);

/// The next connection, once there is a place for it; nothing when stopped.
async fn next<L: Listen>(
    listener: &L,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<Accepted<L::Stream>> {
    loop {
        let accepted = async {
            let place = Arc::clone(places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            Err(error) => {
                // Out of descriptors, mostly: give connections time to end.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
