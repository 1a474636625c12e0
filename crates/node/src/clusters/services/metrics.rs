//! The API `metrics.k8s.io`, which kube-apiserver hands on to here: what nodes and pods use, as their kubelets count it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lath_feed::{Power, Snapshot};
use lath_kubernetes::metrics::{self, Asked, History, Named, Sample};
use lath_kubernetes::services::{METRICS_NAME, METRICS_USER};
use lath_kubernetes::{Client, ClientError, METRICS_PORT, serving};
use lath_model::id::InstanceId;
use lath_net::accept::Watched;
use lath_net::listen;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::nodes;
use super::{Care, Part, all};

/// Where kubelets answer.
const KUBELET_PORT: u16 = 10250;
const KUBELET_PATH: &str = "/metrics/resource";
/// Between two looks at kubelets while somebody asks, as upstream's server has it.
const PERIOD: Duration = Duration::from_secs(15);
/// The same when no request came for [`ASKED`].
const SLOW_PERIOD: Duration = Duration::from_secs(60);
const ASKED: Duration = Duration::from_secs(120);
/// Between two looks while there is a node of which not everything is known, and that has not been there for [`NEW`].
const FAST_PERIOD: Duration = Duration::from_secs(3);
const NEW: Duration = Duration::from_secs(90);
/// What a node said last does not hold for longer.
const STALE: Duration = Duration::from_secs(150);
/// Kubelets that are asked at once.
const AT_ONCE: usize = 16;
/// How long a greeting or a request's head may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server of one cluster. It ends when this is dropped.
pub(super) struct Metrics {
    _stop: DropGuard,
}

/// What is known of a node.
struct Node {
    history: History,
    /// When it was asked first.
    since: Instant,
    /// When it answered last.
    said: Instant,
}

impl Node {
    fn new() -> Self {
        Self {
            history: History::default(),
            since: Instant::now(),
            said: Instant::now(),
        }
    }
}

struct State {
    care: Arc<Care>,
    /// By the names of nodes.
    nodes: Mutex<BTreeMap<String, Node>>,
    asked: Mutex<Option<Instant>>,
    wanted: Notify,
}

/// A kubelet, and how to ask it.
struct Kubelet {
    name: String,
    client: Arc<Client>,
}

impl Metrics {
    /// Answers in the namespace of the control plane.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub(super) async fn serve(care: &Arc<Care>) -> Result<Self, String> {
        let tls = serving::acceptor(&care.authority, METRICS_NAME);
        let tls = tls.map_err(|error| error.to_string())?;
        // Not on 127.0.0.1, which the API server takes for no endpoint of a service.
        let address = SocketAddr::new(care.address.ip(), METRICS_PORT);
        let listener = listen(&care.shared.parts.network, &care.place, address).await;
        let listener = listener.and_then(|it| {
            it.set_nonblocking(true)?;
            TcpListener::from_std(it)
        });
        let listener = listener.map_err(|error| error.to_string())?;
        let state = Arc::new(State {
            care: Arc::clone(care),
            nodes: Mutex::default(),
            asked: Mutex::default(),
            wanted: Notify::new(),
        });
        let stop = CancellationToken::new();
        let door = Door {
            state: Arc::clone(&state),
            tls,
            stop: stop.clone(),
        };
        let ended = stop.clone();
        tokio::spawn(async move { ended.run_until_cancelled(door.accept(listener)).await });
        let ended = stop.clone();
        tokio::spawn(async move { ended.run_until_cancelled(state.poll()).await });
        Ok(Self {
            _stop: stop.drop_guard(),
        })
    }
}

impl State {
    fn nodes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks kubelets again and again.
    async fn poll(self: Arc<Self>) {
        let mut clients = BTreeMap::new();
        loop {
            self.ask_all(&mut clients).await;
            let period = self.period();
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn period(&self) -> Duration {
        let is_new = |it: &Node| it.since.elapsed() < NEW && !it.history.is_whole();
        if self.nodes().values().any(is_new) {
            return FAST_PERIOD;
        }
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.is_some_and(|at| at.elapsed() < ASKED) {
            true => PERIOD,
            false => SLOW_PERIOD,
        }
    }

    async fn ask_all(&self, clients: &mut BTreeMap<InstanceId, (SocketAddr, Arc<Client>)>) {
        let snapshot = self.care.snapshot();
        let kubelets = self.kubelets(&snapshot, clients);
        {
            let mut nodes = self.nodes();
            nodes.retain(|name, _| kubelets.iter().any(|it| it.name == *name));
            for kubelet in &kubelets {
                let name = kubelet.name.clone();
                let node = nodes.entry(name).or_insert_with(Node::new);
                if node.said.elapsed() >= STALE {
                    node.history = History::default();
                }
            }
        }
        let mut asking = JoinSet::new();
        for kubelet in kubelets {
            if asking.len() >= AT_ONCE {
                self.take(asking.join_next().await);
            }
            let clock = self.care.shared.parts.clock.clone();
            asking.spawn(async move {
                let said = kubelet.client.text(KUBELET_PATH, metrics::LARGEST).await;
                let sample = match said {
                    Ok(said) => {
                        let parsed = move || Sample::parse(&said, clock.now());
                        tokio::task::spawn_blocking(parsed).await.ok()
                    }
                    Err(error) => {
                        tracing::debug!(node = kubelet.name, %error, "a kubelet says no metrics");
                        None
                    }
                };
                (kubelet.name, sample)
            });
        }
        while let Some(answer) = asking.join_next().await {
            self.take(Some(answer));
        }
    }

    fn take(&self, answer: Option<Result<(String, Option<Sample>), tokio::task::JoinError>>) {
        // A panic has been reported, and ends the process.
        let Some(Ok((name, Some(sample)))) = answer else {
            return;
        };
        let mut nodes = self.nodes();
        let node = nodes.entry(name).or_insert_with(Node::new);
        node.history.take(sample);
        node.said = Instant::now();
    }

    /// The kubelets of the cluster's nodes, at the addresses that Lath gave them: what a node says of itself is not asked.
    fn kubelets(
        &self,
        snapshot: &Snapshot,
        clients: &mut BTreeMap<InstanceId, (SocketAddr, Arc<Client>)>,
    ) -> Vec<Kubelet> {
        let is_own = |it: &lath_feed::Instance| {
            let cluster = it.cluster.as_ref().map(|it| &it.cluster);
            it.power == Power::On && cluster == Some(&self.care.id)
        };
        let instances = snapshot.instances.values().filter(|it| is_own(it));
        let mut kubelets = Vec::new();
        let mut before = std::mem::take(clients);
        for instance in instances {
            let Some(address) = nodes::address_of(snapshot, &instance.id) else {
                continue;
            };
            let address = SocketAddr::new(address.into(), KUBELET_PORT);
            let known = before.remove(&instance.id);
            let known = known.filter(|(of, _)| *of == address);
            let known = known.map(|(_, client)| client);
            let Some(client) = known.or_else(|| self.client(address)) else {
                continue;
            };
            clients.insert(instance.id.clone(), (address, Arc::clone(&client)));
            kubelets.push(Kubelet {
                name: instance.hostname.clone(),
                client,
            });
        }
        kubelets
    }

    fn client(&self, address: SocketAddr) -> Option<Arc<Client>> {
        let care = &self.care;
        let network = Arc::clone(&care.shared.parts.network);
        let place = care.place.clone();
        let user = (METRICS_USER, None);
        let client = Client::as_user(&care.authority, user, network, place, address);
        client.ok().map(Arc::new)
    }

    /// Answers a request.
    async fn answer(&self, asked: Asked) -> Result<Value, StatusError> {
        match asked {
            Asked::Health => Ok(Value::Null),
            Asked::Group => Ok(metrics::group()),
            Asked::Resources => Ok(metrics::resources()),
            Asked::Watch => {
                let text = "watch is not supported on resources of kind \"metrics.k8s.io\"";
                Err(StatusError::new(StatusCode::METHOD_NOT_ALLOWED, text))
            }
            Asked::Nodes { name, query } => {
                self.note_asked();
                let found = self
                    .objects("/api/v1/nodes", name.as_deref(), &query)
                    .await?;
                let shown = self.shown_nodes(&found);
                one_or_all("NodeMetricsList", "nodemetrics", name, shown)
            }
            Asked::Pods {
                namespace,
                name,
                query,
            } => {
                self.note_asked();
                let path = namespace.map_or_else(
                    || "/api/v1/pods".to_owned(),
                    |it| format!("/api/v1/namespaces/{it}/pods"),
                );
                let found = self.objects(&path, name.as_deref(), &query).await?;
                let shown = self.shown_pods(&found);
                one_or_all("PodMetricsList", "podmetrics", name, shown)
            }
        }
    }

    /// From now on kubelets are asked more often.
    fn note_asked(&self) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let was_idle = asked.is_none_or(|at| at.elapsed() >= ASKED);
        *asked = Some(Instant::now());
        if was_idle {
            self.wanted.notify_one();
        }
    }

    /// What is selected. The API server selects, so that selectors mean here what they mean everywhere.
    async fn objects(
        &self,
        path: &str,
        name: Option<&str>,
        query: &str,
    ) -> Result<Vec<Named>, StatusError> {
        let of_name;
        let query = match name {
            Some(name) => {
                of_name = format!("fieldSelector=metadata.name%3D{name}");
                &of_name
            }
            None => query,
        };
        let found = all::<Object>(&self.care.client, path, query, Part::Metadata).await;
        let found = found.map_err(|error| match error {
            ClientError::Refused { status, message } if status.is_client_error() => {
                StatusError::new(status, message)
            }
            error => StatusError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        })?;
        Ok(found.into_iter().map(|it| it.metadata.into()).collect())
    }

    fn shown_nodes(&self, found: &[Named]) -> Vec<Value> {
        let (nodes, now) = (self.nodes(), self.care.shared.parts.clock.now());
        let shown = found.iter().filter_map(|it| {
            let usage = nodes.get(&it.name)?.history.node()?;
            Some(metrics::node_metrics(it, &usage, now))
        });
        shown.collect()
    }

    fn shown_pods(&self, found: &[Named]) -> Vec<Value> {
        let (nodes, now) = (self.nodes(), self.care.shared.parts.clock.now());
        let mut used = BTreeMap::new();
        for node in nodes.values() {
            used.extend(node.history.pods());
        }
        let shown = found.iter().filter_map(|it| {
            let containers = used.get(&(it.namespace.as_str(), it.name.as_str()))?;
            metrics::pod_metrics(it, containers, now)
        });
        shown.collect()
    }
}

fn one_or_all(
    kind: &str,
    resource: &str,
    name: Option<String>,
    mut shown: Vec<Value>,
) -> Result<Value, StatusError> {
    let Some(name) = name else {
        return Ok(metrics::list(kind, shown));
    };
    shown.pop().ok_or_else(|| {
        let text = format!("{resource}.metrics.k8s.io {name:?} not found");
        StatusError::new(StatusCode::NOT_FOUND, text)
    })
}

/// A refusal with its words.
#[derive(Debug, PartialEq, Eq)]
struct StatusError {
    status: StatusCode,
    message: String,
}

impl StatusError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn reason(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
            _ => "ServiceUnavailable",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

impl From<Metadata> for Named {
    fn from(it: Metadata) -> Self {
        Self {
            namespace: it.namespace,
            name: it.name,
            labels: it.labels,
        }
    }
}

struct Door {
    state: Arc<State>,
    tls: tokio_rustls::TlsAcceptor,
    stop: CancellationToken,
}

impl Door {
    async fn accept(&self, listener: TcpListener) {
        let care = &self.state.care;
        loop {
            let accepted = care.shared.acceptor.accept(&listener, &care.place).await;
            let (stream, _, slot) = accepted;
            let (tls, state) = (self.tls.clone(), Arc::clone(&self.state));
            let stop = self.stop.clone();
            tokio::spawn(async move {
                let greeted =
                    tokio::time::timeout(PATIENCE, tls.accept(Watched::new(stream, &slot)));
                let Ok(Ok(stream)) = greeted.await else {
                    return;
                };
                // Nodes have certificates of the cluster, too, and may not say who asks.
                if !serving::is_front_proxy(stream.get_ref().1.peer_certificates()) {
                    return;
                }
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(answered(&state, &request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = slot.ended() => {}
                    // How a connection ended is its client's affair.
                    _ = connection => {}
                }
            });
        }
    }
}

async fn answered(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let uri = request.uri();
    let asked = Asked::parse(uri.path(), uri.query());
    let answer = match (asked, request.method()) {
        (None, _) => Err(StatusError::new(
            StatusCode::NOT_FOUND,
            "the server could not find the requested resource",
        )),
        (Some(asked), &Method::GET) => state.answer(asked).await,
        (Some(_), _) => Err(StatusError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "metrics are read, and nothing else",
        )),
    };
    let (status, body) = match answer {
        Ok(Value::Null) => return response(StatusCode::OK, "ok".into(), "text/plain"),
        Ok(body) => (StatusCode::OK, body),
        Err(it) => {
            let body = metrics::status(it.status.as_u16(), it.reason(), &it.message);
            (it.status, body)
        }
    };
    response(status, body.to_string(), "application/json")
}

fn response(status: StatusCode, body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}
