//! The usual addresses in real networks: two VPCs with the same block, each in a network namespace.
//! Needs root, or a kernel that lets users make namespaces; says so when it must skip.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "../src/testing.rs"]
mod testing;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lath_dns::{Dns, Upstreams};
use lath_feed::{HostedZone, RecordAnswer, RecordSet, Routing};
use lath_model::id::HealthCheckId;
use lath_net::{Kind, Network, Place, new_socket};
use lath_zones::HealthVerdicts;
use nix::sched::{CloneFlags, setns, unshare};
use testing::{FIRST, SECOND, snapshot};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A network namespace with the resolver's addresses on its loopback. It goes when this is dropped.
struct Namespace(File);

impl Namespace {
    fn make() -> io::Result<Self> {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let namespace = Self(File::open("/proc/thread-self/ns/net")?);
            ip("link set lo up")?;
            ip("addr add 10.0.0.2/32 dev lo")?;
            ip("addr add 169.254.169.253/32 dev lo")?;
            Ok(namespace)
        };
        std::thread::spawn(make).join().unwrap()
    }

    /// Runs `f` on a thread inside.
    fn run<T: Send>(&self, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            f()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    fn dig(&self, arguments: &str) -> String {
        let dig = || {
            let words = arguments.split_whitespace();
            Command::new("dig")
                .args(["+short", "+time=30"])
                .args(words)
                .output()
        };
        String::from_utf8(self.run(dig).unwrap().stdout).unwrap()
    }
}

fn ip(arguments: &str) -> io::Result<()> {
    let status = Command::new("ip")
        .args(arguments.split_whitespace())
        .status()?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| io::Error::other(format!("ip {arguments}: {status}")))
}

struct Namespaces(Mutex<BTreeMap<&'static str, Arc<Namespace>>>);

impl Namespaces {
    fn of(&self, vpc: &str) -> Arc<Namespace> {
        Arc::clone(&self.0.lock().unwrap()[vpc])
    }
}

#[async_trait::async_trait]
impl Network for Namespaces {
    async fn socket(
        &self,
        place: &Place,
        domain: socket2::Domain,
        kind: Kind,
    ) -> io::Result<socket2::Socket> {
        match place {
            Place::Host | Place::Underlay => new_socket(domain, kind),
            Place::Workload(_) => Err(io::ErrorKind::NotFound.into()),
            Place::Vpc(vpc) => self.of(vpc.as_str()).run(|| new_socket(domain, kind)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vpcs_with_equal_blocks_have_resolvers_of_their_own() {
    let (first, second) = match (Namespace::make(), Namespace::make()) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("SKIPPED: no network namespaces here: {error}");
            return;
        }
    };
    let made = [(FIRST, Arc::new(first)), (SECOND, Arc::new(second))];
    let network = Arc::new(Namespaces(Mutex::new(BTreeMap::from(made))));
    let (feed, snapshots) = watch::channel(Arc::new(snapshot("us-east-1")));
    let dns = Dns::new(Arc::clone(&network) as _, snapshots, Upstreams::fixed([]));
    let (mut bound, stop) = (dns.bound(), CancellationToken::new());
    let running = tokio::spawn(dns.run(stop.clone()));
    let ready = bound.wait_for(|bound| bound.len() == 2 && bound.values().all(Result::is_ok));
    let ready = tokio::time::timeout(Duration::from_secs(60), ready).await;
    ready.expect("the resolvers do not listen").unwrap();

    for (vpc, arguments, want) in [
        (FIRST, "@10.0.0.2 ip-10-0-1-10.ec2.internal", "10.0.1.10\n"),
        (
            FIRST,
            "@169.254.169.253 ip-10-0-1-10.ec2.internal +tcp",
            "10.0.1.10\n",
        ),
        (SECOND, "@10.0.0.2 ip-10-0-1-10.ec2.internal", ""),
        (SECOND, "@10.0.0.2 ip-10-0-9-9.ec2.internal", "10.0.9.9\n"),
        (
            SECOND,
            "@169.254.169.253 -x 10.0.9.9",
            "ip-10-0-9-9.ec2.internal.\n",
        ),
    ] {
        assert_eq!(network.of(vpc).dig(arguments), want, "{vpc}: {arguments}");
    }
    // A network that is made anew under the same id gets its resolver back.
    let anew = Arc::new(Namespace::make().unwrap());
    network.0.lock().unwrap().insert(FIRST, anew);
    feed.send_modify(|snapshot| Arc::make_mut(snapshot).version += 1);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while network.of(FIRST).dig("@10.0.0.2 ip-10-0-1-10.ec2.internal") != "10.0.1.10\n" {
        assert!(
            std::time::Instant::now() < deadline,
            "no resolver in the new network"
        );
    }
    stop.cancel();
    running.await.unwrap();
}

/// What the C library's own resolver says to a program inside, with our resolver in its resolv.conf.
fn getent(inside: &Namespace, name: &str) -> io::Result<String> {
    let resolv = "mount --bind \"$1\" /etc/resolv.conf && exec getent ahostsv4 \"$2\"";
    let conf = std::env::temp_dir().join(format!("lath-resolv-{}", std::process::id()));
    std::fs::write(
        &conf,
        "nameserver 10.0.0.2\noptions timeout:30 attempts:1\n",
    )?;
    let run = || {
        Command::new("unshare")
            .args(["-m", "sh", "-c", resolv, "sh"])
            .args([conf.as_os_str(), std::ffi::OsStr::new(name)])
            .output()
    };
    let output = inside.run(run);
    std::fs::remove_file(&conf)?;
    let output = output?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut addresses: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    addresses.dedup();
    Ok(addresses.join(" "))
}

fn failover(name: &str, check: &HealthCheckId) -> (HostedZone, lath_feed::NamedRecords) {
    let set = |routing, check: Option<&HealthCheckId>, value: &str| RecordSet {
        set_identifier: Some(value.to_owned()),
        routing,
        health_check: check.cloned(),
        answer: RecordAnswer::Values {
            ttl: 1,
            values: vec![value.to_owned()],
        },
    };
    let sets = vec![
        set(Routing::FailoverPrimary, Some(check), "10.0.1.80"),
        set(Routing::FailoverSecondary, Some(check), "10.0.2.80"),
    ];
    let zone = HostedZone {
        id: "ZCORP".parse().unwrap(),
        name: name.to_owned(),
        vpcs: Some([("us-east-1".to_owned(), FIRST.parse().unwrap())].into()),
        name_servers: Vec::new(),
    };
    (zone, BTreeMap::from([("A".to_owned(), sets)]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_in_a_vpc_fails_over_by_its_private_zone() {
    let (Ok(first), Ok(second)) = (Namespace::make(), Namespace::make()) else {
        eprintln!("SKIPPED: no network namespaces here");
        return;
    };
    let made = [(FIRST, Arc::new(first)), (SECOND, Arc::new(second))];
    let network = Arc::new(Namespaces(Mutex::new(BTreeMap::from(made))));
    let check = HealthCheckId::random();
    let (zone, mut kinds) = failover("corp.test.", &check);
    // The secondary has no check of its own: it is always healthy.
    kinds.get_mut("A").unwrap()[1].health_check = None;
    let mut snapshot = snapshot("us-east-1");
    snapshot.add_zone(zone, [("api.corp.test.".to_owned(), kinds)]);
    let (_feed, snapshots) = watch::channel(Arc::new(snapshot));
    let (verdicts, seen) = watch::channel(Arc::new(HealthVerdicts::default()));
    let (_targets, targets) = watch::channel(Arc::default());
    let dns = Dns::new(Arc::clone(&network) as _, snapshots, Upstreams::fixed([]))
        .with_health(seen, targets);
    let (mut bound, mut version) = (dns.bound(), dns.version());
    let stop = CancellationToken::new();
    let running = tokio::spawn(dns.run(stop.clone()));
    let patience = Duration::from_secs(60);
    let ready = bound.wait_for(|bound| bound.len() == 2 && bound.values().all(Result::is_ok));
    tokio::time::timeout(patience, ready)
        .await
        .unwrap()
        .unwrap();
    let compiled = version.wait_for(|version| *version == 7);
    tokio::time::timeout(patience, compiled)
        .await
        .unwrap()
        .unwrap();

    for (healthy, want) in [
        (true, "10.0.1.80"),
        (false, "10.0.2.80"),
        (true, "10.0.1.80"),
    ] {
        let checks = HashMap::from([(check.clone(), healthy)]);
        verdicts.send_replace(Arc::new(HealthVerdicts { checks }));
        let found = getent(&network.of(FIRST), "api.corp.test").unwrap();
        assert_eq!(found, want, "while the primary is healthy: {healthy}");
    }
    assert_eq!(
        network.of(SECOND).dig("@10.0.0.2 api.corp.test"),
        "",
        "not its zone"
    );
    stop.cancel();
    running.await.unwrap();
}
