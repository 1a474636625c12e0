//! The usual addresses in real networks: two VPCs with the same block, each in a network namespace.
//! Needs root, or a kernel that lets users make namespaces; says so when it must skip.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "../src/testing.rs"]
mod testing;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lath_dns::{Dns, Upstreams};
use lath_net::{Kind, Network, Place, new_socket};
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
