//! The server's status on a Unix socket in the run directory, and its metrics as Prometheus text on a loopback port.

use std::convert::Infallible;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lath_net::Place;
use lath_net::accept::{Acceptor, ConnectionLimits, Watched};
use lath_net::descriptors::Purpose;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

/// Concurrent readers.
const CONNECTIONS: usize = 64;
/// How long a reader may neither send nor receive.
const IDLE: Duration = Duration::from_secs(10);

/// The path of the status socket.
pub(crate) fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join("admin.sock")
}

/// Makes a run directory with mode 0700.
pub(crate) fn make_dir(run_dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(run_dir)
        .with_context(|| format!("cannot make {}", run_dir.display()))
}

/// Opens the status socket, with access for its owner only.
pub(crate) fn listen(run_dir: &Path) -> anyhow::Result<UnixListener> {
    let path = socket(run_dir);
    let open = || -> std::io::Result<UnixListener> {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    open().with_context(|| format!("cannot listen at {}", path.display()))
}

/// Removes the status socket file after the server has closed it.
pub(crate) fn forget(run_dir: &Path) {
    // If it stays, connections to it are refused and the next start replaces it.
    let _ = std::fs::remove_file(socket(run_dir));
}

/// There are two, each with half.
fn acceptor(name: &'static str) -> Acceptor {
    let total = Purpose::Admin.share(2 * CONNECTIONS) / 2;
    Acceptor::new(
        name,
        ConnectionLimits {
            total,
            per_place: total,
            // Only this machine's owner can connect: one source may use all slots.
            per_source: total,
            idle: IDLE,
        },
    )
}

/// Sends the status to each client that connects, until `stop`.
pub(crate) async fn serve_status<Fut: Future<Output = String> + Send + 'static>(
    listener: UnixListener,
    status: impl Fn() -> Fut + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let (status, acceptor) = (Arc::new(status), acceptor("status"));
    loop {
        let (mut stream, _, slot) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = acceptor.accept(&listener, &Place::Host) => accepted,
        };
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            let sending = async {
                let at_work = slot.busy();
                let text = status().await;
                drop(at_work);
                stream.write_all(text.as_bytes()).await?;
                stream.shutdown().await
            };
            // An error means that the reader has gone.
            tokio::select! {
                _ = sending => {}
                () = slot.ended() => {}
            }
            drop(stream);
        });
    }
}

/// Serves `/metrics` until `stop`.
pub(crate) async fn serve_metrics<Fut: Future<Output = String> + Send + 'static>(
    listener: TcpListener,
    metrics: impl Fn() -> Fut + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let (metrics, acceptor) = (Arc::new(metrics), acceptor("metrics"));
    loop {
        let (stream, _, slot) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = acceptor.accept(&listener, &Place::Host) => accepted,
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let stream = TokioIo::new(Watched::new(stream, &slot));
            let answer = service_fn(|request: Request<Incoming>| {
                let (metrics, at_work) = (Arc::clone(&metrics), slot.busy());
                async move {
                    let response = answer(&request, &*metrics).await;
                    drop(at_work);
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .serve_connection(stream, answer);
            // An error means that the scraper has gone.
            tokio::select! {
                _ = connection => {}
                () = slot.ended() => {}
            }
        });
    }
}

async fn answer<Fut: Future<Output = String>>(
    request: &Request<Incoming>,
    metrics: &impl Fn() -> Fut,
) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics().await,
        ),
        (&Method::GET, _) => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "metrics are at /metrics\n".into(),
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET\n".into(),
        ),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(kind),
    );
    response
}
