//! What protects stays, or the way is closed: others flush rules, delete links and pins.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::io::Write as _;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lab::{Draft, Lab, PATIENCE, Site, is_root};
use lath_fabric::HostFacts;

const ALL: &str = "all - 0.0.0.0/0";

/// 10 may speak to 11 and not to 12, whose group lets no packet in.
fn draft() -> Draft {
    let mut draft = Draft::default();
    draft.vpc(1, "10.0.0.0/16", "10.0.1.0/24").gateway(1);
    draft.group(1, 1, &[ALL], &[ALL]).group(1, 2, &[], &[ALL]);
    draft.instance(1, 1, 10, "10.0.1.10", &[1]);
    draft.instance(1, 1, 11, "10.0.1.11", &[1]);
    draft.instance(1, 1, 12, "10.0.1.12", &[2]);
    draft.public(1, 10, "198.51.100.10");
    draft
}

fn run(site: &Site, program: &'static str, arguments: &'static [&'static str]) {
    let status = site.run(move || Command::new(program).args(arguments).status());
    assert!(status.unwrap().success(), "{program} {arguments:?}");
}

/// A laboratory whose host has an address of the internet's kind, with the plan applied.
fn laboratory() -> Lab {
    let lab = Lab::new();
    run(&lab.host_site(), "ip", &["link", "set", "lo", "up"]);
    run(
        &lab.host_site(),
        "ip",
        &["address", "add", "203.0.113.1/32", "dev", "lo"],
    );
    make(&lab);
    lab
}

/// What is left of a predecessor's networks goes in the background, and its names with it: once more then.
fn make(lab: &Lab) {
    let mut facts = lab.facts();
    facts.addresses = HostFacts::probe(&lab.owner, Some(&lab.host)).addresses;
    let plan = lath_fabric::plan(&draft().snapshot, &facts);
    let end = Instant::now() + PATIENCE;
    loop {
        let report = lab.block_on(lab.fabric().apply(&plan));
        if report.is_complete() {
            return;
        }
        assert!(Instant::now() < end, "{report:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Counts the datagrams that arrive somewhere.
fn count(site: &Site, at: &'static str) -> Arc<AtomicU64> {
    let socket = site.run(move || UdpSocket::bind(at).unwrap());
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    std::thread::spawn(move || {
        while socket.recv(&mut [0; 64]).is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    arrived
}

/// Sends datagrams, several in a millisecond, and tries connections, until it is dropped.
struct Prober {
    end: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    connected: Arc<AtomicU64>,
}

impl Prober {
    fn start(from: &Site, to: &'static str) -> Self {
        let prober = Self {
            end: Arc::default(),
            sent: Arc::default(),
            connected: Arc::default(),
        };
        let socket = from.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        let (end, sent) = (Arc::clone(&prober.end), Arc::clone(&prober.sent));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                for _ in 0..5 {
                    let _it_may_be_refused = socket.send_to(b"?", to);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let (end, connected) = (Arc::clone(&prober.end), Arc::clone(&prober.connected));
        let at = Site::clone(from);
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if at.connect(to, Duration::from_millis(5)).is_ok() {
                    connected.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        prober
    }

    /// Waits for this many more datagrams.
    fn send(&self, more: u64) {
        let goal = self.sent.load(Ordering::Relaxed) + more;
        let end = Instant::now() + PATIENCE;
        while self.sent.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < end, "the prober stands still");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

/// Many transactions of one `nft`, each by itself, whatever becomes of the one before.
fn nft(site: &Site, commands: &'static [&'static str], rounds: usize) {
    site.run(move || {
        let mut nft = Command::new("nft")
            .arg("-i")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = nft.stdin.take().unwrap();
        for _ in 0..rounds {
            for command in commands {
                writeln!(input, "{command}").unwrap();
            }
        }
        writeln!(input, "quit").unwrap();
        drop(input);
        nft.wait().unwrap();
    });
}

const FLUSHES: &[&str] = &[
    "flush ruleset",
    "delete table ip lath",
    "flush table ip lath",
];

#[test]
fn no_packet_passes_while_rules_are_flushed() {
    if !is_root() {
        return;
    }
    let lab = laboratory();
    let (client, closed) = (lab.instance(10), lab.instance(12));
    let arrived = [
        count(&closed, "10.0.1.12:9"),
        count(&lab.host_site(), "203.0.113.1:9"),
    ];
    closed.serve("10.0.1.12:9");
    lab.host_site().serve("203.0.113.1:9");
    lab.instance(11).serve("10.0.1.11:80");
    let probers = [
        Prober::start(&client, "10.0.1.12:9"),
        Prober::start(&client, "203.0.113.1:9"),
    ];
    let router = lab.router(1);
    for _ in 0..10 {
        // A thousand of them in all.
        nft(&lab.host_site(), &["flush ruleset"], 40);
        nft(&router, FLUSHES, 20);
        assert_eq!(client.reach("10.0.1.11:80"), "10.0.1.10");
    }
    for (prober, arrived) in probers.iter().zip(&arrived) {
        prober.send(10);
        assert_eq!(arrived.load(Ordering::Relaxed), 0);
        assert_eq!(prober.connected.load(Ordering::Relaxed), 0);
    }
}

/// Nothing restores the rules: routes alone keep the way closed, until a successor comes.
#[test]
fn without_rules_and_without_a_fabric_the_way_is_closed() {
    if !is_root() {
        return;
    }
    let mut lab = laboratory();
    let (client, closed, router) = (lab.instance(10), lab.instance(12), lab.router(1));
    let arrived = [
        count(&closed, "10.0.1.12:9"),
        count(&lab.host_site(), "203.0.113.1:9"),
    ];
    closed.serve("10.0.1.12:9");
    lab.instance(11).serve("10.0.1.11:80");
    assert_eq!(client.reach("10.0.1.11:80"), "10.0.1.10");
    drop(lab.fabric.take());
    let probers = [
        Prober::start(&client, "10.0.1.12:9"),
        Prober::start(&client, "203.0.113.1:9"),
    ];
    // The host's table alone: the router keeps what it leads out from the host's own addresses.
    run(&lab.host_site(), "nft", &["flush", "ruleset"]);
    probers[1].send(200);
    assert_eq!(client.reach("10.0.1.11:80"), "10.0.1.10");
    run(&router, "nft", &["flush", "ruleset"]);
    assert_ne!(client.outcome("10.0.1.11:80"), "reached as 10.0.1.10");
    for (prober, arrived) in probers.iter().zip(&arrived) {
        prober.send(200);
        assert_eq!(arrived.load(Ordering::Relaxed), 0);
        assert_eq!(prober.connected.load(Ordering::Relaxed), 0);
    }
    lab.open();
    make(&lab);
    assert_eq!(client.reach("10.0.1.11:80"), "10.0.1.10");
    assert_eq!(arrived[0].load(Ordering::Relaxed), 0);
}

/// Each of these is mended without an apply.
#[test]
fn what_others_remove_comes_back_at_once() {
    if !is_root() {
        return;
    }
    let lab = laboratory();
    let (client, server, router) = (lab.instance(10), lab.instance(11), lab.router(1));
    let mut repairs = lab.fabric().repairs();
    server.serve("0.0.0.0:80");
    for (place, arguments) in [
        (&server, &["link", "delete", "eth0"][..]),
        (&server, &["address", "flush", "dev", "eth0"]),
        (&server, &["link", "set", "eth0", "down"]),
        (&server, &["route", "flush", "table", "main"]),
        (&router, &["rule", "flush"]),
        (&router, &["route", "flush", "table", "main"]),
        (&router, &["link", "set", "eb", "down"]),
    ] {
        assert_eq!(
            client.reach("10.0.1.11:80"),
            "10.0.1.10",
            "before {arguments:?}"
        );
        repairs.borrow_and_update();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|it| it.replace("eb", "e0000000000000b"))
            .collect();
        let changed = place.run({
            let arguments = arguments.clone();
            move || Command::new("ip").args(arguments).status()
        });
        assert!(changed.unwrap().success(), "{arguments:?}");
        let repaired =
            lab.block_on(async { tokio::time::timeout(PATIENCE, repairs.changed()).await });
        assert!(repaired.is_ok(), "{arguments:?} is not repaired");
        assert_eq!(
            client.reach("10.0.1.11:80"),
            "10.0.1.10",
            "after {arguments:?}"
        );
    }
    assert_eq!(lab.audit_with_addresses(), Vec::<String>::new());
}

#[test]
fn pins_come_back() {
    if !is_root() {
        return;
    }
    let lab = laboratory();
    let pin = lab.directory.path().join("netns/i-0000000000000000b");
    let is_pinned = || {
        nix::sys::statfs::statfs(&pin).is_ok_and(|it| it.filesystem_type().0 == libc::NSFS_MAGIC)
    };
    for wiped in [false, true] {
        assert!(is_pinned());
        nix::mount::umount2(&pin, nix::mount::MntFlags::MNT_DETACH).unwrap();
        if wiped {
            // It may be pinned again already.
            let _ = std::fs::remove_file(&pin);
        }
        let end = Instant::now() + PATIENCE;
        while !is_pinned() {
            assert!(Instant::now() < end, "it is not pinned again");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A predecessor that was started in a mount namespace of its own: its pins are found while a process of
/// that namespace lives.
#[test]
fn pins_of_another_mount_namespace_are_found() {
    if !is_root() {
        return;
    }
    let mut lab = laboratory();
    lab.instance(11).serve("10.0.1.11:80");
    assert_eq!(lab.instance(10).reach("10.0.1.11:80"), "10.0.1.10");
    // This process keeps a copy of all mounts; here they go.
    let mut keeper = Command::new("unshare")
        .args(["-m", "cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let here = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    let theirs = format!("/proc/{}/ns/mnt", keeper.id());
    let end = Instant::now() + PATIENCE;
    while std::fs::read_link(&theirs).is_ok_and(|it| it == here) {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(lab.fabric.take());
    for pin in std::fs::read_dir(lab.directory.path().join("netns")).unwrap() {
        let pin = pin.unwrap().path();
        nix::mount::umount2(&pin, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    lab.open();
    assert_eq!(
        lab.audit_with_addresses(),
        Vec::<String>::new(),
        "all was adopted"
    );
    assert_eq!(lab.instance(10).reach("10.0.1.11:80"), "10.0.1.10");
    drop(keeper.stdin.take());
    keeper.wait().unwrap();
}

impl Lab {
    fn audit_with_addresses(&self) -> Vec<String> {
        let mut facts = self.facts();
        facts.addresses = HostFacts::probe(&self.owner, Some(&self.host)).addresses;
        let plan = lath_fabric::plan(&draft().snapshot, &facts);
        self.block_on(self.fabric().audit(&plan)).done
    }
}

/// The namespaces of living processes count, whatever became of the run directory.
#[test]
fn an_inhabited_namespace_is_adopted_without_a_pin() {
    if !is_root() {
        return;
    }
    let mut lab = laboratory();
    lab.instance(11).serve("10.0.1.11:80");
    assert_eq!(lab.instance(10).reach("10.0.1.11:80"), "10.0.1.10");
    let inhabited = [10, 11, 12].map(|number| {
        let name = lab::id::<lath_model::id::InstanceId>("i", number);
        let netns = lab.fabric().workload_netns(&name.clone().into()).unwrap();
        (name.as_str().to_owned(), netns.into())
    });
    drop(lab.fabric.take());
    let pins = lab.directory.path().join("netns");
    for pin in std::fs::read_dir(&pins).unwrap() {
        nix::mount::umount2(&pin.unwrap().path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    std::fs::remove_dir_all(&pins).unwrap();
    lab.adopt(&inhabited.into());
    make(&lab);
    assert_eq!(lab.instance(10).reach("10.0.1.11:80"), "10.0.1.10");
    assert_eq!(lab.instance(10).outcome("10.0.1.12:80"), "silence");
}
