//! The webhook that writes the readiness gate into pods: the API server asks it about each new pod of the namespaces that want
//! that, and a pod that will be a target of VPC Lattice gets the gate.
//!
//! Each replica serves with a certificate of its own, which it makes, renews and puts into the webhook's configuration
//! ([`certificate`]); what is asked and answered is [`review`].

pub(crate) mod certificate;
pub(crate) mod review;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use self::certificate::Served;
use self::review::Asked;
use crate::controller::App;
use crate::expose;
use crate::mcs;
use crate::plan::{self, Imports};
use crate::world::{BackendKind, Key, Name, World};

/// Where AWS's controller serves it, in every respect.
pub(crate) const PATH: &str = "/mutate-pod";
/// The largest question. API servers take objects of 3 MiB, and say little besides.
pub(crate) const LARGEST: usize = 4 << 20;
/// How many connections there may be, and how many questions are read at once.
const CONNECTIONS: usize = 64;
const AT_ONCE: usize = 16;
/// How long a handshake may take, a head, and a body. API servers wait 10 seconds for all of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection without a question stays open.
const IDLE: Duration = Duration::from_secs(90);
/// The largest head of a request.
const HEAD: usize = 16 << 10;

/// Listens where the settings say.
///
/// # Errors
/// When the address is none, or cannot be had.
pub(crate) async fn listen(text: &str) -> anyhow::Result<TcpListener> {
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.to_owned(),
    };
    let address: SocketAddr = whole.parse().with_context(|| {
        format!(
            "--webhook-bind-address {text}: give an address with a port (127.0.0.1:9443), or :PORT"
        )
    })?;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("the webhook cannot listen at {address}"))
}

/// Whether a selector is for something with these labels. One that is empty is for nothing: such a Service has no pods.
fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    let mut all = selector.iter();
    !selector.is_empty() && all.all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a pod of a Service will be a target: some route or export of this controller has a group of it.
fn has_group(app: &App, world: &World, service: &Name) -> bool {
    if expose::plan(world, &app.settings, service).is_some_and(|it| it.is_ok()) {
        return true;
    }
    let keys = world.touched_by_backend(BackendKind::Service, service);
    keys.into_iter().any(|key| match key {
        Key::Route(kind, name) => {
            let Some(route) = world.route(kind, &name) else {
                return false;
            };
            if route.metadata.deletion_timestamp.is_some() {
                return false;
            }
            let plan = plan::route(world, &app.settings, &Imports::new(), (kind, &name, route));
            let groups = plan.service.map(|it| it.groups).unwrap_or_default();
            groups.iter().any(|it| it.is_of(service))
        }
        Key::Export(name) => !mcs::export_groups(world, &app.settings, &name).is_empty(),
        _ => false,
    })
}

/// Whether a new pod gets the gate.
fn wants_gate(app: &App, asked: &Asked) -> bool {
    let world = app.look();
    let services = world.services_in(&asked.namespace);
    let mut services = services.filter(|(_, it)| selects(&it.selector, &asked.labels));
    services.any(|(name, _)| has_group(app, &world, name))
}

/// The webhook of one replica.
pub(crate) struct Webhook {
    pub(crate) app: Arc<App>,
    /// Whether the cluster was read as a whole: before that, that no route has a pod says nothing.
    pub(crate) read: Arc<AtomicBool>,
    pub(crate) served: Arc<Served>,
    reads: Semaphore,
}

type Reply = (StatusCode, &'static str, Vec<u8>);

fn refuse(status: StatusCode, why: &str) -> Reply {
    let text = format!("{why}\n").into_bytes();
    (status, "text/plain; charset=utf-8", text)
}

impl Webhook {
    pub(crate) fn new(app: Arc<App>, read: Arc<AtomicBool>, served: Arc<Served>) -> Self {
        let reads = Semaphore::new(AT_ONCE);
        Self {
            app,
            read,
            served,
            reads,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        if request.uri().path() != PATH {
            return refuse(StatusCode::NOT_FOUND, "only /mutate-pod is here");
        }
        if request.method() != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "only POST");
        }
        if !self.read.load(Ordering::Acquire) {
            let why = "the cluster is not read yet";
            return refuse(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        // A few large questions at once are all that this program has memory for.
        let Ok(_place) = self.reads.acquire().await else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "the controller ends");
        };
        let body = Limited::new(request.into_body(), LARGEST).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let why = format!("a review has at most {LARGEST} bytes");
                return refuse(StatusCode::PAYLOAD_TOO_LARGE, &why);
            }
            Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "the body breaks off"),
            Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body takes too long"),
        };
        match review::read(&body) {
            Ok(asked) => {
                let inject = !asked.has_gate && asked.creates_pod && wants_gate(&self.app, &asked);
                if inject {
                    let pod = asked.name.as_str();
                    tracing::debug!(
                        namespace = asked.namespace,
                        pod,
                        "a pod gets the readiness gate"
                    );
                }
                let kind = "application/json";
                (StatusCode::OK, kind, review::answer(&asked, inject))
            }
            Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let Some(config) = self.served.config() else {
            return;
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        let stream = match tokio::time::timeout(PATIENCE, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a handshake of the webhook fails");
                return;
            }
            Err(_) => return,
        };
        let service = service_fn(|request: Request<Incoming>| async {
            let (status, kind, bytes) = self.answer(request).await;
            let mut response = Response::new(Full::new(Bytes::from(bytes)));
            *response.status_mut() = status;
            let kind = HeaderValue::from_static(kind);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            Ok::<_, Infallible>(response)
        });
        // The time for a head is also that for the next request of a connection that is kept.
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::trace!(%error, "a connection of the webhook ended");
        }
    }

    /// Answers for as long as the process lives.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let webhook = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection of the webhook cannot be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let webhook = Arc::clone(&webhook);
            tokio::spawn(async move {
                webhook.connection(stream).await;
                drop(place);
            });
        }
    }
}
