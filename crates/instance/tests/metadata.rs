//! The metadata service on real sockets: VPCs come and go.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lath_feed::{
    Instance, InstanceMetadata, Interface, InterfaceAddress, Power, RootSource, Snapshot, Vpc,
};
use lath_instance::metadata::MetadataService;
use lath_model::Timestamp;
use lath_model::id::{ImageId, InstanceId, NetworkInterfaceId, ReservationId, SubnetId, VpcId};
use lath_net::{HostNetwork, Kind, Network, Place};
use socket2::{Domain, Socket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

/// The host's network, once it is there.
struct Late(AtomicBool);

#[async_trait]
impl Network for Late {
    async fn socket(&self, place: &Place, domain: Domain, kind: Kind) -> io::Result<Socket> {
        if self.0.load(Ordering::SeqCst) {
            HostNetwork.socket(place, domain, kind).await
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn snapshot(vpc: &VpcId) -> Arc<Snapshot> {
    let network = Vpc {
        id: vpc.clone(),
        owner: "123456789012".into(),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        dns_support: true,
        dns_hostnames: false,
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    };
    Arc::new(Snapshot {
        vpcs: lath_feed::Items::from([(vpc.clone(), Arc::new(network))]),
        ..Snapshot::default()
    })
}

#[tokio::test]
async fn listeners_follow_the_vpcs() {
    let network = Arc::new(Late(AtomicBool::new(false)));
    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let at = free_address();
    let service = MetadataService::new(network.clone(), snapshots).with_address(at);
    let mut bound = service.bound();
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));
    let vpc = VpcId::random();
    publish.send(snapshot(&vpc)).unwrap();
    let failed = bound.wait_for(|bound| bound.get(&vpc).is_some_and(Result::is_err));
    tokio::time::timeout(DEADLINE, failed)
        .await
        .unwrap()
        .unwrap();
    network.0.store(true, Ordering::SeqCst);
    let ready = bound.wait_for(|bound| bound.get(&vpc).is_some_and(Result::is_ok));
    tokio::time::timeout(DEADLINE, ready)
        .await
        .unwrap()
        .unwrap();

    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(at)?;
        stream.write_all(
            b"GET /latest/meta-data/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    });
    let answer = answer.await.unwrap().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 404"),
        "strangers get nothing: {answer}"
    );

    publish.send(Arc::new(Snapshot::default())).unwrap();
    let gone = bound.wait_for(BTreeMap::is_empty);
    tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap();
    let closed = async {
        while tokio::net::TcpStream::connect(at).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, closed).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}

/// An instance at an address.
fn add_instance(snapshot: &mut Snapshot, vpc: &VpcId, address: [u8; 4]) -> InstanceId {
    let id = InstanceId::random();
    let interface = Interface {
        id: NetworkInterfaceId::random(),
        subnet: SubnetId::random(),
        mac: "02:00:0a:00:01:0a".into(),
        addresses: vec![InterfaceAddress {
            private: address.into(),
            public: None,
        }],
        security_groups: Default::default(),
        source_dest_check: true,
        attachment: Some((id.clone().into(), 0).into()),
        prefixes: Vec::new(),
        branches: Vec::new(),
    };
    let instance = Instance {
        id: id.clone(),
        vpc: vpc.clone(),
        power: Power::On,
        boot: 1,
        root: RootSource::Host,
        capacity: Default::default(),
        hostname: "host".into(),
        resource_name: None,
        user_data: vec![],
        kind: Default::default(),
        cluster: None,
        metadata: InstanceMetadata {
            image: ImageId::random(),
            instance_type: "t3.medium".into(),
            reservation: ReservationId::random(),
            launch_index: 0,
            launched_at: Timestamp::from_millis(0),
            key: None,
            availability_zone: "us-east-1a".into(),
            tags: None,
            tokens_required: false,
            hop_limit: 1,
            enabled: true,
            profile: None,
        },
    };
    let mut network = (*snapshot.vpcs[vpc]).clone();
    network.interfaces.insert(interface.id.clone(), interface);
    snapshot.vpcs.insert(vpc.clone(), Arc::new(network));
    snapshot.instances.insert(id.clone(), Arc::new(instance));
    id
}

/// A connection from an instance's address.
async fn from(address: [u8; 4], to: SocketAddr) -> tokio::net::TcpStream {
    let network: Arc<dyn Network> = Arc::new(HostNetwork);
    let from = Some(address.into());
    lath_net::connect(&network, &Place::Host, from, to, DEADLINE)
        .await
        .unwrap()
}

/// What the service says to a question on a connection that stays open.
async fn ask(stream: &mut tokio::net::TcpStream, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer));
    let length = read.await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn an_instance_cannot_take_all_connections() {
    use tokio::io::AsyncWriteExt as _;
    lath_net::descriptors::raise().unwrap();
    let vpc = VpcId::random();
    let (greedy, modest) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    let mut world = (*snapshot(&vpc)).clone();
    add_instance(&mut world, &vpc, greedy);
    let id = add_instance(&mut world, &vpc, modest);
    let (_publish, snapshots) = watch::channel(Arc::new(world));
    let at = free_address();
    let service = MetadataService::new(Arc::new(HostNetwork), snapshots).with_address(at);
    let mut bound = service.bound();
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));
    let ready = bound.wait_for(|bound| bound.get(&vpc).is_some_and(Result::is_ok));
    tokio::time::timeout(DEADLINE, ready)
        .await
        .unwrap()
        .unwrap();

    let path = "/latest/meta-data/instance-id";
    let mut early = from(modest, at).await;
    assert!(ask(&mut early, path).await.ends_with(id.as_str()));
    let mut held = Vec::new();
    for n in 0..2000 {
        let mut stream = from(greedy, at).await;
        if n % 2 == 0 {
            // It may have been hung up on already.
            let _ = stream.write_all(b"GET /latest/meta-d").await;
        }
        held.push(stream);
    }
    assert!(ask(&mut early, path).await.ends_with(id.as_str()));
    let mut late = from(modest, at).await;
    assert!(ask(&mut late, path).await.ends_with(id.as_str()));
    let mut own = from(greedy, at).await;
    assert!(ask(&mut own, path).await.starts_with("HTTP/1.1 200"));
    stop.cancel();
    running.await.unwrap();
}

/// One instance, which has the loopback address.
fn inhabited(vpc: &VpcId, hop_limit: u8) -> Arc<Snapshot> {
    let mut all = (*snapshot(vpc)).clone();
    let id = add_instance(&mut all, vpc, [127, 0, 0, 1]);
    let instance = Arc::make_mut(all.instances.get_mut(&id).unwrap());
    instance.metadata.hop_limit = hop_limit;
    Arc::new(all)
}

/// Hears every packet of the loopback link.
fn ear() -> Socket {
    let every = (libc::ETH_P_ALL as u16).to_be();
    let kind = socket2::Type::from(libc::SOCK_DGRAM);
    let socket = Socket::new(
        Domain::from(libc::AF_PACKET),
        kind,
        Some(socket2::Protocol::from(i32::from(every))),
    );
    let socket = socket.unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// The time to live of the first packet with data that comes from a port.
fn time_to_live(ear: &Socket, port: u16) -> u8 {
    use std::io::Read;
    let mut packet = [0; 65_536];
    loop {
        let length = (&*ear).read(&mut packet).unwrap();
        let (head, tcp) = packet[..length].split_at(20.min(length));
        let is_from = tcp.get(..2) == Some(&port.to_be_bytes()[..]);
        let data = tcp
            .get(12)
            .is_some_and(|it| tcp.len() > usize::from(it >> 4) * 4);
        if head.first() == Some(&0x45) && head[9] == 6 && is_from && data {
            return head[8];
        }
    }
}

#[tokio::test]
async fn a_token_takes_no_more_hops_than_the_instance_allows() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: hearing packets needs root");
        return;
    }
    let network = Arc::new(Late(AtomicBool::new(true)));
    let vpc = VpcId::random();
    let (publish, snapshots) = watch::channel(inhabited(&vpc, 1));
    let at = free_address();
    let service = MetadataService::new(network, snapshots).with_address(at);
    let mut bound = service.bound();
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));
    let ready = bound.wait_for(|bound| bound.get(&vpc).is_some_and(Result::is_ok));
    tokio::time::timeout(DEADLINE, ready)
        .await
        .unwrap()
        .unwrap();
    const TOKEN: &str = "PUT /latest/api/token";
    const OTHER: &str = "GET /latest/meta-data/";
    for (limit, requests, want) in [
        (1, &[TOKEN][..], 1),
        (3, &[TOKEN], 3),
        (1, &[OTHER], 64),
        // The token may be sent again while another answer is.
        (2, &[TOKEN, OTHER], 2),
    ] {
        publish.send(inhabited(&vpc, limit)).unwrap();
        let heard = tokio::task::spawn_blocking(move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(at).unwrap();
            let headers = "host: x\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
            let heard = requests.iter().map(|request| {
                let ear = ear();
                write!(stream, "{request} HTTP/1.1\r\n{headers}").unwrap();
                let heard = time_to_live(&ear, at.port());
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                heard
            });
            heard.last().unwrap()
        });
        assert_eq!(heard.await.unwrap(), want, "{requests:?}, limit {limit}");
    }
    stop.cancel();
    running.await.unwrap();
}
