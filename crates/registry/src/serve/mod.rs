//! The registry: OCI distribution over HTTP/1.1.

mod answer;
mod gate;
mod pull;
mod push;
mod route;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use lath_net::Place;
use lath_net::accept::{Acceptor, ConnectionLimits, Slot, Watched};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::pull_through::PullThrough;
use crate::store::Images;
use answer::{Answer, RegistryError};
use route::{Route, route};

pub use gate::{Asked, Deed, Gate, Refused};

/// At once, of one listener: a container runtime pulls a few layers of a few images side by side.
const CONNECTIONS: usize = 64;
/// A client has this long to send a request's head, and to take some of what is answered.
const IDLE: Duration = Duration::from_secs(30);
/// A whole request head, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// Likewise where clients log in: the password of a session has all its tags and policies, encoded twice.
const JUDGED_HEAD_BYTES: usize = 64 * 1024;

/// What clients of a listener may do.
#[derive(Debug, Clone)]
pub enum Access {
    /// Pull, without saying who they are: what reaches the listener decides.
    Read,
    /// Pull, likewise, and what is not here is fetched from the registries that may be asked.
    PullThrough(Arc<PullThrough>),
    /// Pull and push, likewise.
    Write,
    /// What the gate lets them, in the repositories of one registry.
    Judged(Arc<dyn Gate>),
}

impl Access {
    fn head_bytes(&self) -> usize {
        match self {
            Self::Judged(_) => JUDGED_HEAD_BYTES,
            Self::Read | Self::PullThrough(_) | Self::Write => HEAD_BYTES,
        }
    }

    fn is_read_only(&self) -> bool {
        matches!(self, Self::Read | Self::PullThrough(_))
    }
}

/// Serves the images to the clients of one listener until it is cancelled, with connections of their own share.
pub async fn serve(
    listener: TcpListener,
    images: Images,
    access: Access,
    cancellation: CancellationToken,
) {
    let acceptor = Acceptor::new(
        "registry",
        ConnectionLimits {
            total: CONNECTIONS,
            per_place: CONNECTIONS,
            per_source: CONNECTIONS,
            idle: IDLE,
        },
    );
    let accept = async {
        loop {
            let (stream, source, slot) = acceptor.accept(&listener, &Place::Host).await;
            let source = Some(source.ip());
            let conversation = converse(stream, slot, images.clone(), access.clone(), source);
            let stop = cancellation.child_token();
            tokio::spawn(async move { stop.run_until_cancelled(conversation).await });
        }
    };
    cancellation.run_until_cancelled(accept).await;
}

async fn converse(
    stream: TcpStream,
    slot: Slot,
    images: Images,
    access: Access,
    source: Option<IpAddr>,
) {
    let slot = Arc::new(slot);
    let stream = TokioIo::new(Watched::new(stream, &slot));
    let of_requests = Arc::clone(&slot);
    let head_bytes = access.head_bytes();
    let service = service_fn(move |request| {
        let (slot, images) = (Arc::clone(&of_requests), images.clone());
        let access = access.clone();
        async move {
            // What a client sends is no sign of life to the slot, and a layer that is pushed takes its time.
            let _busy = slot.busy();
            Ok::<_, Infallible>(answer(&images, &access, source, request).await)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(head_bytes)
        .serve_connection(stream, service);
    // Whatever ended it early is the client's affair.
    tokio::select! {
        _ = connection => {}
        () = slot.ended() => {}
    }
}

async fn answer(
    images: &Images,
    access: &Access,
    source: Option<IpAddr>,
    mut request: Request<Incoming>,
) -> Answer {
    if let Some(source) = source {
        request.extensions_mut().insert(source);
    }
    let head = request.method() == Method::HEAD;
    let gate = match access {
        Access::Judged(gate) => Some(&**gate),
        Access::Read | Access::PullThrough(_) | Access::Write => None,
    };
    let answer = match route(request.uri(), gate.map(Gate::registry)) {
        Ok(route) => match gate.map(|it| gate::admit(it, &route, &request)) {
            Some(Err(refused)) => Ok(refused),
            _ => dispatch(images, access, route, request).await,
        },
        Err(refusal) => Err(refusal),
    };
    let answer = answer.unwrap_or_else(RegistryError::into_answer);
    if head {
        answer::without_body(answer)
    } else {
        answer
    }
}

async fn dispatch(
    images: &Images,
    access: &Access,
    route: Route,
    request: Request<Incoming>,
) -> Result<Answer, RegistryError> {
    let method = request.method();
    let query = request.uri().query();
    if method == Method::GET || method == Method::HEAD {
        return match route {
            Route::Base => Ok(answer::json(&serde_json::json!({}))),
            Route::Catalog => pull::catalog(images, access, query).await,
            Route::Tags(name) => pull::tags(images, access, name, query).await,
            Route::Manifest(reference) => pull::manifest(images, access, reference).await,
            Route::Blob(name, digest) => {
                pull::blob(images, access, name, digest, request.headers()).await
            }
            Route::Upload(name, id) => push::progress(images, access, &name, id).await,
            Route::Uploads(_) => Err(RegistryError::method()),
        };
    }
    if access.is_read_only() {
        return Err(RegistryError::method());
    }
    push::dispatch(images, access, route, request).await
}
