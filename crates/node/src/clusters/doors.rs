//! What answers HTTP inside the networks of control planes and nodes: a listener, its share of connections, and one answer for
//! each request.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lath_net::accept::{Acceptor, Watched};
use lath_net::{Place, listen};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;

/// How long a handshake, or a request's head, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A request's head, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Answers requests.
pub(super) trait Door: Send + Sync + 'static {
    /// The answer to one request.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// A door whose clients speak TLS.
pub(super) trait SecureDoor: Door {
    /// What a client at an address is shown, or `None`: its connection ends.
    fn tls(&self, from: IpAddr) -> Option<TlsAcceptor>;
}

/// Opens a door at an address of a place, until what it returns is dropped.
///
/// # Errors
/// When it cannot listen there.
pub(super) async fn open(
    shared: &Shared,
    place: Place,
    address: SocketAddr,
    door: impl Door,
) -> std::io::Result<DropGuard> {
    let listener = listening(shared, &place, address).await?;
    let (door, acceptor) = (Arc::new(door), shared.acceptor.clone());
    let each = move |stream, _| converse(&door, TokioIo::new(stream));
    Ok(admit(listener, place, acceptor, each))
}

/// Opens a door for clients that speak TLS, until what it returns is dropped. They get their places from `acceptor`.
///
/// # Errors
/// When it cannot listen there.
pub(super) async fn open_secure(
    shared: &Shared,
    acceptor: Acceptor,
    place: Place,
    address: SocketAddr,
    door: impl SecureDoor,
) -> std::io::Result<DropGuard> {
    let listener = listening(shared, &place, address).await?;
    let door = Arc::new(door);
    let each = move |stream, from| {
        let door = Arc::clone(&door);
        async move {
            let Some(tls) = door.tls(from) else {
                return;
            };
            let greeted = tokio::time::timeout(PATIENCE, tls.accept(stream));
            if let Ok(Ok(stream)) = greeted.await {
                converse(&door, TokioIo::new(stream)).await;
            }
        }
    };
    Ok(admit(listener, place, acceptor, each))
}

async fn listening(
    shared: &Shared,
    place: &Place,
    address: SocketAddr,
) -> std::io::Result<TcpListener> {
    let listener = listen(&shared.parts.network, place, address).await?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves each connection, until what this returns is dropped.
fn admit<F>(
    listener: TcpListener,
    place: Place,
    acceptor: Acceptor,
    each: impl Fn(Watched<TcpStream>, IpAddr) -> F + Send + Sync + 'static,
) -> DropGuard
where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    tokio::spawn(async move {
        let accepting = async {
            loop {
                let (stream, peer, slot) = acceptor.accept(&listener, &place).await;
                let served = each(Watched::new(stream, &slot), peer.ip());
                let stop = stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = slot.ended() => {}
                        () = served => {}
                    }
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
    });
    guard
}

/// Answers on one connection.
fn converse<D, S>(door: &Arc<D>, stream: S) -> impl Future<Output = ()> + use<D, S>
where
    D: Door,
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let door = Arc::clone(door);
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(stream, service);
    // How a connection ended is its client's affair.
    async move { drop(connection.await) }
}
