//! Observers against real endpoints on loopback, and a mesh whose links can be cut.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lath_clock::Clock;
use lath_feed::*;
use lath_health_checkers::{Checks, ChecksConfig, ChecksHandle, Witness, WitnessHandle};
use lath_model::id::HealthCheckId;
use lath_net::{Kind, Network, Place};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

/// The host's network, which can be switched off.
#[derive(Default)]
struct Eyes(AtomicBool);

#[async_trait]
impl Network for Eyes {
    async fn socket(
        &self,
        _: &Place,
        domain: socket2::Domain,
        kind: Kind,
    ) -> io::Result<socket2::Socket> {
        if self.0.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        lath_net::new_socket(domain, kind)
    }
}

/// The peers' states, as one observer sees them.
type Ears = watch::Sender<Arc<BTreeMap<String, PeerState>>>;

/// The links between observers.
#[derive(Clone)]
struct Wan {
    cut: Arc<watch::Sender<BTreeSet<String>>>,
    carriers: Arc<Mutex<Vec<(String, Ears)>>>,
}

impl Wan {
    fn new() -> Self {
        Self {
            cut: Arc::new(watch::Sender::new(BTreeSet::new())),
            carriers: Arc::default(),
        }
    }

    fn join(&self, name: &str, tasks: &mut JoinSet<()>) -> Mesh {
        let (mesh, carrier) = Mesh::new();
        let Carrier { mut told, peers } = carrier;
        self.carriers.lock().unwrap().push((name.to_owned(), peers));
        let (wan, name) = (self.clone(), name.to_owned());
        let mut cut = self.cut.subscribe();
        tasks.spawn(async move {
            loop {
                let values = told.borrow_and_update().clone();
                let all_cut = cut.borrow_and_update().clone();
                wan.carry(&name, &values, &all_cut);
                tokio::select! {
                    changed = told.changed() => if changed.is_err() { return },
                    changed = cut.changed() => if changed.is_err() { return },
                    // Repeated, because an observer that joins later needs it too.
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        });
        mesh
    }

    fn carry(&self, from: &str, values: &Values, cut: &BTreeSet<String>) {
        for (to, peers) in self
            .carriers
            .lock()
            .unwrap()
            .iter()
            .filter(|(to, _)| to != from)
        {
            let connected = !cut.contains(from) && !cut.contains(to);
            peers.send_if_modified(|all| {
                let known = all.get(from);
                let same = known.is_some_and(|state| {
                    state.connected == connected && (!connected || state.values == *values)
                });
                if same {
                    return false;
                }
                let values = match (connected, known) {
                    (false, Some(state)) => state.values.clone(),
                    _ => values.clone(),
                };
                let since = Clock::system().now();
                let state = PeerState {
                    connected,
                    since,
                    values,
                };
                Arc::make_mut(all).insert(from.to_owned(), state);
                true
            });
        }
    }

    fn cut(&self, who: &[&str]) {
        self.cut
            .send_replace(who.iter().map(|name| (*name).to_owned()).collect());
    }
}

fn topology(region: &str, regions: &[&str], witness: bool) -> Arc<Topology> {
    let single = Topology::single(regions[0]);
    let place = single.here().unwrap().clone();
    Arc::new(Topology {
        region: region.to_owned(),
        home: regions[0].to_owned(),
        regions: regions
            .iter()
            .map(|name| ((*name).to_owned(), place.clone()))
            .collect(),
        witness: witness.then_some(place),
        ..single
    })
}

fn endpoint(at: SocketAddr) -> EndpointCheck {
    EndpointCheck {
        protocol: CheckProtocol::Http,
        address: Some(at.ip()),
        name: None,
        port: at.port(),
        path: "/".into(),
        search: None,
        sni: false,
        interval: Duration::from_millis(100),
        threshold: 1,
    }
}

fn check(endpoint: EndpointCheck) -> Route53HealthCheck {
    Route53HealthCheck {
        id: HealthCheckId::random(),
        version: 1,
        judge: Judge::Endpoint(endpoint),
        inverted: false,
        disabled: false,
    }
}

fn snapshot(checks: &[Route53HealthCheck]) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        version: 1,
        region: "us-east-1".into(),
        health_checks: checks
            .iter()
            .map(|check| (check.id.clone(), Arc::new(check.clone())))
            .collect(),
        ..Snapshot::default()
    })
}

/// Answers every request with these bytes and closes.
async fn serve(answer: Vec<u8>, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tasks.spawn(answer_all(listener, answer));
    at
}

async fn answer_all(listener: TcpListener, answer: Vec<u8>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            return;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&answer).await;
        });
    }
}

/// An HTTPS server with an expired certificate for another name.
async fn serve_tls(tasks: &mut JoinSet<()>) -> SocketAddr {
    let mut params = rcgen::CertificateParams::new(vec!["other.example".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tasks.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nsecret").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    at
}

async fn until<T: Clone>(
    watch: &mut watch::Receiver<T>,
    what: &str,
    is_so: impl Fn(&T) -> bool,
) -> T {
    let waited = tokio::time::timeout(PATIENCE, watch.wait_for(|value| is_so(value))).await;
    let Ok(found) = waited else {
        panic!("not in time: {what}")
    };
    found.unwrap().clone()
}

#[tokio::test]
async fn probes_judge_real_endpoints_as_aws_does() {
    let mut tasks = JoinSet::new();
    let answer = |head: &str, body: &[u8]| {
        [
            format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(),
            body,
        ]
        .concat()
    };
    let at = |place: usize| [&vec![b'.'; place][..], b"NEEDLE"].concat();
    let ok = serve(answer("200 OK", b"hello"), &mut tasks).await;
    let moved = serve(
        answer("301 Moved Permanently\r\nLocation: /x", b""),
        &mut tasks,
    )
    .await;
    let bad = serve(answer("400 Bad Request", b""), &mut tasks).await;
    let broken = serve(answer("500 Internal Server Error", b""), &mut tasks).await;
    let nonsense = serve(b"220 smtp ready\r\n".to_vec(), &mut tasks).await;
    let inside = serve(answer("200 OK", &at(5_114)), &mut tasks).await;
    let spanning = serve(answer("200 OK", &at(5_115)), &mut tasks).await;
    let tls = serve_tls(&mut tasks).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_at = silent.local_addr().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let search = |at, text: &str| EndpointCheck {
        search: Some(text.into()),
        ..endpoint(at)
    };
    let https = |at| EndpointCheck {
        protocol: CheckProtocol::Https,
        ..endpoint(at)
    };
    let tcp = |at| EndpointCheck {
        protocol: CheckProtocol::Tcp,
        ..endpoint(at)
    };
    let named = |at| EndpointCheck {
        name: Some("a.example".into()),
        sni: true,
        ..https(at)
    };
    let cases = [
        ("200", endpoint(ok), true, "HTTP Status Code 200, OK"),
        (
            "301",
            endpoint(moved),
            true,
            "HTTP Status Code 301, Moved Permanently",
        ),
        (
            "400",
            endpoint(bad),
            false,
            "HTTP Status Code 400, Bad Request",
        ),
        ("500", endpoint(broken), false, "HTTP Status Code 500"),
        ("no HTTP", endpoint(nonsense), false, "not HTTP"),
        ("found", search(ok, "hell"), true, "200"),
        ("not found", search(ok, "HELL"), false, "search string"),
        ("up to byte 5,120", search(inside, "NEEDLE"), true, "200"),
        (
            "over byte 5,120",
            search(spanning, "NEEDLE"),
            false,
            "search string",
        ),
        ("found, but 500", search(broken, ""), false, "500"),
        (
            "an expired certificate of another name",
            named(tls),
            true,
            "200",
        ),
        ("TLS without a name", https(tls), true, "200"),
        ("TLS where there is none", https(ok), false, "SSL"),
        ("plain where there is TLS", endpoint(tls), false, "Failure"),
        ("TCP", tcp(ok), true, "TCP"),
        ("TCP, silent", tcp(silent_at), true, "TCP"),
        ("silent", endpoint(silent_at), false, "timed out"),
        ("refused", endpoint(gone), false, "refused"),
        ("TCP, refused", tcp(gone), false, "refused"),
    ];
    let checks: Vec<_> = cases.iter().map(|case| check(case.1.clone())).collect();
    let (_publish, snapshots) = watch::channel(snapshot(&checks));
    let (mesh, _carrier) = Mesh::new();
    let topology = Arc::new(Topology::single("us-east-1"));
    let network = Arc::new(Eyes::default());
    let handle =
        Checks::start(network, snapshots, topology, mesh, ChecksConfig::default()).unwrap();
    let all = checks.len();
    let observed = until(
        &mut handle.observed(),
        "every check was probed",
        |observed| {
            observed
                .values()
                .filter(|check| check.quorum && check.observers.len() == 1)
                .count()
                == all
        },
    )
    .await;
    for (check, (name, _, healthy, status)) in checks.iter().zip(cases) {
        let found = &observed[&check.id];
        let report = &found.observers["us-east-1"];
        let said = (
            found.healthy,
            report.success,
            report.status.contains(status),
        );
        assert_eq!(said, (healthy, healthy, true), "{name}: {}", report.status);
        assert_eq!(report.last_failure.is_some(), !healthy, "{name}");
    }
    handle.shutdown().await;
}

/// Two regions and a witness that watch one endpoint.
struct World {
    wan: Wan,
    eyes: [Arc<Eyes>; 3],
    nodes: [ChecksHandle; 2],
    witness: WitnessHandle,
    check: HealthCheckId,
    at: SocketAddr,
    server: JoinSet<()>,
    _publish: watch::Sender<Arc<Snapshot>>,
    _tasks: JoinSet<()>,
}

impl World {
    async fn new() -> Self {
        let (mut tasks, mut server) = (JoinSet::new(), JoinSet::new());
        let at = serve(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), &mut server).await;
        let check = check(endpoint(at));
        let (publish, snapshots) = watch::channel(snapshot(std::slice::from_ref(&check)));
        let wan = Wan::new();
        let eyes: [Arc<Eyes>; 3] = Default::default();
        let regions = ["us-east-1", "us-west-2"];
        let node = |at: usize, mesh: Mesh| {
            let topology = topology(regions[at], &regions, true);
            let network: Arc<dyn Network> = eyes[at].clone();
            Checks::start(
                network,
                snapshots.clone(),
                topology,
                mesh,
                ChecksConfig::default(),
            )
            .unwrap()
        };
        let nodes = [
            node(0, wan.join("us-east-1", &mut tasks)),
            node(1, wan.join("us-west-2", &mut tasks)),
        ];
        let mesh = wan.join(WITNESS, &mut tasks);
        let network: Arc<dyn Network> = eyes[2].clone();
        let witness = Witness::start(
            network,
            topology(WITNESS, &regions, true),
            mesh,
            16,
            Clock::system(),
        )
        .unwrap();
        let world = Self {
            wan,
            eyes,
            nodes,
            witness,
            check: check.id,
            at,
            server,
            _publish: publish,
            _tasks: tasks,
        };
        for node in 0..2 {
            world
                .sees(node, "all three report success", |check| {
                    check.observers.len() == 3
                        && check.observers.values().all(|report| report.success)
                })
                .await;
        }
        world
    }

    async fn sees(&self, node: usize, what: &str, is_so: impl Fn(&CheckObserved) -> bool) {
        let mut observed = self.nodes[node].observed();
        let id = self.check.clone();
        until(&mut observed, what, |all| all.get(&id).is_some_and(&is_so)).await;
    }

    fn healthy(&self, node: usize) -> bool {
        self.nodes[node].view().borrow().checks[&self.check]
    }

    fn blind(&self, observer: usize, blind: bool) {
        self.eyes[observer].0.store(blind, Ordering::SeqCst);
    }

    async fn kill(&mut self) {
        self.server.shutdown().await;
    }

    async fn revive(&mut self) {
        let listener = TcpListener::bind(self.at).await.unwrap();
        self.server
            .spawn(answer_all(listener, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    }

    async fn end(self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
        self.witness.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_is_unhealthy_everywhere_until_it_lives_again() {
    let mut world = World::new().await;
    world.kill().await;
    for node in 0..2 {
        world
            .sees(node, "it is down", |check| !check.healthy && check.quorum)
            .await;
    }
    world.revive().await;
    for node in 0..2 {
        world.sees(node, "it is up", |check| check.healthy).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_blind_observer_changes_nothing() {
    let world = World::new().await;
    for blind in 0..3 {
        let name = ["us-east-1", "us-west-2", WITNESS][blind];
        world.blind(blind, true);
        for node in 0..2 {
            world
                .sees(node, "it says it sees nothing", |check| {
                    !check.observers[name].healthy
                })
                .await;
            assert!(world.healthy(node), "{name}");
        }
        world.blind(blind, false);
        for node in 0..2 {
            world
                .sees(node, "it sees again", |check| check.observers[name].healthy)
                .await;
        }
    }
    // Two blind observers are a majority.
    world.blind(1, true);
    world.blind(2, true);
    for node in 0..2 {
        world
            .sees(node, "a majority says it is down", |check| !check.healthy)
            .await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_cut_off_keeps_its_verdict_and_adopts_the_others() {
    let mut world = World::new().await;
    world.wan.cut(&["us-east-1"]);
    world.blind(0, true);
    world
        .sees(0, "it is alone and blind", |check| {
            !check.quorum && check.observers.len() == 1 && !check.observers["us-east-1"].healthy
        })
        .await;
    world
        .sees(1, "it hears two", |check| {
            check.quorum && check.observers.len() == 2
        })
        .await;
    assert!(world.healthy(0) && world.healthy(1), "nobody failed over");

    world.kill().await;
    world
        .sees(1, "the majority's side changes", |check| !check.healthy)
        .await;
    assert!(world.healthy(0), "the side that is cut off does not");
    // Even when it sees an endpoint that the others do not.
    world.wan.cut(&[]);
    world
        .sees(0, "it adopts the majority's", |check| {
            !check.healthy && check.quorum
        })
        .await;

    world.wan.cut(&["us-east-1"]);
    world.sees(0, "alone again", |check| !check.quorum).await;
    world.blind(0, false);
    world.revive().await;
    world
        .sees(1, "the majority sees it again", |check| check.healthy)
        .await;
    world
        .sees(0, "so does it, without a vote", |check| {
            check.observers["us-east-1"].healthy
        })
        .await;
    assert!(!world.healthy(0), "it cannot bring it back by itself");
    world.wan.cut(&[]);
    world.sees(0, "together again", |check| check.healthy).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_survives_a_restart_without_peers() {
    let directory = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let check = check(endpoint(gone));
    let config = ChecksConfig {
        state: Some(directory.path().join("verdicts.json")),
        ..ChecksConfig::default()
    };
    let (_publish, snapshots) = watch::channel(snapshot(std::slice::from_ref(&check)));
    let network: Arc<dyn Network> = Arc::new(Eyes::default());
    let (mesh, _carrier) = Mesh::new();
    let alone = Arc::new(Topology::single("us-east-1"));
    let first = Checks::start(
        Arc::clone(&network),
        snapshots.clone(),
        alone,
        mesh,
        config.clone(),
    )
    .unwrap();
    let id = check.id.clone();
    until(&mut first.view(), "it is down", |view| {
        view.checks.get(&id) == Some(&false)
    })
    .await;
    first.shutdown().await;

    // The endpoint is up now, but one of three observers cannot decide that.
    let listener = TcpListener::bind(gone).await.unwrap();
    tasks.spawn(answer_all(listener, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    let (mesh, _carrier) = Mesh::new();
    let three = topology("us-east-1", &["us-east-1", "us-west-2"], true);
    let second = Checks::start(network, snapshots, three, mesh, config).unwrap();
    let observed = until(&mut second.observed(), "it sees success", |all| {
        all.get(&id)
            .is_some_and(|check| check.observers.values().any(|report| report.success))
    })
    .await;
    assert!(!observed[&id].healthy && !observed[&id].quorum);
    assert!(!second.view().borrow().checks[&id]);
    second.shutdown().await;
}
