//! Two underlay namespaces joined by a cable, and a namespace behind each.

#![allow(dead_code, reason = "each user takes its part of the laboratory")]

use std::fs::File;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use lath_feed::PrivateKey;
use lath_tunnel::{Tunnel, TunnelConfig, TunnelState, private_key, public_key};
use nix::sched::{CloneFlags, setns, unshare};

/// Generous, so that a loaded machine does not fail the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A network namespace. Dropping this removes it.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn make() -> io::Result<Self> {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let namespace = Self(File::open("/proc/thread-self/ns/net")?);
            ip("link set lo up")?;
            Ok(namespace)
        };
        std::thread::spawn(make).join().unwrap()
    }

    pub(crate) fn of(file: File) -> Self {
        Self(file)
    }

    pub(crate) fn fd(&self) -> OwnedFd {
        self.0.try_clone().unwrap().into()
    }

    /// Runs `work` on a thread in the namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    pub(crate) fn ip(&self, arguments: &str) {
        self.run(|| ip(arguments)).unwrap();
    }
}

pub(crate) fn ip(arguments: &str) -> io::Result<()> {
    let words = arguments.split_whitespace();
    let status = Command::new("ip").args(words).status()?;
    let failed = || io::Error::other(format!("ip {arguments}: {status}"));
    status.success().then_some(()).ok_or_else(failed)
}

/// One end: its underlay, the namespace behind it, its keys.
pub(crate) struct End {
    pub(crate) underlay: Namespace,
    pub(crate) inner: Namespace,
    pub(crate) key: PrivateKey,
    pub(crate) address: [u8; 4],
    pub(crate) link: [u8; 4],
}

pub(crate) const PORT: u16 = 51820;

/// Makes two ends. Prints a notice and returns `None` where namespaces or TUN devices are not available.
pub(crate) fn ends(mtu: u16) -> Option<[End; 2]> {
    if !nix::unistd::geteuid().is_root() || File::open("/dev/net/tun").is_err() {
        eprintln!("SKIPPED: needs root and /dev/net/tun");
        return None;
    }
    let end = |number: u8| End {
        underlay: Namespace::make().unwrap(),
        inner: Namespace::make().unwrap(),
        key: private_key(),
        address: [100, 64, number, 1],
        link: [100, 65, number, 1],
    };
    let ends = [end(0), end(1)];
    let far = format!("/proc/{}/fd/{}", std::process::id(), {
        use std::os::fd::AsRawFd;
        ends[1].underlay.0.as_raw_fd()
    });
    let [near, other] = &ends;
    near.underlay.ip(&format!(
        "link add wan mtu {mtu} type veth peer name wan mtu {mtu} netns {far}"
    ));
    for (end, own, peer) in [(near, 0, 1), (other, 1, 0)] {
        end.underlay.ip(&format!(
            "addr add 100.64.{own}.1 peer 100.64.{peer}.1 dev wan"
        ));
        end.underlay.ip("link set wan up");
    }
    Some(ends)
}

impl End {
    pub(crate) fn socket(&self) -> UdpSocket {
        let at = SocketAddr::from((self.address, PORT));
        let bind = || {
            let socket = lath_net::new_socket(socket2::Domain::IPV4, lath_net::Kind::Udp).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&at.into()).unwrap();
            socket.into()
        };
        self.underlay.run(bind)
    }

    pub(crate) fn config(&self, peer: &Self, mtu: u16) -> TunnelConfig {
        TunnelConfig {
            name: "p0".into(),
            netns: self.inner.fd(),
            udp: self.socket(),
            private_key: self.key.clone(),
            peer_public_key: public_key(&peer.key),
            peer: SocketAddr::from((peer.address, PORT)),
            mtu,
            keepalive: Duration::from_millis(300),
            addresses: Some((self.link.into(), peer.link.into())),
            clock: lath_clock::Clock::system(),
        }
    }

    pub(crate) fn start(&self, peer: &Self, mtu: u16) -> Tunnel {
        Tunnel::start(self.config(peer, mtu)).unwrap()
    }
}

/// Waits for a state of the tunnel.
pub(crate) fn wait_for(tunnel: &Tunnel, what: &str, wanted: impl Fn(&TunnelState) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&tunnel.state().borrow()) {
        let state = tunnel.state().borrow().clone();
        assert!(Instant::now() < deadline, "{what}: {state:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts both ends and waits until they are connected.
pub(crate) fn joined(ends: &[End; 2], mtu: u16) -> [Tunnel; 2] {
    let tunnels = [ends[0].start(&ends[1], mtu), ends[1].start(&ends[0], mtu)];
    for tunnel in &tunnels {
        wait_for(tunnel, "connected", |state| state.connected);
    }
    tunnels
}
