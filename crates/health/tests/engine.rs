//! Runs the engine against real servers that start, stop and flap.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lath_clock::{Clock, ManualClock};
use lath_feed::*;
use lath_health::{HealthConfig, HealthEngine, HealthHandle};
use lath_model::Timestamp;
use lath_model::id::*;
use lath_model::lattice::*;
use lath_net::HostNetwork;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers every request with a status that the test can change; with 0 it never answers.
struct Server {
    at: SocketAddr,
    status: Arc<AtomicU16>,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(status: u16) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), status).await
    }

    async fn start_at(at: SocketAddr, status: u16) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (shown, log, count) = (
            Arc::clone(&status),
            Arc::clone(&heads),
            Arc::clone(&connections),
        );
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut buffer = vec![0; 4096];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                log.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                match shown.load(Ordering::Relaxed) {
                    0 => held.push(stream),
                    status => {
                        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                }
            }
        });
        Self {
            at,
            status,
            heads,
            connections,
            task,
        }
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

struct Lab {
    handle: HealthHandle,
    hands: ManualClock,
    snapshots: watch::Sender<Arc<Snapshot>>,
    group: TargetGroup,
    version: u64,
}

fn key(at: SocketAddr) -> TargetKey {
    TargetKey {
        id: at.ip().to_string(),
        port: at.port(),
    }
}

fn check() -> HealthCheck {
    HealthCheck {
        protocol: TargetProtocol::Http,
        protocol_version: ProtocolVersion::Http1,
        port: None,
        path: "/health?x=1".to_owned(),
        matcher: vec![(200, 204), (301, 301)],
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(10),
        healthy_threshold: 2,
        unhealthy_threshold: 3,
    }
}

impl Lab {
    fn start(targets: &[SocketAddr], health_check: Option<HealthCheck>) -> Self {
        Self::in_region(None, targets, health_check)
    }

    /// A group whose targets are in another region.
    fn in_region(
        regions: Option<lath_health::Regions>,
        targets: &[SocketAddr],
        health_check: Option<HealthCheck>,
    ) -> Self {
        let group = TargetGroup {
            id: TargetGroupId::random(),
            arn: "arn".to_owned(),
            name: "g".to_owned(),
            vpc: VpcId::random(),
            protocol: TargetProtocol::Http,
            protocol_version: Some(ProtocolVersion::Http1),
            health_check,
            balancing: None,
            tls: None,
            in_use: true,
            targets: BTreeMap::new(),
            region: regions.is_some().then(|| "us-west-2".to_owned()),
        };
        let (snapshots, receiver) = watch::channel(Arc::default());
        let hands = ManualClock::at(Timestamp::from_millis(1_000_000));
        let config = HealthConfig {
            clock: hands.clock(),
            first_within: Duration::from_millis(20),
            regions,
            ..HealthConfig::default()
        };
        let handle = HealthEngine::start(Arc::new(HostNetwork), receiver, config).unwrap();
        let mut lab = Self {
            handle,
            hands,
            snapshots,
            group,
            version: 0,
        };
        for target in targets {
            lab.register(*target);
        }
        lab.apply();
        lab
    }

    fn register(&mut self, at: SocketAddr) {
        let target = Target {
            address: Some(at.ip()),
            draining_since: None,
        };
        self.group.targets.insert(key(at), target);
    }

    fn apply(&mut self) {
        self.version += 1;
        let groups = [(self.group.id.clone(), Arc::new(self.group.clone()))].into();
        let snapshot = Snapshot {
            version: self.version,
            target_groups: groups,
            ..Snapshot::default()
        };
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    async fn becomes(&self, at: SocketAddr, want: TargetHealth) -> Option<String> {
        let mut view = self.handle.view();
        let found = view.wait_for(|view| {
            view.version >= self.version && view.health(&self.group, &key(at)) == want
        });
        let view = tokio::time::timeout(PATIENCE, found)
            .await
            .expect("in time")
            .unwrap();
        let state = &view.groups[&self.group.id][&key(at)];
        assert_eq!(
            state.reason,
            (want == TargetHealth::Unhealthy).then_some("HealthCheckFailed")
        );
        state.detail.clone()
    }
}

#[tokio::test]
async fn a_flapping_server_is_followed() {
    let server = Server::start(200).await;
    let lab = Lab::start(&[server.at], Some(check()));
    for _ in 0..3 {
        server.set(200);
        lab.becomes(server.at, TargetHealth::Healthy).await;
        server.set(500);
        let detail = lab.becomes(server.at, TargetHealth::Unhealthy).await;
        assert_eq!(detail.as_deref(), Some("the answer's status is 500"));
    }
    server.set(301);
    lab.becomes(server.at, TargetHealth::Healthy).await;
}

#[tokio::test]
async fn a_probe_is_a_get_on_a_fresh_connection() {
    let server = Server::start(204).await;
    let lab = Lab::start(&[server.at], Some(check()));
    lab.becomes(server.at, TargetHealth::Healthy).await;
    while server.connections.load(Ordering::Relaxed) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let head = server.heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nHost: {}\r\n", server.at)),
        "{head}"
    );
    assert!(
        head.contains("\r\nUser-Agent: vpc-lattice-health-checker/1.0\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert_eq!(
        server.heads.lock().unwrap().len(),
        server.connections.load(Ordering::Relaxed)
    );
}

/// Answers every request with these bytes, repeated without end if `endless`, and closes.
async fn scripted(answer: &'static [u8], endless: bool) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                while stream.write_all(answer).await.is_ok() && endless {}
            });
        }
    });
    (at, task)
}

#[tokio::test]
async fn an_answer_that_is_cut_off_endless_or_contradictory_is_not_healthy() {
    for (answer, endless, want) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"[..],
            false,
            "closed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            false,
            "closed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
            false,
            "both",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n and so on, for ever",
            true,
            "1 MiB",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n", true, "16,384"),
    ] {
        let (at, task) = scripted(answer, endless).await;
        let lab = Lab::start(&[at], Some(check()));
        let detail = lab.becomes(at, TargetHealth::Unhealthy).await.unwrap();
        assert!(detail.contains(want), "{want}: {detail}");
        task.abort();
    }
}

/// A server of gRPC's health service that says this of a service, and what it was asked.
async fn grpc_server(status: u8) -> (SocketAddr, watch::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (asked_tx, asked) = watch::channel(Default::default());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asked_tx = asked_tx.clone();
            let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                let asked_tx = asked_tx.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let kind = head.headers["content-type"].to_str().unwrap();
                    let line = format!("{} {} {kind}", head.method, head.uri.path());
                    let body = body.collect().await.unwrap().to_bytes().to_vec();
                    asked_tx.send_replace((line, body));
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                    let answer = vec![0, 0, 0, 0, 2, 8, status];
                    let body = Full::<bytes::Bytes>::from(answer)
                        .with_trailers(async { Some(Ok(trailers)) });
                    Ok::<_, std::convert::Infallible>(http::Response::new(body))
                }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
        }
    });
    (at, asked)
}

#[tokio::test]
async fn the_health_service_of_grpc_is_asked() {
    let check = HealthCheck {
        protocol_version: ProtocolVersion::Grpc,
        path: "/grpc.health.v1.Health/Check?service=a.B".to_owned(),
        ..check()
    };
    for (status, want) in [(1, TargetHealth::Healthy), (2, TargetHealth::Unhealthy)] {
        let (at, asked) = grpc_server(status).await;
        let lab = Lab::start(&[at], Some(check.clone()));
        let detail = lab.becomes(at, want).await;
        let (line, body) = asked.borrow().clone();
        assert_eq!(line, "POST /grpc.health.v1.Health/Check application/grpc");
        assert_eq!(body, b"\0\0\0\0\x05\x0a\x03a.B");
        if want == TargetHealth::Unhealthy {
            assert!(detail.unwrap().contains("serving status is 2"));
        }
    }
}

#[tokio::test]
async fn a_killed_server_turns_unhealthy_and_comes_back() {
    let server = Server::start(200).await;
    let at = server.at;
    let lab = Lab::start(&[at], Some(check()));
    lab.becomes(at, TargetHealth::Healthy).await;
    drop(server);
    let detail = lab.becomes(at, TargetHealth::Unhealthy).await.unwrap();
    assert!(
        detail.contains("connecting") || detail.contains("closed"),
        "{detail}"
    );
    let _server = loop {
        // The port is free once the old socket is gone.
        if TcpListener::bind(at).await.is_ok() {
            break Server::start_at(at, 200).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    lab.becomes(at, TargetHealth::Healthy).await;
}

#[tokio::test]
async fn silence_is_a_failure() {
    let server = Server::start(0).await;
    // Also when a probe begins just as the one before times out.
    for interval in [60, 20, 10] {
        let quick = HealthCheck {
            timeout: Duration::from_millis(20),
            interval: Duration::from_millis(interval),
            ..check()
        };
        let lab = Lab::start(&[server.at], Some(quick));
        let detail = lab.becomes(server.at, TargetHealth::Unhealthy).await;
        assert_eq!(
            detail.unwrap(),
            "no answer within the timeout",
            "{interval}"
        );
    }
}

#[tokio::test]
async fn the_states_that_need_no_probe_follow_the_configuration() {
    let server = Server::start(200).await;
    let mut lab = Lab::start(&[server.at], None);
    lab.becomes(server.at, TargetHealth::Unavailable).await;
    lab.group.in_use = false;
    lab.group.health_check = Some(check());
    lab.apply();
    lab.becomes(server.at, TargetHealth::Unused).await;
    assert_eq!(server.connections.load(Ordering::Relaxed), 0);
    lab.group.in_use = true;
    lab.apply();
    lab.becomes(server.at, TargetHealth::Healthy).await;
    let target = lab.group.targets.get_mut(&key(server.at)).unwrap();
    target.draining_since = Some(Clock::system().now());
    lab.apply();
    lab.becomes(server.at, TargetHealth::Draining).await;
}

#[tokio::test]
async fn a_change_of_intervals_keeps_states_and_another_port_is_used() {
    let (server, other) = (Server::start(200).await, Server::start(503).await);
    let mut lab = Lab::start(&[server.at], Some(check()));
    lab.becomes(server.at, TargetHealth::Healthy).await;
    let since = |lab: &Lab| lab.handle.view().borrow().groups[&lab.group.id][&key(server.at)].since;
    let first = lab.hands.now();
    assert_eq!(since(&lab), first);
    let hour = Duration::from_secs(3600);
    lab.hands.advance(hour);
    let slower = HealthCheck {
        interval: Duration::from_secs(300),
        ..check()
    };
    lab.group.health_check = Some(slower);
    lab.apply();
    lab.becomes(server.at, TargetHealth::Healthy).await;
    assert_eq!(since(&lab), first);
    lab.group.health_check = Some(HealthCheck {
        port: Some(other.at.port()),
        ..check()
    });
    lab.apply();
    lab.becomes(server.at, TargetHealth::Unhealthy).await;
    assert_eq!(since(&lab), first.plus(hour));
}

#[tokio::test]
async fn shutdown_ends_the_thread() {
    let server = Server::start(200).await;
    let lab = Lab::start(&[server.at], Some(check()));
    lab.becomes(server.at, TargetHealth::Healthy).await;
    tokio::time::timeout(PATIENCE, lab.handle.shutdown())
        .await
        .expect("the end in time");
}

/// Connects directly to targets of the other region.
#[derive(Debug)]
struct Straight;

#[async_trait::async_trait]
impl lath_health::Gateways for Straight {
    async fn connect(
        &self,
        _network: &Arc<dyn lath_net::Network>,
        _region: &str,
        _vpc: &VpcId,
        to: SocketAddr,
        _timeout: Duration,
    ) -> std::io::Result<tokio::net::TcpStream> {
        tokio::net::TcpStream::connect(to).await
    }
}

fn peers(connected: bool) -> Arc<BTreeMap<String, PeerState>> {
    let state = PeerState {
        connected,
        since: Clock::system().now(),
        values: lath_feed::Values::new(),
    };
    Arc::new(BTreeMap::from([("us-west-2".to_owned(), state)]))
}

#[tokio::test]
async fn a_lost_region_is_unhealthy_at_once_and_one_probe_brings_it_back() {
    let server = Server::start(200).await;
    let (links, receiver) = watch::channel(peers(true));
    let regions = lath_health::Regions {
        gateways: Arc::new(Straight),
        peers: receiver,
    };
    // The interval is minutes long: only the link that comes up can trigger the next probe.
    let seldom = HealthCheck {
        interval: Duration::from_secs(300),
        ..check()
    };
    let lab = Lab::in_region(Some(regions), &[server.at], Some(seldom));
    for _ in 0..3 {
        lab.becomes(server.at, TargetHealth::Healthy).await;
        links.send_replace(peers(false));
        let detail = lab.becomes(server.at, TargetHealth::Unhealthy).await;
        assert_eq!(detail.unwrap(), "the link to region us-west-2 is down");
        links.send_replace(peers(true));
    }
    lab.becomes(server.at, TargetHealth::Healthy).await;
    // A region that was never connected counts as down too.
    links.send_replace(Arc::default());
    lab.becomes(server.at, TargetHealth::Unhealthy).await;
}

/// An authority, and what it issues: a certificate for a host, with its key.
fn authority() -> (String, impl Fn(&str) -> Certificate) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
    let pem = issuer.pem();
    let issue = move |host: &str| {
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        Certificate {
            chain: params.signed_by(&key, &issuer).unwrap().pem(),
            key: Hidden(key.serialize_pem()),
        }
    };
    (pem, issue)
}

/// Answers with 200 under TLS clients with a certificate of the authority.
async fn secured(own: &Certificate, clients: &str) -> SocketAddr {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let anchor = CertificateDer::from_pem_slice(clients.as_bytes()).unwrap();
    roots.add(anchor).unwrap();
    let provider = lath_health::tls::provider();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let (chain, key) = lath_health::chain_and_key(own).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    at
}

#[tokio::test]
async fn checks_verify_targets_and_show_them_what_the_group_says() {
    let (anchor, issue) = authority();
    let at = secured(&issue("target.example.com"), &anchor).await;
    let https = HealthCheck {
        protocol: TargetProtocol::Https,
        ..check()
    };
    let mut lab = Lab::start(&[], Some(https));
    lab.group.protocol = TargetProtocol::Https;
    lab.register(at);
    let right = TargetTls {
        hostname: "target.example.com".to_owned(),
        anchors: vec![anchor],
        system: false,
        names: Vec::new(),
        check_certificate: Some(issue("gateway")),
    };
    let wrong_name = TargetTls {
        hostname: "other.example.com".to_owned(),
        ..right.clone()
    };
    let wrong_authority = TargetTls {
        anchors: vec![authority().0],
        ..right.clone()
    };
    let silent = TargetTls {
        check_certificate: None,
        ..right.clone()
    };
    for (tls, want) in [
        (right.clone(), TargetHealth::Healthy),
        (wrong_name, TargetHealth::Unhealthy),
        (right.clone(), TargetHealth::Healthy),
        (wrong_authority, TargetHealth::Unhealthy),
        (right, TargetHealth::Healthy),
        (silent, TargetHealth::Unhealthy),
    ] {
        lab.group.tls = Some(tls);
        lab.apply();
        lab.becomes(at, want).await;
    }
}
