//! Targets of other regions, through a gateway, and what happens when a region, group or target is lost.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lath_clock::Clock;
use lath_feed::{GATEWAY_PORT, PeerState, Topology};
use lath_health::{Gateways, Regions};
use lath_mesh::gateway::{connect, target_authority};
use lath_model::id::TargetGroupId;
use lath_model::id::VpcId;
use lath_model::lattice::{Action, WeightedTargetGroup};
use lath_net::Network;
use lath_proxy::ProxyConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::lab::target::Deed;
use crate::lab::world::HOST;
use crate::lab::*;

const WEST: &str = "us-west-2";

/// The mesh's way to gateways.
#[derive(Debug)]
struct ByMesh(Arc<Topology>);

#[async_trait::async_trait]
impl Gateways for ByMesh {
    async fn connect(
        &self,
        network: &Arc<dyn Network>,
        region: &str,
        vpc: &VpcId,
        to: SocketAddr,
        timeout: std::time::Duration,
    ) -> std::io::Result<TcpStream> {
        let gateway = self.0.gateway(region).unwrap();
        connect(network, gateway, &target_authority(vpc, to), timeout).await
    }
}

/// The other region: its gateway, and the state of the link to it.
struct West {
    peers: watch::Sender<Arc<BTreeMap<String, PeerState>>>,
    topology: Arc<Topology>,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for West {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl West {
    async fn start() -> Self {
        let link: Ipv4Addr = place().0;
        let mut topology = Topology::single("us-east-1");
        let mut place = topology.regions["us-east-1"].clone();
        place.link = link;
        topology.regions.insert(WEST.to_owned(), place);
        let listener = TcpListener::bind((link, GATEWAY_PORT)).await.unwrap();
        let asked = Arc::default();
        let task = tokio::spawn(gateway(listener, Arc::clone(&asked)));
        let west = Self {
            peers: watch::channel(Arc::default()).0,
            topology: Arc::new(topology),
            asked,
            task,
        };
        west.link(true);
        west
    }

    fn link(&self, connected: bool) {
        let state = PeerState {
            connected,
            since: Clock::system().now(),
            values: lath_feed::Values::new(),
        };
        let peers = BTreeMap::from([(WEST.to_owned(), state)]);
        self.peers.send_replace(Arc::new(peers));
    }

    fn config(&self) -> ProxyConfig {
        ProxyConfig {
            regions: Some(Regions {
                gateways: Arc::new(ByMesh(Arc::clone(&self.topology))),
                peers: self.peers.subscribe(),
            }),
            // Generous, for slow machines.
            connect_timeout: std::time::Duration::from_secs(2),
            remote_connect_timeout: std::time::Duration::from_secs(10),
            tick: std::time::Duration::from_millis(20),
            flush: std::time::Duration::from_millis(50),
            ..ProxyConfig::extended()
        }
    }
}

/// Takes `CONNECT 127.0.0.1.vpc-….target.lath:80` and leads there.
async fn gateway(listener: TcpListener, asked: Arc<std::sync::Mutex<Vec<String>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let authority = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (host, port) = authority.rsplit_once(':').unwrap();
            let address = host.split(".vpc-").next().unwrap();
            let mut target = TcpStream::connect(format!("{address}:{port}")).await?;
            asked.lock().unwrap().push(authority);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            copy_bidirectional(&mut stream, &mut target).await
        });
    }
}

fn share(group: &TargetGroupId, weight: u32) -> WeightedTargetGroup {
    WeightedTargetGroup {
        target_group: group.clone(),
        weight,
    }
}

/// A service that forwards to a group here and one in the west, by these weights.
fn world(east: SocketAddr, west: SocketAddr, weights: (u32, u32)) -> (World, [TargetGroupId; 2]) {
    let mut world = World::new();
    let groups = [world.group(&[east]), world.group(&[west])];
    world.target_group(&groups[1]).region = Some(WEST.to_owned());
    let shares = vec![share(&groups[0], weights.0), share(&groups[1], weights.1)];
    world.default_action(Action::Forward(shares));
    (world, groups)
}

#[tokio::test]
async fn a_lost_region_costs_no_request() {
    let (east, west) = (Target::named("east").await, Target::named("west").await);
    let region = West::start().await;
    let (world, groups) = world(east.at, west.at, (50, 50));
    let lab = Lab::start(region.config(), &world).await;
    let mut client = Client::connect(world.at).await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(client.get(HOST, "/").await.unwrap().body);
    }
    assert!(seen.contains(&"east".to_owned()) && seen.contains(&"west".to_owned()));
    let vpc = world.snapshot.target_groups[&groups[1]].vpc.clone();
    let authority = format!("127.0.0.1.{vpc}.target.lath:{}", west.at.port());
    assert_eq!(region.asked.lock().unwrap()[0], authority);
    let head = west.last().head;
    let told = header(&head, "x-amzn-lattice-target").unwrap();
    assert!(told.contains(groups[1].as_str()), "{told}");

    region.link(false);
    let before = west.count();
    eventually("the pool into the region is dropped", || {
        let open = format!(
            "lath_target_group_connections_open{{target_group=\"{}\"}} 0\n",
            groups[1]
        );
        lab.handle.prometheus().contains(&open)
    })
    .await;
    for _ in 0..10 {
        let got = client.get(HOST, "/").await.unwrap();
        assert_eq!((got.status, got.body.as_str()), (200, "east"));
    }
    assert_eq!(west.count(), before);

    region.link(true);
    let mut back = false;
    while !back {
        back = client.get(HOST, "/").await.unwrap().body == "west";
    }
}

#[tokio::test]
async fn a_request_that_waits_in_a_lost_region_is_answered_elsewhere() {
    let east = Target::named("east").await;
    let west = Target::start(|_| Deed::Silence).await;
    let region = West::start().await;
    let (world, _) = world(east.at, west.at, (0, 100));
    let _lab = Lab::start(region.config(), &world).await;
    let asking = tokio::spawn(get(world.at, HOST, "/slow"));
    eventually("the request arrives", || west.count() == 1).await;
    region.link(false);
    let got = asking.await.unwrap();
    assert_eq!((got.status, got.body.as_str()), (200, "east"));
}

#[tokio::test]
async fn groups_stand_in_for_one_another_only_where_that_is_asked_for() {
    use lath_feed::TargetHealth::{Healthy, Unhealthy};
    let (east, west) = (Target::named("east").await, Target::named("west").await);
    let region = West::start().await;
    for (name, failover, weights, health, want) in [
        ("both work", true, (1, 0), (Healthy, Healthy), "east"),
        (
            "the reserve takes over",
            true,
            (1, 0),
            (Unhealthy, Healthy),
            "west",
        ),
        ("nobody works", true, (1, 0), (Unhealthy, Unhealthy), "east"),
        (
            "the other takes all",
            true,
            (99, 1),
            (Unhealthy, Healthy),
            "west",
        ),
        ("as AWS does", false, (1, 0), (Unhealthy, Healthy), "east"),
    ] {
        let (mut world, groups) = world(east.at, west.at, weights);
        for (group, at, health) in [
            (&groups[0], east.at, health.0),
            (&groups[1], west.at, health.1),
        ] {
            world.target_group(group).health_check = Some(world::health_check());
            world.set_health(group, at, health);
        }
        let config = ProxyConfig {
            failover,
            ..region.config()
        };
        let _lab = Lab::start(config, &world).await;
        for _ in 0..4 {
            assert_eq!(get(world.at, HOST, "/").await.body, want, "{name}");
        }
    }
}

/// A port that completes no handshake: what arrives is dropped, as if the host were gone.
fn blackhole() -> (SocketAddr, Vec<socket2::Socket>) {
    let new = || {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let listener = new();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let at = listener.local_addr().unwrap().as_socket().unwrap();
    let mut held = vec![listener];
    for _ in 0..4 {
        let socket = new();
        let _ = socket.connect(&at.into());
        held.push(socket);
    }
    (at, held)
}

#[tokio::test]
async fn a_silent_group_is_left_for_another_before_a_byte_is_sent() {
    let (silent, _held) = blackhole();
    let west = Target::named("west").await;
    let region = West::start().await;
    let (world, groups) = world(silent, west.at, (100, 0));
    let config = ProxyConfig {
        connect_timeout: std::time::Duration::from_millis(100),
        ejection: std::time::Duration::from_secs(3600),
        ..region.config()
    };
    let lab = Lab::start(config, &world).await;
    let post = "POST / HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 2\r\n\r\nhi";
    let mut client = Client::connect(world.at).await;
    for _ in 0..5 {
        assert_eq!(client.ask(post).await.unwrap().body, "west");
    }
    let text = lab.handle.prometheus();
    let tried = format!(
        "lath_target_group_connection_errors_total{{target_group=\"{}\"}} 1\n",
        groups[0]
    );
    assert!(text.contains(&tried), "{text}");
}

/// Runs a test in a network of its own, with nothing but `lo`; without privileges, not at all.
fn alone(test: impl Future<Output = ()> + Send + 'static) {
    let run = move || {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("SKIPPED: a network of one's own needs privileges");
            return;
        }
        command("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(test);
    };
    std::thread::spawn(run).join().unwrap();
}

fn command(program: &str, words: &[&str]) {
    let status = std::process::Command::new(program).args(words).status();
    assert!(status.unwrap().success(), "{program} {words:?}");
}

#[test]
fn a_host_that_falls_silent_costs_no_request_on_open_connections() {
    alone(async {
        let name = |name: &'static str| move |_: &target::Got| ok(name);
        let lives = Target::start_at("127.0.0.2:80".parse().unwrap(), name("lives")).await;
        let dies = Target::start_at("127.0.0.3:80".parse().unwrap(), name("dies")).await;
        let (world, _) = World::forwarding(&[lives.at, dies.at]);
        let config = ProxyConfig {
            tick: std::time::Duration::from_millis(20),
            ..ProxyConfig::extended()
        };
        let _lab = Lab::start(config, &world).await;
        let mut client = Client::connect(world.at).await;
        for _ in 0..4 {
            assert_eq!(client.get(HOST, "/").await.unwrap().status, 200);
        }
        assert!(dies.count() > 0);
        command(
            "nft",
            &[
                "add table ip t; add chain ip t c { type filter hook input priority 0; }; \
                          add rule ip t c ip daddr 127.0.0.3 drop; add rule ip t c ip saddr 127.0.0.3 drop",
            ],
        );
        for _ in 0..20 {
            let got = client.get(HOST, "/").await.unwrap();
            assert_eq!((got.status, got.body.as_str()), (200, "lives"));
        }
    });
}
