//! The webhook, asked over TLS as API servers ask it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::fake::{Answer, Server};
use super::lattice::merge;
use super::{backend, http, object, settings, world};
use crate::controller::App;
use crate::gates::GATE;
use crate::kinds::{RouteKind, ServiceExport};
use crate::lattice::Lattice;
use crate::webhook::certificate::{Renewer, Served};
use crate::webhook::{CONNECTIONS, LARGEST, Webhook};
use crate::world::{Name, Service};

const NAME: &str = "webhook-service.system.svc";

struct Fixture {
    app: Arc<App>,
    configuration: Arc<Mutex<Value>>,
    served: Arc<Served>,
    read: Arc<AtomicBool>,
    address: std::net::SocketAddr,
    renewer: Renewer,
    _server: Server,
}

async fn place() -> Fixture {
    let client = json!({"service": {"name": "webhook-service", "namespace": "system", "path": "/mutate-pod"}});
    let configuration = json!({"metadata": {"name": "hook", "resourceVersion": "1"}, "webhooks": [
        {"name": "mpod.gwc.k8s.aws", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": client}]});
    let configuration = Arc::new(Mutex::new(configuration));
    let stored = Arc::clone(&configuration);
    let server = Server::begin(move |request| {
        let mut stored = stored.lock().unwrap();
        if request.method == "PATCH" {
            merge(&mut stored, &request.body);
        }
        Answer::ok(stored.clone())
    })
    .await;
    let lattice = Lattice::for_tests(&server.url(), &settings());
    let app = Arc::new(App::new(server.kubernetes(), settings(), lattice));
    let mut known = world(http());
    for (name, label) in [("one", "web"), ("two", "export"), ("three", "unused")] {
        let at = Name::new("default", name);
        let mut service = known
            .services
            .get(&at)
            .map_or_else(Service::default, |it| (**it).clone());
        service.selector = [("app".to_owned(), label.to_owned())].into();
        known.services.insert(at, Arc::new(service));
    }
    let route =
        json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]});
    let routes = known.routes.entry(RouteKind::Http).or_default();
    routes.insert(Name::new("default", "r"), object("default/r", &route));
    // An export of another name than its Service.
    let mut export: ServiceExport = (*object::<ServiceExport>("default/far", &json!({}))).clone();
    let annotation = |name: &str| format!("application-networking.k8s.aws/{name}");
    export.metadata.annotations = Some(
        [
            (annotation("service-name"), "two".to_owned()),
            (annotation("federation"), "amazon-vpc-lattice".to_owned()),
        ]
        .into(),
    );
    known
        .exports
        .insert(Name::new("default", "far"), Arc::new(export));
    *app.world() = known;
    let served = Arc::<Served>::default();
    let read = Arc::new(AtomicBool::new(true));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let webhook = Webhook::new(Arc::clone(&app), Arc::clone(&read), Arc::clone(&served));
    tokio::spawn(webhook.serve(listener));
    let renewer = Renewer::new(Arc::clone(&app), Arc::clone(&served), "hook".into());
    Fixture {
        app,
        configuration,
        served,
        read,
        address,
        renewer,
        _server: server,
    }
}

impl Fixture {
    fn bundle(&self) -> Vec<CertificateDer<'static>> {
        let configuration = self.configuration.lock().unwrap();
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].clone();
        let bundle: ByteString = serde_json::from_value(bundle).unwrap();
        let all = CertificateDer::pem_slice_iter(&bundle.0);
        all.collect::<Result<_, _>>().unwrap()
    }

    async fn ask(&self, body: Vec<u8>) -> (u16, Value) {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.bundle());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::post("/mutate-pod?timeout=10s").header("host", NAME);
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Whether a pod with this label gets the gate.
    async fn gets_gate(&self, namespace: &str, app: &str) -> bool {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "namespace": namespace, "operation": "CREATE", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "object": {"metadata": {"labels": {"app": app, "other": "1"}}, "spec": {"containers": []}}}});
        let (status, answer) = self.ask(review.to_string().into_bytes()).await;
        assert_eq!(
            (status, &answer["response"]["allowed"]),
            (200, &json!(true))
        );
        let patch = answer["response"]["patch"].clone();
        if patch.is_null() {
            return false;
        }
        let patch: ByteString = serde_json::from_value(patch).unwrap();
        String::from_utf8(patch.0).unwrap().contains(GATE)
    }
}

#[tokio::test]
async fn pods_that_will_be_targets_get_the_gate_and_no_others() {
    let mut place = place().await;
    assert!(!place.served.is_ready());
    assert!(!place.renewer.look().await.unwrap());
    // It is served when the configuration was seen with it.
    assert!(place.served.config().is_none());
    assert!(place.renewer.look().await.unwrap() && place.served.is_ready());
    assert!(place.gets_gate("default", "web").await);
    assert!(place.gets_gate("default", "export").await);
    assert!(!place.gets_gate("default", "unused").await);
    assert!(!place.gets_gate("elsewhere", "web").await);
    // A route that no Gateway takes has no targets.
    place.app.world().gateways.clear();
    assert!(!place.gets_gate("default", "web").await);
}

#[tokio::test]
async fn a_question_is_bounded_and_waits_for_the_picture() {
    let mut place = place().await;
    while !place.renewer.look().await.unwrap() {}
    assert_eq!(place.ask(b"{}".to_vec()).await.0, 400);
    assert_eq!(place.ask(vec![b' '; LARGEST + 1]).await.0, 413);
    place.read.store(false, Ordering::Release);
    assert_eq!(place.ask(b"{}".to_vec()).await.0, 503);
}

#[tokio::test]
async fn a_certificate_that_somebody_removed_comes_back_and_replicas_keep_each_others() {
    let mut place = place().await;
    while !place.renewer.look().await.unwrap() {}
    let served = Arc::<Served>::default();
    let mut other = Renewer::new(Arc::clone(&place.app), served, "hook".into());
    while !other.look().await.unwrap() {}
    assert_eq!(place.bundle().len(), 2);
    assert!(place.gets_gate("default", "web").await);
    let empty = json!({"service": {"name": "webhook-service", "namespace": "system", "path": "/mutate-pod"}});
    place.configuration.lock().unwrap()["webhooks"][0]["clientConfig"] = empty;
    while !place.renewer.look().await.unwrap() {}
    assert!(place.gets_gate("default", "web").await);
}

#[tokio::test]
async fn a_pod_that_takes_all_connections_does_not_keep_the_api_server_out() {
    let mut place = place().await;
    while !place.renewer.look().await.unwrap() {}
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS + 8 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        held.push(socket.connect(place.address).await.unwrap());
        assert!(held.len() % 32 > 0 || place.gets_gate("default", "web").await);
    }
    assert!(place.gets_gate("default", "web").await);
    assert!(!place.gets_gate("default", "unused").await);
}
