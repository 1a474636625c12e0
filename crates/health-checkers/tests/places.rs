//! The routes to endpoints through real networks: a VPC and an underlay, each in a network namespace.
//! Needs root, or a kernel that lets users make namespaces; prints a notice when it skips.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lath_clock::Clock;
use lath_feed::*;
use lath_health_checkers::{Checks, ChecksConfig, NAMES_TOPIC};
use lath_model::id::HealthCheckId;
use lath_net::{Kind, Network, Place, new_socket};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

const VPC: &str = "vpc-00000000000000001";
const NETWORK: &str = "sn-00000000000000001";
const SERVICE: &str = "web-00000000000000001.7d67968.vpc-lattice-svcs.us-east-1.on.aws";
const FOREIGN: &str = "web-00000000000000002.7d67968.vpc-lattice-svcs.us-west-2.on.aws";

/// A network namespace with these addresses on its loopback. Dropping it removes the namespace.
struct Namespace(File);

impl Namespace {
    fn make(addresses: &'static [&'static str]) -> io::Result<Self> {
        let make = move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let namespace = Self(File::open("/proc/thread-self/ns/net")?);
            ip("link set lo up")?;
            for address in addresses {
                ip(&format!("addr add {address}/32 dev lo"))?;
            }
            Ok(namespace)
        };
        std::thread::spawn(make).join().unwrap()
    }

    fn run<T: Send>(&self, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            f()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// Serves connections with these answers.
    fn serve(&self, at: &str, tasks: &mut JoinSet<()>, answers: &'static [&'static str]) {
        let at: SocketAddr = at.parse().unwrap();
        let listener = self.run(|| std::net::TcpListener::bind(at)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    for answer in answers {
                        let mut request = vec![0; 4096];
                        let length = stream.read(&mut request).await.unwrap_or(0);
                        let text = String::from_utf8_lossy(&request[..length]).into_owned();
                        let line = text.lines().next().unwrap_or("").to_owned();
                        let answer = answer.replace("LINE", &line);
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
    }
}

fn ip(arguments: &str) -> io::Result<()> {
    let status = Command::new("ip")
        .args(arguments.split_whitespace())
        .status()?;
    let failed = || io::Error::other(format!("ip {arguments}: {status}"));
    status.success().then_some(()).ok_or_else(failed)
}

/// A network that never makes a socket in the host's own namespace.
struct Places {
    vpc: Namespace,
    underlay: Namespace,
}

#[async_trait]
impl Network for Places {
    async fn socket(
        &self,
        place: &Place,
        domain: socket2::Domain,
        kind: Kind,
    ) -> io::Result<socket2::Socket> {
        match place {
            Place::Host => Err(io::ErrorKind::PermissionDenied.into()),
            Place::Vpc(id) if id.as_str() == VPC => self.vpc.run(|| new_socket(domain, kind)),
            Place::Vpc(_) | Place::Workload(_) => Err(io::ErrorKind::NotFound.into()),
            Place::Underlay => self.underlay.run(|| new_socket(domain, kind)),
        }
    }
}

fn check(address: Option<&str>, name: Option<&str>, search: &str) -> Route53HealthCheck {
    Route53HealthCheck {
        id: HealthCheckId::random(),
        version: 1,
        judge: Judge::Endpoint(EndpointCheck {
            protocol: CheckProtocol::Http,
            address: address.map(|address| address.parse().unwrap()),
            name: name.map(str::to_owned),
            port: 80,
            path: "/".into(),
            search: Some(search.to_owned()),
            sni: false,
            interval: Duration::from_secs(1),
            threshold: 1,
        }),
        inverted: false,
        disabled: false,
    }
}

fn service() -> Service {
    Service {
        id: "svc-00000000000000001".parse().unwrap(),
        arn: "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-00000000000000001".into(),
        name: "web".into(),
        domain_name: SERVICE.into(),
        custom_domain_name: Some("web.custom.test".into()),
        certificate: None,
        routes: Vec::new(),
        address: Ipv4Addr::new(169, 254, 171, 10),
        auth: Auth::None,
        idle_timeout: Duration::from_secs(60),
        listeners: BTreeMap::new(),
        access_logs: Vec::new(),
    }
}

fn vpc() -> Vpc {
    Vpc {
        id: VPC.parse().unwrap(),
        owner: "123456789012".into(),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        dns_support: true,
        dns_hostnames: true,
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice: Some(LatticeAssociation {
            id: "snva-00000000000000001".parse().unwrap(),
            service_network: NETWORK.parse().unwrap(),
            security_groups: BTreeSet::new(),
        }),
        nat_gateways: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        network_acls: BTreeMap::new(),
        peerings: BTreeMap::new(),
    }
}

fn zone() -> (HostedZone, BTreeMap<String, NamedRecords>) {
    let simple = |kind: &str, value: &str| {
        let set = RecordSet {
            set_identifier: None,
            routing: Routing::Simple,
            health_check: None,
            answer: RecordAnswer::Values {
                ttl: 5,
                values: vec![value.to_owned()],
            },
        };
        BTreeMap::from([(kind.to_owned(), vec![set])])
    };
    let zone = HostedZone {
        id: "ZTEST".parse().unwrap(),
        name: "zone.test.".into(),
        vpcs: None,
        name_servers: Vec::new(),
    };
    let records = [
        ("public.zone.test.".to_owned(), simple("A", "198.18.0.10")),
        ("six.zone.test.".to_owned(), simple("AAAA", "2001:db8::1")),
        (
            "named.zone.test.".to_owned(),
            simple("CNAME", &format!("{SERVICE}.")),
        ),
    ];
    (zone, records.into())
}

fn topology() -> Arc<Topology> {
    let place = |index: u8| RegionPlace {
        underlay: Ipv4Addr::new(100, 64, index, 1),
        link: Ipv4Addr::new(100, 65, index, 1),
        public_key: [0; 32],
        public_pool: format!("198.18.{}.0/19", 32 * index).parse().unwrap(),
    };
    Arc::new(Topology {
        regions: [
            ("us-east-1".to_owned(), place(0)),
            ("us-west-2".to_owned(), place(1)),
        ]
        .into(),
        underlay: Some("/nonexistent".into()),
        ..Topology::single("us-east-1")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_reached_where_they_are() {
    let vpc_network = Namespace::make(&["169.254.171.10"]);
    let underlay = Namespace::make(&["198.18.0.10", "100.65.1.1"]);
    let (vpc_network, underlay) = match (vpc_network, underlay) {
        (Ok(vpc), Ok(underlay)) => (vpc, underlay),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("SKIPPED: no network namespaces here: {error}");
            return;
        }
    };
    let mut tasks = JoinSet::new();
    vpc_network.serve(
        "169.254.171.10:80",
        &mut tasks,
        &["HTTP/1.1 200 OK\r\n\r\nservice"],
    );
    underlay.serve(
        "198.18.0.10:80",
        &mut tasks,
        &["HTTP/1.1 200 OK\r\n\r\npublic"],
    );
    let accepted = "HTTP/1.1 200 OK\r\nx-asked: LINE\r\n\r\n";
    let behind = "HTTP/1.1 200 OK\r\n\r\nbehind the gateway";
    let talk: &'static [&'static str] = Box::leak(Box::new([accepted, behind]));
    underlay.serve("100.65.1.1:7003", &mut tasks, talk);

    let cases = [
        (
            "a service's generated name",
            None,
            Some(SERVICE),
            "service",
            true,
        ),
        (
            "in capitals, with a dot",
            None,
            Some("WEB.CUSTOM.TEST."),
            "service",
            true,
        ),
        (
            "a CNAME to a service",
            None,
            Some("named.zone.test"),
            "service",
            true,
        ),
        (
            "a service's address",
            Some("169.254.171.10"),
            None,
            "service",
            true,
        ),
        (
            "a public address",
            Some("198.18.0.10"),
            None,
            "public",
            true,
        ),
        (
            "an address under another's name",
            Some("198.18.0.10"),
            Some(SERVICE),
            "public",
            true,
        ),
        (
            "a name of a hosted zone",
            None,
            Some("public.zone.test"),
            "public",
            true,
        ),
        (
            "another region's service",
            None,
            Some(FOREIGN),
            "behind the gateway",
            true,
        ),
        ("no such name", None, Some("nope.zone.test"), "", false),
        ("IPv6 alone", None, Some("six.zone.test"), "", false),
    ];
    let checks: Vec<_> = cases
        .iter()
        .map(|case| check(case.1, case.2, case.3))
        .collect();
    let service = service();
    let network = ServiceNetwork {
        id: NETWORK.parse().unwrap(),
        arn: String::new(),
        name: "all".into(),
        auth: Auth::None,
        services: BTreeSet::from([service.id.clone()]),
        access_logs: Vec::new(),
        workloads_only: false,
    };
    let (vpc, (zone, records)) = (vpc(), zone());
    let mut snapshot = Snapshot {
        version: 1,
        region: "us-east-1".into(),
        vpcs: [(vpc.id.clone(), Arc::new(vpc))].into(),
        services: [(service.id.clone(), Arc::new(service))].into(),
        service_networks: [(network.id.clone(), Arc::new(network))].into(),
        health_checks: checks
            .iter()
            .map(|c| (c.id.clone(), Arc::new(c.clone())))
            .collect(),
        ..Snapshot::default()
    };
    snapshot.add_zone(zone, records);
    let (_publish, snapshots) = watch::channel(Arc::new(snapshot));
    let (mesh, carrier) = Mesh::new();
    let names = serde_json::json!({ FOREIGN: FOREIGN }).to_string();
    let west = PeerState {
        connected: true,
        since: Clock::system().now(),
        values: lath_feed::Values::unit(NAMES_TOPIC.to_owned(), names.into()),
    };
    carrier
        .peers
        .send_replace(Arc::new([("us-west-2".to_owned(), west)].into()));
    let places = Arc::new(Places {
        vpc: vpc_network,
        underlay,
    });
    let handle =
        Checks::start(places, snapshots, topology(), mesh, ChecksConfig::default()).unwrap();
    let mut observed = handle.observed();
    let all = checks.len();
    let ready = observed.wait_for(|seen| {
        seen.values()
            .filter(|check| !check.observers.is_empty())
            .count()
            == all
    });
    let seen = tokio::time::timeout(Duration::from_secs(60), ready)
        .await
        .unwrap()
        .unwrap()
        .clone();
    for (check, (name, .., success)) in checks.iter().zip(cases) {
        let report = &seen[&check.id].observers["us-east-1"];
        assert_eq!(report.success, success, "{name}: {}", report.status);
        if !success {
            assert!(
                report.status.contains("DNS resolution failed"),
                "{name}: {}",
                report.status
            );
        }
    }
    handle.shutdown().await;
}
