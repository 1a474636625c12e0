//! The authoritative server as `dig` sees it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use lath_dns::{AuthorityConfig, Dns, Upstreams};
use lath_feed::*;
use lath_health::HealthView;
use lath_model::id::HealthCheckId;
use lath_net::{HostNetwork, Place};
use lath_zones::HealthVerdicts;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const GENEROUS: Duration = Duration::from_secs(60);

fn set(routing: Routing, check: Option<&HealthCheckId>, ttl: u32, values: &[&str]) -> RecordSet {
    RecordSet {
        set_identifier: None,
        routing,
        health_check: check.cloned(),
        answer: RecordAnswer::Values {
            ttl,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        },
    }
}

/// example.com as it is asked about below.
fn zone(check: &HealthCheckId) -> (HostedZone, BTreeMap<String, NamedRecords>) {
    let mut records: BTreeMap<String, NamedRecords> = BTreeMap::new();
    let mut add = |name: &str, kind: &str, sets: Vec<RecordSet>| {
        records
            .entry(name.to_owned())
            .or_default()
            .insert(kind.to_owned(), sets);
    };
    let simple = |values: &[&str]| vec![set(Routing::Simple, None, 60, values)];
    let text: Vec<String> = (0..40)
        .map(|n| format!("\"{n:02} {}\"", "x".repeat(60)))
        .collect();
    let text: Vec<&str> = text.iter().map(String::as_str).collect();
    add(
        "example.com.",
        "SOA",
        simple(&["ns1.example.com. admin.example.com. 1 7200 900 1209600 30"]),
    );
    add(
        "example.com.",
        "NS",
        simple(&["ns1.example.com.", "ns2.elsewhere.test."]),
    );
    add("ns1.example.com.", "A", simple(&["192.0.2.53"]));
    add("www.example.com.", "CNAME", simple(&["web.example.com."]));
    add("web.example.com.", "A", simple(&["192.0.2.1"]));
    add("big.example.com.", "TXT", simple(&text));
    add("\\052.wild.example.com.", "A", simple(&["192.0.2.9"]));
    add(
        "api.example.com.",
        "A",
        vec![
            set(Routing::FailoverPrimary, Some(check), 5, &["192.0.2.10"]),
            set(Routing::FailoverSecondary, None, 5, &["192.0.2.20"]),
        ],
    );
    let near = |region: &str, value| set(Routing::Latency(region.into()), None, 5, &[value]);
    add(
        "near.example.com.",
        "A",
        vec![
            near("us-east-1", "192.0.2.31"),
            near("eu-west-1", "192.0.2.32"),
        ],
    );
    let zone = HostedZone {
        id: "ZEXAMPLE".parse().unwrap(),
        name: "example.com.".into(),
        vpcs: None,
        name_servers: vec!["ns1.example.com".into()],
    };
    (zone, records)
}

fn snapshot(check: &HealthCheckId) -> Snapshot {
    let (zone, records) = zone(check);
    let place = |index: u8| RegionPlace {
        underlay: Ipv4Addr::new(100, 64, index, 1),
        link: Ipv4Addr::new(100, 65, index, 1),
        public_key: [0; 32],
        public_pool: format!("198.18.{}.0/19", 32 * index).parse().unwrap(),
    };
    let regions = [("us-east-1", 0), ("eu-west-1", 1)];
    let mut snapshot = Snapshot {
        version: 9,
        region: "us-east-1".into(),
        topology: Arc::new(Topology {
            regions: regions
                .iter()
                .map(|(name, at)| ((*name).to_owned(), place(*at)))
                .collect(),
            ..Topology::single("us-east-1")
        }),
        ..Snapshot::default()
    };
    snapshot.add_zone(zone, records);
    snapshot
}

/// A server that runs.
struct Running {
    at: SocketAddr,
    check: HealthCheckId,
    feed: watch::Sender<Arc<Snapshot>>,
    verdicts: watch::Sender<Arc<HealthVerdicts>>,
    version: watch::Receiver<u64>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    async fn start() -> Self {
        let check = HealthCheckId::random();
        let at = UdpSocket::bind("127.0.54.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let (feed, snapshots) = watch::channel(Arc::new(snapshot(&check)));
        let (verdicts, seen) = watch::channel(Arc::new(HealthVerdicts::default()));
        let (_, targets) = watch::channel(Arc::new(HealthView::default()));
        let dns = Dns::new(Arc::new(HostNetwork), snapshots, Upstreams::fixed([]))
            .with_health(seen, targets)
            .with_authority(AuthorityConfig {
                listen: vec![(Place::Host, at)],
                threads: 2,
                rate_limit: None,
            });
        let (mut served, mut version) = (dns.served(), dns.version());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(dns.run(stop.clone()));
        let listens = served.wait_for(|served| served.values().any(Result::is_ok));
        tokio::time::timeout(GENEROUS, listens)
            .await
            .unwrap()
            .unwrap();
        let compiled = version.wait_for(|version| *version == 9);
        tokio::time::timeout(GENEROUS, compiled)
            .await
            .unwrap()
            .unwrap();
        Self {
            at,
            check,
            feed,
            verdicts,
            version,
            stop,
            tasks,
        }
    }

    async fn dig(&self, arguments: &str) -> String {
        let port = self.at.port().to_string();
        let output = tokio::process::Command::new("dig")
            .args([
                "@127.0.54.1",
                "-p",
                &port,
                "+time=30",
                "+tries=1",
                "+norecurse",
            ])
            .args(arguments.split_whitespace())
            .output()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What [`Self::dig`] says in short: values in order, or the status; and the flags.
    async fn short(&self, arguments: &str) -> String {
        let text = self.dig(arguments).await;
        let status = text
            .split("status: ")
            .nth(1)
            .map_or("", |rest| rest.split(',').next().unwrap());
        let flags = text
            .split(";; flags: ")
            .nth(1)
            .map_or("", |rest| rest.split(';').next().unwrap());
        let section = text.split(";; ANSWER SECTION:\n").nth(1).unwrap_or("");
        let lines = section.lines().take_while(|line| !line.is_empty());
        let mut values: Vec<String> = lines
            .map(|line| {
                line.split_whitespace()
                    .skip(3)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        values.sort();
        if values.is_empty() {
            values.push(status.to_owned());
        }
        format!("{} [{flags}]", values.join(", "))
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_zones_are_served_as_dig_expects() {
    let running = Running::start().await;
    for (name, arguments, want) in [
        ("an address", "web.example.com A", "A 192.0.2.1 [qr aa]"),
        ("by TCP", "web.example.com A +tcp", "A 192.0.2.1 [qr aa]"),
        (
            "without EDNS",
            "web.example.com A +noedns",
            "A 192.0.2.1 [qr aa]",
        ),
        (
            "in another case",
            "wEb.eXample.com A",
            "A 192.0.2.1 [qr aa]",
        ),
        (
            "RD comes back",
            "web.example.com A +recurse",
            "A 192.0.2.1 [qr aa rd]",
        ),
        (
            "DO is known",
            "web.example.com A +dnssec",
            "A 192.0.2.1 [qr aa]",
        ),
        (
            "CNAME",
            "www.example.com A",
            "A 192.0.2.1, CNAME web.example.com. [qr aa]",
        ),
        ("wildcard", "a.b.wild.example.com A", "A 192.0.2.9 [qr aa]"),
        ("no such type", "web.example.com MX", "NOERROR [qr aa]"),
        ("no such name", "nope.example.com A", "NXDOMAIN [qr aa]"),
        ("not ours", "example.org A", "REFUSED [qr]"),
        (
            "any",
            "web.example.com ANY +notcp",
            "HINFO \"RFC8482\" \"\" [qr aa]",
        ),
        ("a transfer", "example.com AXFR", " []"),
        ("a transfer by UDP", "example.com IXFR=1 +notcp", " []"),
        ("CHAOS", "version.bind TXT CH", "REFUSED [qr]"),
        (
            "another opcode",
            "web.example.com A +opcode=NOTIFY",
            "NOTIMP [qr]",
        ),
        (
            "another EDNS version",
            "web.example.com A +edns=1 +noednsneg",
            "BADVERS [qr]",
        ),
        (
            "unknown EDNS options",
            "web.example.com A +ednsopt=65001:00",
            "A 192.0.2.1 [qr aa]",
        ),
        (
            "too big for 512",
            "big.example.com TXT +noedns +ignore",
            "NOERROR [qr aa tc]",
        ),
        (
            "too big for 1232",
            "big.example.com TXT +bufsize=1232 +ignore",
            "NOERROR [qr aa tc]",
        ),
        (
            "nothing but names below, any",
            "wild.example.com ANY +notcp",
            "NOERROR [qr aa]",
        ),
        (
            "too big for 1232, of a client that takes more",
            "big.example.com TXT +bufsize=4096 +ignore",
            "NOERROR [qr aa tc]",
        ),
        (
            "near Virginia",
            "near.example.com A +subnet=198.18.1.0/24",
            "A 192.0.2.31 [qr aa]",
        ),
        (
            "near Dublin",
            "near.example.com A +subnet=198.18.40.0/24",
            "A 192.0.2.32 [qr aa]",
        ),
        ("nobody knows", "near.example.com A", "A 192.0.2.31 [qr aa]"),
    ] {
        assert_eq!(running.short(arguments).await, want, "{name}: {arguments}");
    }
    for arguments in ["+bufsize=4096", "+tcp", "+bufsize=512"] {
        let found = running
            .short(&format!("big.example.com TXT {arguments}"))
            .await;
        assert_eq!(found.matches("TXT").count(), 40, "{arguments}: {found}");
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sections_options_and_times_are_right() {
    let running = Running::start().await;
    let found = running.dig("web.example.com A").await;
    for line in [
        "web.example.com.\t60\tIN\tA\t192.0.2.1",
        "example.com.\t\t60\tIN\tNS\tns1.example.com.",
        "ns1.example.com.\t60\tIN\tA\t192.0.2.53",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    let found = running.dig("nope.example.com A").await;
    assert!(found.contains("example.com.\t\t30\tIN\tSOA\t"), "{found}");
    for (arguments, want) in [
        (
            "near.example.com A +subnet=198.18.40.0/24",
            "CLIENT-SUBNET: 198.18.40.0/24/24",
        ),
        (
            "web.example.com A +subnet=198.18.40.0/24",
            "CLIENT-SUBNET: 198.18.40.0/24/0",
        ),
        (
            "near.example.com A +subnet=2001:db8::/56",
            "CLIENT-SUBNET: 2001:db8::/56/56",
        ),
        (
            "near.example.com A +subnet=0.0.0.0/0",
            "CLIENT-SUBNET: 0.0.0.0/0/0",
        ),
    ] {
        let found = running.dig(arguments).await;
        assert!(found.contains(want), "{arguments}: {found}");
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_follow_health_and_zones_at_once() {
    let mut running = Running::start().await;
    let verdict = |healthy| {
        Arc::new(HealthVerdicts {
            checks: HashMap::from([(running.check.clone(), healthy)]),
        })
    };
    for (healthy, want) in [
        (true, "192.0.2.10"),
        (false, "192.0.2.20"),
        (true, "192.0.2.10"),
    ] {
        running.verdicts.send_replace(verdict(healthy));
        let found = running.short("api.example.com A").await;
        assert_eq!(found, format!("A {want} [qr aa]"));
    }
    running.feed.send_modify(|snapshot| {
        let snapshot = Arc::make_mut(snapshot);
        snapshot.version = 10;
        snapshot.hosted_zones.clear();
        snapshot.records.clear();
    });
    let compiled = running.version.wait_for(|version| *version == 10);
    tokio::time::timeout(GENEROUS, compiled)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(running.short("api.example.com A").await, "REFUSED [qr]");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_gets_a_refusal_or_nothing() {
    let running = Running::start().await;
    let at = running.at;
    let asked = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(GENEROUS)).unwrap();
        socket.connect(at).unwrap();
        let question = b"\x03web\x07example\x03com\x00\x00\x01\x00\x01";
        let message = |flags: [u8; 2], counts: [u8; 4], rest: &[u8]| {
            let mut bytes = vec![0, 7, flags[0], flags[1]];
            bytes.extend(counts.iter().flat_map(|count| [0, *count]));
            bytes.extend(rest);
            bytes
        };
        // What gets no reply goes first: the reply that comes is to what follows.
        for silent in [&b"short"[..], &message([0x80, 0], [1, 0, 0, 0], question)] {
            socket.send(silent).unwrap();
        }
        let opt = |option: &[u8]| {
            let length = u8::try_from(option.len()).unwrap();
            let head = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, length];
            [&question[..], &head, option].concat()
        };
        let two = [&opt(&[])[..], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
        let mut codes = Vec::new();
        for bytes in [
            message([0, 0], [1, 0, 0, 0], question),
            message([0, 0], [2, 0, 0, 0], question),
            message([0, 0], [1, 0, 0, 0], &question[..7]),
            message([0, 0], [1, 0, 0, 0], b"\xc0\x0c\x00\x01\x00\x01"),
            message([0, 0], [1, 0, 0, 1], question),
            message([0, 0], [1, 0, 0, 1], &opt(&[0, 8, 0, 4, 0, 1, 24, 0])),
            message(
                [0, 0],
                [1, 0, 0, 1],
                &opt(&[0, 8, 0, 7, 0, 1, 24, 9, 1, 2, 3]),
            ),
            message(
                [0, 0],
                [1, 0, 0, 1],
                &opt(&[0, 8, 0, 7, 0, 1, 23, 0, 1, 2, 3]),
            ),
            message([0, 0], [1, 0, 0, 2], &two),
            message([0x28, 0], [1, 0, 0, 0], question),
        ] {
            socket.send(&bytes).unwrap();
            let mut reply = [0; 4096];
            let length = socket.recv(&mut reply).unwrap();
            assert!(length >= 12 && reply[..2] == [0, 7]);
            codes.push(reply[3] & 0xf);
        }
        codes
    });
    assert_eq!(asked.await.unwrap(), [0, 1, 1, 1, 1, 1, 1, 1, 1, 4]);
    running.end().await;
}
