//! The webhook that writes the readiness gate into pods: the API server asks it about each new pod of the namespaces that want
//! that, and a pod that will be a target of VPC Lattice gets the gate.
//!
//! Each replica serves with a certificate of its own, which it makes, renews and puts into the webhook's configuration
//! ([`certificate`]); what is asked and answered is [`review`].

pub(crate) mod certificate;
mod crowd;
pub(crate) mod review;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
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
use tokio_rustls::TlsAcceptor;

use self::certificate::Served;
use self::crowd::{Crowd, Does, Guest};
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
/// How many connections there may be. Of more, the oldest one of the peer that has the most is closed.
pub(crate) const CONNECTIONS: usize = 128;
/// How large a question may become before it needs a place among the large ones, and how many of those are read at once: a few are all
/// that this program has memory for.
const SMALL: usize = 64 << 10;
const LARGE_AT_ONCE: usize = 16;
/// How long a handshake may take. API servers wait 10 seconds for all of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a body may take, which API servers send at once.
const BODY: Duration = Duration::from_secs(5);
/// How long a connection without a question stays open.
const IDLE: Duration = Duration::from_secs(30);
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
    connections: Arc<Crowd>,
    large: Arc<Crowd>,
}

type Reply = (StatusCode, &'static str, Vec<u8>);

fn refuse(status: StatusCode, why: &str) -> Reply {
    let text = format!("{why}\n").into_bytes();
    (status, "text/plain; charset=utf-8", text)
}

impl Webhook {
    pub(crate) fn new(app: Arc<App>, read: Arc<AtomicBool>, served: Arc<Served>) -> Self {
        Self {
            app,
            read,
            served,
            connections: Crowd::new(CONNECTIONS),
            large: Crowd::new(LARGE_AT_ONCE),
        }
    }

    /// Reads a question, with the place that it holds if it is a large one.
    async fn body(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<(Vec<u8>, Option<Guest>), Reply> {
        let mut body = Limited::new(request.into_body(), LARGEST);
        let mut bytes = Vec::new();
        let mut place: Option<Guest> = None;
        loop {
            let frame = match &place {
                None => body.frame().await,
                Some(place) => tokio::select! {
                    frame = body.frame() => frame,
                    () = place.has_to_leave() => {
                        let why = "too many large reviews at once";
                        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, why));
                    }
                },
            };
            match frame {
                None => return Ok((bytes, place)),
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    bytes.extend_from_slice(&data);
                    if bytes.len() > SMALL && place.is_none() {
                        place = Some(self.large.enter(peer, Does::Speaks));
                    }
                }
                Some(Err(error)) if error.is::<LengthLimitError>() => {
                    let why = format!("a review has at most {LARGEST} bytes");
                    return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &why));
                }
                Some(Err(_)) => return Err(refuse(StatusCode::BAD_REQUEST, "the body breaks off")),
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>, guest: &Guest, peer: IpAddr) -> Reply {
        guest.does(Does::Speaks);
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
        // Nothing that others need is held while a peer takes its time.
        let body = tokio::time::timeout(BODY, self.body(request, peer)).await;
        let (body, place) = match body {
            Ok(Ok(read)) => read,
            Ok(Err(refused)) => return refused,
            Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body takes too long"),
        };
        guest.does(Does::Hears);
        if let Some(place) = &place {
            place.does(Does::Hears);
        }
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

    async fn connection(&self, stream: TcpStream, guest: &Guest, peer: IpAddr) {
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
            let (status, kind, bytes) = self.answer(request, guest, peer).await;
            guest.does(Does::Waits);
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
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
                Err(error) => {
                    tracing::debug!(%error, "a connection of the webhook cannot be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let webhook = Arc::clone(&webhook);
            let guest = webhook.connections.enter(peer, Does::Waits);
            tokio::spawn(async move {
                tokio::select! {
                    () = webhook.connection(stream, &guest, peer) => {}
                    () = guest.has_to_leave() => {
                        tracing::debug!(client.addr = %peer, "a connection of the webhook is closed for another one");
                    }
                }
            });
        }
    }
}
