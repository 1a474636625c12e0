//! What a running server tells its owner: its status on a socket in the run directory, its metrics as
//! Prometheus text on a loopback port.

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
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Readers at the same time.
const CONNECTIONS: usize = 64;

/// Where the status is told.
pub(crate) fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join("admin.sock")
}

/// Makes a run directory, closed to others.
pub(crate) fn make_dir(run_dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(run_dir)
        .with_context(|| format!("cannot make {}", run_dir.display()))
}

/// Opens the status socket, only for its owner.
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

/// Removes the status socket of a server that has closed it.
pub(crate) fn forget(run_dir: &Path) {
    // Whoever finds it nevertheless is refused, and the next start replaces it.
    let _ = std::fs::remove_file(socket(run_dir));
}

/// Tells everyone who connects the status, until `stop`.
pub(crate) async fn tell_status<Fut: Future<Output = String> + Send + 'static>(
    listener: UnixListener,
    status: impl Fn() -> Fut + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let (status, places) = (Arc::new(status), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let mut stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            let write = async {
                stream.write_all(status().await.as_bytes()).await?;
                stream.shutdown().await
            };
            // Whoever asked and went away needs no answer.
            let _ = tokio::time::timeout(Duration::from_secs(10), write).await;
            drop(place);
        });
    }
}

/// Serves `/metrics` until `stop`.
pub(crate) async fn serve_metrics<Fut: Future<Output = String> + Send + 'static>(
    listener: TcpListener,
    metrics: impl Fn() -> Fut + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let (metrics, places) = (Arc::new(metrics), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let metrics = Arc::clone(&metrics);
                async move { Ok::<_, Infallible>(answer(&request, &*metrics).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), answer);
            // A scraper that breaks off is its own affair.
            let _ = connection.await;
            drop(place);
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
