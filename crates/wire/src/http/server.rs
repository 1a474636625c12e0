//! Connections: accept, serve, drain.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::FrontDoor;

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
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let drain = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            let Some((stream, peer, place)) = next(&listener, &places, &stop).await else {
                break;
            };
            let door = Arc::clone(&self);
            let watcher = drain.watcher();
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                door.connection(stream, peer, watcher).await;
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(self.limits.drain, drain.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("calls still in flight at the end of the drain are cut off");
        }
        connections.shutdown().await;
        Ok(())
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .keep_alive_interval(Duration::from_secs(30));
        let door = Arc::clone(&self);
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
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// The next connection, once there is a place for it; nothing when stopped.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<Accepted> {
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
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(error = %error, "TCP_NODELAY was refused");
                }
                return Some((stream, peer, place));
            }
            Err(error) => {
                // Out of descriptors, mostly: give connections time to end.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
