//! The resolver as `dig` sees it, by real sockets on loopback addresses.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "../src/testing.rs"]
mod testing;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record};
use lath_dns::{Bound, Dns, Upstreams};
use lath_feed::{InterfaceAddress, Snapshot, Vpc};
use lath_net::{HostNetwork, Kind, Network, Place};
use testing::{FIRST, SECOND, snapshot};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const WEB: &str = "web-0123456789abcdef0.7d67968.vpc-lattice-svcs.us-east-1.on.aws";

/// For everything that must happen at all.
const GENEROUS: Duration = Duration::from_secs(60);

/// Where the resolver of a VPC listens in tests: one loopback address for each VPC.
fn address_of(vpc: &str, port: u16) -> SocketAddr {
    let last = if vpc == FIRST { 1 } else { 2 };
    (Ipv4Addr::new(127, 0, 53, last), port).into()
}

/// A port that nothing listens at on these addresses just now.
fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.53.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Resolvers that run.
struct Running {
    port: u16,
    feed: watch::Sender<Arc<Snapshot>>,
    bound: watch::Receiver<Bound>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    fn start(network: Arc<dyn Network>, upstreams: Upstreams) -> Self {
        Self::start_at(free_port(), network, upstreams)
    }

    fn start_at(port: u16, network: Arc<dyn Network>, upstreams: Upstreams) -> Self {
        let (feed, snapshots) = watch::channel(Arc::new(snapshot("us-east-1")));
        let addresses = move |vpc: &Vpc| vec![address_of(vpc.id.as_str(), port)];
        let dns = Dns::new(network, snapshots, upstreams).listening_at(addresses);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let bound = dns.bound();
        tasks.spawn(dns.run(stop.clone()));
        Self {
            port,
            feed,
            bound,
            stop,
            tasks,
        }
    }

    /// Gives the instance in the first VPC this address too. Other addresses of loopback are one source.
    fn instance_at(&self, address: [u8; 4]) {
        self.feed.send_modify(|snapshot| {
            let vpcs = &mut Arc::make_mut(snapshot).vpcs;
            let vpc = Arc::make_mut(vpcs.get_mut(&FIRST.parse().unwrap()).unwrap());
            let interface = vpc.interfaces.values_mut().next().unwrap();
            interface.addresses.push(InterfaceAddress {
                private: address.into(),
                public: None,
            });
        });
    }

    /// Waits until what is bound is as wanted.
    async fn until(&mut self, wanted: impl Fn(&Bound) -> bool) {
        let reached = timeout(GENEROUS, self.bound.wait_for(wanted)).await;
        reached.expect("not bound as wanted").unwrap();
    }

    async fn ready(network: Arc<dyn Network>, upstreams: Upstreams) -> Self {
        let mut running = Self::start(network, upstreams);
        running.until(all_listen).await;
        running
    }

    /// What `dig` prints for the arguments, asked in a VPC; in one line, as columns vary.
    async fn dig(&self, vpc: &str, arguments: &str) -> String {
        let server = address_of(vpc, self.port);
        let output = tokio::process::Command::new("dig")
            .arg(format!("@{}", server.ip()))
            .args(["-p", &server.port().to_string(), "+time=30", "+tries=1"])
            .args(["+nocookie"])
            .args(arguments.split_whitespace())
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The reply to bytes by UDP.
    async fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(address_of(FIRST, self.port)).await.unwrap();
        socket.send(bytes).await.unwrap();
        let mut reply = vec![0; 4096];
        let received = timeout(GENEROUS, socket.recv(&mut reply)).await;
        reply.truncate(received.unwrap().unwrap());
        reply
    }
}

fn all_listen(bound: &Bound) -> bool {
    bound.len() == 2 && bound.values().all(Result::is_ok)
}

fn host() -> Arc<dyn Network> {
    Arc::new(HostNetwork)
}

fn nobody() -> Upstreams {
    Upstreams::fixed([])
}

#[tokio::test]
async fn names_of_the_snapshot_are_resolved() {
    let running = Running::ready(host(), nobody()).await;
    for (name, vpc, arguments, wants) in [
        (
            "service",
            FIRST,
            format!("{WEB} A"),
            vec![
                "status: NOERROR",
                "60 IN A 169.254.171.10",
                "flags: qr rd ra;",
            ],
        ),
        (
            "by TCP",
            FIRST,
            format!("{WEB} A +tcp"),
            vec!["169.254.171.10", "(TCP)"],
        ),
        (
            "without EDNS",
            FIRST,
            format!("{WEB} A +noedns"),
            vec!["169.254.171.10", "ADDITIONAL: 0"],
        ),
        (
            "with DO",
            FIRST,
            format!("{WEB} A +dnssec"),
            vec!["169.254.171.10", "flags: do;"],
        ),
        (
            "mixed case",
            FIRST,
            format!("{} A", WEB.to_uppercase()),
            vec!["WEB-0123456789ABCDEF0", "169.254.171.10"],
        ),
        (
            "no IPv6",
            FIRST,
            format!("{WEB} AAAA"),
            vec!["status: NOERROR", "ANSWER: 0", "5 IN SOA ns."],
        ),
        (
            "private",
            FIRST,
            "ip-10-0-1-10.ec2.internal".into(),
            vec!["10.0.1.10"],
        ),
        (
            "not here",
            SECOND,
            "ip-10-0-1-10.ec2.internal".into(),
            vec!["status: NXDOMAIN", "ec2.internal. 5 IN SOA"],
        ),
        (
            "reverse",
            FIRST,
            "-x 10.0.1.10".into(),
            vec!["PTR ip-10-0-1-10.ec2.internal."],
        ),
        (
            "nobody to ask",
            FIRST,
            "example.com".into(),
            vec!["status: SERVFAIL"],
        ),
        (
            "another class",
            FIRST,
            "version.bind TXT CH".into(),
            vec!["status: REFUSED"],
        ),
        (
            "another opcode",
            FIRST,
            "example.com +opcode=notify".into(),
            vec!["status: NOTIMP", "opcode: NOTIFY"],
        ),
        (
            "EDNS version 1",
            FIRST,
            format!("{WEB} +edns=1 +noednsnegotiation"),
            vec!["status: BADVERS"],
        ),
    ] {
        let output = running.dig(vpc, &arguments).await;
        for want in wants {
            assert!(output.contains(want), "{name}: no {want:?} in {output}");
        }
    }
}

#[tokio::test]
async fn a_change_of_the_snapshot_is_seen_at_once() {
    let running = Running::ready(host(), nobody()).await;
    running
        .feed
        .send_modify(|snapshot| Arc::make_mut(snapshot).services.clear());
    let output = running.dig(FIRST, WEB).await;
    assert!(output.contains("status: NXDOMAIN"), "{output}");
}

#[tokio::test]
async fn nonsense_is_refused_and_harms_nobody() {
    let running = Running::ready(host(), nobody()).await;
    let cut = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03we";
    let reply = running.send(cut).await;
    assert_eq!(
        reply[..4],
        [0x12, 0x34, 0x81, 0x01],
        "FORMERR with RD copied"
    );
    let mut stream = TcpStream::connect(address_of(FIRST, running.port))
        .await
        .unwrap();
    stream.write_all(&[0xff, 0xff, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(GENEROUS, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty(), "{closed:?}");
    assert!(running.dig(FIRST, WEB).await.contains("169.254.171.10"));
}

// === forwarding ===

/// A resolver of the host, with odd habits by name.
struct Upstream {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Answers names with this address.
    async fn start(answer: [u8; 4]) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
                let query = Message::from_vec(&bytes[..length]).unwrap();
                for reply in by_udp(&query, answer.into()) {
                    udp.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
                }
            }
        });
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut bytes = vec![0; length.into()];
                stream.read_exact(&mut bytes).await.unwrap();
                let query = Message::from_vec(&bytes).unwrap();
                let reply = long(&query).to_vec().unwrap();
                stream.write_u16(reply.len() as u16).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

fn reply_to(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.queries = query.queries.clone();
    reply.edns = query.edns.clone();
    reply
}

fn with_address(query: &Message, address: Ipv4Addr) -> Message {
    let mut reply = reply_to(query, ResponseCode::NoError);
    let name = query.queries[0].name().clone();
    reply.add_answer(Record::from_rdata(name, 77, RData::A(A(address))));
    reply
}

/// Longer than any UDP answer.
fn long(query: &Message) -> Message {
    let mut reply = reply_to(query, ResponseCode::NoError);
    let name = query.queries[0].name().clone();
    for n in 0..40 {
        let text = TXT::new(vec![format!("{n:02}{}", "x".repeat(198))]);
        reply.add_answer(Record::from_rdata(name.clone(), 77, RData::TXT(text)));
    }
    reply
}

fn by_udp(query: &Message, address: Ipv4Addr) -> Vec<Message> {
    let name = query.queries[0].name();
    let right = with_address(query, address);
    match name.to_ascii().as_str() {
        "silent.example." => vec![],
        "broken.example." if address.octets()[3] == 1 => {
            vec![reply_to(query, ResponseCode::ServFail)]
        }
        "absent.example." => vec![reply_to(query, ResponseCode::NXDomain)],
        "long.example." => {
            let mut reply = reply_to(query, ResponseCode::NoError);
            reply.metadata.truncation = true;
            vec![reply]
        }
        "forged.example." => {
            let mut other_number = with_address(query, Ipv4Addr::new(6, 6, 6, 6));
            other_number.metadata.id ^= 1;
            let mut other_question = with_address(query, Ipv4Addr::new(6, 6, 6, 6));
            other_question.queries[0].set_name(Name::from_ascii("x.example.").unwrap());
            vec![other_number, other_question, right]
        }
        _ => vec![right],
    }
}

#[tokio::test]
async fn other_names_are_asked_of_the_host() {
    let (first, second) = (
        Upstream::start([192, 0, 2, 1]).await,
        Upstream::start([192, 0, 2, 2]).await,
    );
    let upstreams = Upstreams::fixed([first.address, second.address]);
    let running = Running::ready(host(), upstreams).await;
    for (name, arguments, wants) in [
        (
            "usual",
            "a.example",
            vec!["77 IN A 192.0.2.1", "status: NOERROR"],
        ),
        (
            "without EDNS",
            "a.example +noedns",
            vec!["192.0.2.1", "ADDITIONAL: 0"],
        ),
        ("by TCP", "a.example +tcp", vec!["192.0.2.1"]),
        ("absent", "absent.example", vec!["status: NXDOMAIN"]),
        ("the first fails", "broken.example", vec!["192.0.2.2"]),
        (
            "forged replies before the right one",
            "forged.example",
            vec!["192.0.2.1"],
        ),
        (
            "long, by UDP then TCP",
            "long.example TXT",
            vec!["39xx", "(TCP)"],
        ),
        (
            "long, by UDP only",
            "long.example TXT +ignore",
            vec!["flags: qr tc rd ra;", "ANSWER: 0"],
        ),
    ] {
        let output = running.dig(FIRST, arguments).await;
        for want in wants {
            assert!(output.contains(want), "{name}: no {want:?} in {output}");
        }
        assert!(!output.contains("6.6.6.6"), "{name}: {output}");
    }
}

#[tokio::test]
async fn silent_upstreams_hold_up_nobody_and_end_in_a_failure() {
    let upstream = Upstream::start([192, 0, 2, 1]).await;
    let running = Running::ready(host(), Upstreams::fixed([upstream.address])).await;
    running.instance_at([127, 0, 53, 9]);
    let crowd = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    crowd
        .connect(address_of(FIRST, running.port))
        .await
        .unwrap();
    let mut query = Message::query();
    let name = Name::from_ascii("silent.example.").unwrap();
    query.add_query(hickory_proto::op::Query::query(
        name,
        hickory_proto::rr::RecordType::A,
    ));
    for id in 0..6000 {
        query.metadata.id = id;
        crowd.send(&query.to_vec().unwrap()).await.unwrap();
    }
    assert!(running.dig(FIRST, WEB).await.contains("169.254.171.10"));
    let sibling = running.dig(FIRST, "-b 127.0.53.9 a.example").await;
    assert!(sibling.contains("192.0.2.1"), "{sibling}");
    assert!(running.dig(SECOND, "a.example").await.contains("192.0.2.1"));
    let output = running.dig(SECOND, "silent.example").await;
    assert!(output.contains("status: SERVFAIL"), "{output}");
}

#[tokio::test]
async fn connections_of_one_client_keep_nobody_out() {
    lath_net::descriptors::raise().unwrap();
    let running = Running::ready(host(), nobody()).await;
    running.instance_at([127, 0, 53, 9]);
    let to = address_of(FIRST, running.port);
    let network = host();
    let from = Some([127, 0, 53, 8].into());
    let mut held = std::collections::VecDeque::new();
    for n in 0..10_000 {
        let stream = lath_net::connect(&network, &Place::Host, from, to, GENEROUS).await;
        let mut stream = stream.unwrap();
        if n % 2 == 0 {
            // Half a message. It may have been hung up on already.
            let _ = stream.write_all(&[0, 40, 0]).await;
        }
        held.push_back(stream);
        held.truncate(1000);
    }
    for (vpc, arguments) in [
        (FIRST, "+tcp -b 127.0.53.9"),
        (FIRST, "+tcp"),
        (SECOND, "+tcp"),
    ] {
        let output = running.dig(vpc, &format!("{arguments} {WEB}")).await;
        assert!(output.contains("169.254.171.10"), "{arguments}: {output}");
    }
}

#[tokio::test]
async fn a_resolver_that_is_its_own_upstream_fails_instead_of_looping() {
    let port = free_port();
    let itself = Upstreams::fixed([address_of(FIRST, port)]);
    let mut running = Running::start_at(port, host(), itself);
    running.until(all_listen).await;
    let output = running.dig(FIRST, "a.example").await;
    assert!(output.contains("status: SERVFAIL"), "{output}");
    assert!(running.dig(FIRST, WEB).await.contains("169.254.171.10"));
}

// === coming and going ===

/// VPCs' networks do not exist until they are made.
#[derive(Default)]
struct Unmade {
    made: AtomicBool,
}

#[async_trait::async_trait]
impl Network for Unmade {
    async fn socket(
        &self,
        place: &Place,
        domain: socket2::Domain,
        kind: Kind,
    ) -> io::Result<socket2::Socket> {
        if self.made.load(Ordering::SeqCst) || *place == Place::Host {
            return HostNetwork.socket(place, domain, kind).await;
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no such network",
        ))
    }
}

#[tokio::test]
async fn resolvers_come_and_go_with_their_vpcs() {
    let network = Arc::new(Unmade::default());
    let mut running = Running::start(Arc::clone(&network) as _, nobody());
    let unmade = |listens: &Result<(), String>| matches!(listens, Err(reason) if reason.contains("no such network"));
    running
        .until(|bound| bound.len() == 2 && bound.values().all(unmade))
        .await;
    network.made.store(true, Ordering::SeqCst);
    running.until(all_listen).await;

    let change = |vpc: &str, change: fn(&mut Vpc)| {
        let vpc = vpc.parse().unwrap();
        running.feed.send_modify(|snapshot| {
            let vpcs = &mut Arc::make_mut(snapshot).vpcs;
            change(Arc::make_mut(vpcs.get_mut(&vpc).unwrap()));
        });
    };
    change(SECOND, |vpc| vpc.dns_support = false);
    running.until(|bound| bound.len() == 1).await;
    UdpSocket::bind(address_of(SECOND, running.port))
        .await
        .unwrap();
    assert!(running.dig(FIRST, WEB).await.contains("169.254.171.10"));

    let again = |snapshot: &mut Arc<Snapshot>| *snapshot = Arc::new(testing::snapshot("us-east-1"));
    running.feed.send_modify(again);
    running.until(all_listen).await;
    running
        .feed
        .send_modify(|snapshot| Arc::make_mut(snapshot).vpcs.clear());
    running.until(Bound::is_empty).await;
    running.feed.send_modify(again);
    running.until(all_listen).await;

    running.stop.cancel();
    let ended = timeout(GENEROUS, running.tasks.join_next()).await;
    ended.unwrap().unwrap().unwrap();
    UdpSocket::bind(address_of(FIRST, running.port))
        .await
        .unwrap();
}
