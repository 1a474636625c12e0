//! Two cells in real namespaces: links, values, connections through the gateway.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "../../tunnel/tests/lab/mod.rs"]
mod lab;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lab::{End, PATIENCE, ends};
use lath_feed::*;
use lath_mesh::{Links, Underlay, carry, gateway};
use lath_net::{Kind, Network, Place, new_socket};
use lath_tunnel::public_key;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const REGIONS: [&str; 2] = ["us-east-1", "us-west-2"];

/// A cell: its end of the cable, what it knows, and what runs for it.
struct Cell {
    end: End,
    topology: Arc<Topology>,
    network: Arc<dyn Network>,
    links: Option<(CancellationToken, JoinHandle<()>)>,
    /// The topology's path to the underlay is good as long as this is open.
    _pin: OwnedFd,
}

/// Its underlay; its VPCs are all the namespace behind it.
struct Places {
    underlay: Underlay,
    inner: std::fs::File,
}

#[async_trait::async_trait]
impl Network for Places {
    async fn socket(
        &self,
        place: &Place,
        domain: socket2::Domain,
        kind: Kind,
    ) -> io::Result<socket2::Socket> {
        let Place::Vpc(_) = place else {
            return self.underlay.socket(place, domain, kind).await;
        };
        let inside = || {
            nix::sched::setns(&self.inner, nix::sched::CloneFlags::CLONE_NEWNET)?;
            new_socket(domain, kind)
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }
}

fn topology(ends: &[End; 2], number: usize, underlay: std::path::PathBuf) -> Topology {
    let place = |end: &End| RegionPlace {
        underlay: end.address.into(),
        link: end.link.into(),
        public_key: public_key(&end.key),
        public_pool: "198.18.0.0/19".parse().unwrap(),
    };
    let places = ends.iter().map(place);
    Topology {
        region: REGIONS[number].into(),
        home: REGIONS[0].into(),
        regions: REGIONS.map(String::from).into_iter().zip(places).collect(),
        witness: None,
        underlay: Some(underlay),
    }
}

fn cells() -> Option<[Cell; 2]> {
    let ends = ends(9216)?;
    let pins = ends.each_ref().map(|end| end.underlay.fd());
    let topologies = [0, 1].map(|number: usize| {
        let pin = pins[number].as_raw_fd();
        let path = format!("/proc/{}/fd/{pin}", std::process::id());
        Arc::new(topology(&ends, number, path.into()))
    });
    let cell = |((end, pin), topology): ((End, OwnedFd), Arc<Topology>)| Cell {
        network: Arc::new(Places {
            underlay: Underlay::of(&topology),
            inner: end.inner.fd().into(),
        }),
        end,
        topology,
        links: None,
        _pin: pin,
    };
    let mut both = ends.into_iter().zip(pins).zip(topologies).map(cell);
    Some([both.next().unwrap(), both.next().unwrap()])
}

impl Cell {
    fn link(&mut self) {
        let network = Arc::clone(&self.network);
        let links = Links::new(
            Arc::clone(&self.topology),
            self.end.key.clone(),
            network,
            lath_clock::Clock::system(),
        );
        let stop = CancellationToken::new();
        self.links = Some((stop.clone(), tokio::spawn(links.run(stop))));
    }

    /// As when its node dies.
    async fn unlink(&mut self) {
        let (stop, running) = self.links.take().unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    fn mesh(&self, port: u16) -> Mesh {
        let (mesh, carrier) = Mesh::new();
        let (topology, network) = (Arc::clone(&self.topology), Arc::clone(&self.network));
        tokio::spawn(carry(
            topology,
            port,
            network,
            carrier,
            lath_clock::Clock::system(),
            CancellationToken::new(),
        ));
        mesh
    }
}

async fn see(mesh: &Mesh, what: &str, wanted: impl Fn(&PeerState) -> bool) {
    let mut peers = mesh.peers();
    let seen = peers.wait_for(|peers| peers.values().next().is_some_and(&wanted));
    let seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
    let now: BTreeMap<_, _> = mesh
        .peers()
        .borrow()
        .iter()
        .map(|(name, peer)| {
            let topics: Vec<_> = peer
                .values
                .iter()
                .map(|(t, v)| (t.clone(), v.len()))
                .collect();
            (name.clone(), (peer.connected, topics))
        })
        .collect();
    assert!(seen, "{what}: {now:?}");
}

fn has(peer: &PeerState, topic: &str, value: &'static [u8]) -> bool {
    peer.values.get(topic).is_some_and(|known| known == value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_values_arrive_through_cuts_and_deaths() {
    let Some(mut cells) = cells() else { return };
    let meshes = cells.each_ref().map(|cell| cell.mesh(CONTROL_PORT));
    meshes[0].publish("early", Bytes::from_static(b"told before there was a link"));
    cells.iter_mut().for_each(Cell::link);
    for mesh in &meshes {
        see(mesh, "connected", |peer| peer.connected).await;
    }
    let early = |peer: &PeerState| has(peer, "early", b"told before there was a link");
    see(&meshes[1], "the early value", early).await;
    let since = |mesh: &Mesh| mesh.peers().borrow().values().next().map(|it| it.since);
    // On a machine that stalls for a second heartbeats are lost all the same, but not every time.
    let mut is_calm = false;
    for round in 1..=10 {
        let before = meshes.each_ref().map(since);
        let small = [round];
        meshes[1].publish("large", Bytes::from(vec![round; 64 << 20]));
        meshes[1].publish("too large", Bytes::from(vec![7; LONGEST_VALUE + 1]));
        meshes[1].publish("small", Bytes::copy_from_slice(&small));
        see(&meshes[0], "all that fit", |peer| {
            let is_large = |it: &Bytes| it.len() == 64 << 20 && it[0] == round;
            peer.values.get("small").is_some_and(|it| it[..] == small)
                && peer.values.get("large").is_some_and(is_large)
        })
        .await;
        is_calm = before == meshes.each_ref().map(since);
        if is_calm {
            break;
        }
    }
    assert!(is_calm, "large values keep heartbeats from arriving");

    cells[0].end.underlay.ip("link set wan down");
    for mesh in &meshes {
        see(mesh, "cut", |peer| !peer.connected).await;
    }
    see(&meshes[1], "kept", early).await;
    meshes[1].publish("small", Bytes::from_static(b"2"));
    meshes[1].publish("small", Bytes::from_static(b"3"));
    cells[0].end.underlay.ip("link set wan up");
    see(&meshes[0], "mended", |peer| {
        peer.connected && has(peer, "small", b"3")
    })
    .await;

    // Only one of the two directions is lost: both sides see that they cannot speak.
    let nft = |words: &str| {
        let run = || {
            std::process::Command::new("nft")
                .args(words.split(' '))
                .status()
        };
        assert!(cells[0].end.underlay.run(run).unwrap().success(), "{words}");
    };
    nft("add table ip cut");
    nft("add chain ip cut in { type filter hook prerouting priority 0 ; }");
    nft("add rule ip cut in udp dport 51820 drop");
    for mesh in &meshes {
        see(mesh, "cut one way", |peer| !peer.connected).await;
    }
    nft("delete table ip cut");
    for mesh in &meshes {
        see(mesh, "mended again", |peer| peer.connected).await;
    }

    cells[1].unlink().await;
    for mesh in &meshes {
        see(mesh, "the node died", |peer| !peer.connected).await;
    }
    meshes[0].publish("early", Bytes::from_static(b"late"));
    cells[1].link();
    see(&meshes[1], "a new node", |peer| {
        peer.connected && has(peer, "early", b"late")
    })
    .await;

    // The control process of one side starts anew: it gets everything again, and nothing is forgotten.
    let anew = cells[0].mesh(NODE_PORT);
    see(&anew, "nobody there", |peer| !peer.connected).await;
    let other = cells[1].mesh(NODE_PORT);
    other.publish("node", Bytes::from_static(b"here"));
    see(&anew, "the other one", |peer| {
        peer.connected && has(peer, "node", b"here")
    })
    .await;
    assert!(
        !meshes[0].peers().borrow()[REGIONS[1]]
            .values
            .contains_key("too large")
    );
    assert!(
        !meshes[0].peers().borrow()[REGIONS[1]]
            .values
            .contains_key("node")
    );
}

/// A region with targets that are there and not, and one of another region.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot {
        region: REGIONS[1].into(),
        ..Snapshot::default()
    };
    let group = |id: &str, region: Option<&str>, address: &str| TargetGroup {
        id: id.parse().unwrap(),
        arn: String::new(),
        name: String::new(),
        vpc: "vpc-00000000000000001".parse().unwrap(),
        region: region.map(String::from),
        protocol: lath_model::lattice::TargetProtocol::Tcp,
        protocol_version: None,
        health_check: None,
        balancing: None,
        tls: None,
        in_use: true,
        targets: [(
            TargetKey {
                id: address.into(),
                port: 8080,
            },
            Target {
                address: Some(address.parse().unwrap()),
                draining_since: None,
            },
        )]
        .into(),
    };
    for group in [
        group("tg-00000000000000001", None, "10.0.1.10"),
        group("tg-00000000000000002", Some(REGIONS[0]), "10.0.1.11"),
        group("tg-00000000000000003", None, "10.0.1.12"),
    ] {
        snapshot
            .target_groups
            .insert(group.id.clone(), Arc::new(group));
    }
    snapshot
}

/// Answers each connection with what it said, in capitals.
fn shout(end: &End, at: &str) {
    let at: SocketAddr = at.parse().unwrap();
    let listener = end.inner.run(|| TcpListener::bind(at).unwrap());
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, from) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut said = Vec::new();
                stream.read_to_end(&mut said).await.unwrap();
                let answer = format!("{} {}", from.ip(), said.to_ascii_uppercase().escape_ascii());
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
}

async fn ask(cell: &Cell, authority: &str) -> io::Result<String> {
    let at = cell.topology.gateway(REGIONS[1]).unwrap();
    let mut stream = gateway::connect(&cell.network, at, authority, PATIENCE).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_leads_to_what_the_snapshot_names_and_nowhere_else() {
    let Some(mut cells) = cells() else { return };
    cells.iter_mut().for_each(Cell::link);
    let [asking, serving] = &cells;
    for address in ["169.254.171.1/32", "10.0.1.10/32", "10.0.1.11/32"] {
        serving.end.inner.ip(&format!("addr add {address} dev lo"));
    }
    for at in ["10.0.1.10:8080", "10.0.1.10:22", "10.0.1.11:8080"] {
        shout(&serving.end, at);
    }
    let (_feed, snapshots) = tokio::sync::watch::channel(Arc::new(snapshot()));
    let stop = CancellationToken::new();
    let (topology, network) = (Arc::clone(&serving.topology), Arc::clone(&serving.network));
    let running = tokio::spawn(gateway::serve(topology, network, snapshots, stop.clone()));
    let vpc = "vpc-00000000000000001".parse().unwrap();
    let target = |at: &str| gateway::target_authority(&vpc, at.parse().unwrap());

    let deadline = std::time::Instant::now() + PATIENCE;
    let first = loop {
        match ask(asking, &target("10.0.1.10:8080")).await {
            Err(error) if std::time::Instant::now() < deadline => {
                eprintln!("not yet: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => break other.unwrap(),
        }
    };
    assert_eq!(first, "169.254.171.1 HELLO");
    for (name, authority, want) in [
        (
            "another port",
            target("10.0.1.10:22"),
            io::ErrorKind::NotFound,
        ),
        (
            "another region's",
            target("10.0.1.11:8080"),
            io::ErrorKind::NotFound,
        ),
        ("nobody's", target("10.0.9.9:8080"), io::ErrorKind::NotFound),
        (
            "another VPC",
            "10.0.1.10.vpc-00000000000000002.target.lath:8080".into(),
            io::ErrorKind::NotFound,
        ),
        (
            "no VPC",
            "10.0.1.10.target.lath:8080".into(),
            io::ErrorKind::NotFound,
        ),
        (
            "not there",
            target("10.0.1.12:8080"),
            io::ErrorKind::ConnectionRefused,
        ),
        (
            "no service",
            gateway::service_authority("a.example.", 80),
            io::ErrorKind::NotFound,
        ),
        ("nonsense", "a b".into(), io::ErrorKind::InvalidData),
    ] {
        let error = ask(asking, &authority).await.unwrap_err();
        assert_eq!(error.kind(), want, "{name}: {error}");
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_no_word() {
    let Some(mut cells) = cells() else { return };
    cells.iter_mut().for_each(Cell::link);
    let meshes = cells.each_ref().map(|cell| cell.mesh(CONTROL_PORT));
    see(&meshes[0], "connected", |peer| peer.connected).await;
    // Across the same cable, but not through the link: the address answers, the cell does not.
    cells[0].end.underlay.ip("route del 100.65.1.1 dev link1");
    cells[0]
        .end
        .underlay
        .ip("route add 100.65.1.1 via 100.64.1.1 dev wan");
    for from in [None, Some(cells[1].end.link)] {
        let cell = &cells[usize::from(from.is_some())];
        let to = SocketAddr::from((cells[1].end.link, CONTROL_PORT));
        let place = Place::Underlay;
        let stream = lath_net::connect(&cell.network, &place, None, to, PATIENCE).await;
        let mut stream = stream.unwrap();
        let mut said = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said));
        let ended = ended.await.unwrap();
        assert!(said.is_empty(), "{from:?}: {ended:?} {said:?}");
    }
}
