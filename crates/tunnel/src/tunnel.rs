//! A tunnel: a device, a socket, a peer, and the two threads between them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lath_feed::PrivateKey;
use lath_model::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::watch;

use crate::batch::Batch;
use crate::datagrams;
use crate::device::{self, Shape};
use crate::glue::Glue;
use crate::peer::{Opened, Peer};
use crate::segment;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// The largest frame of a device: a header and 64 KiB.
const FRAME: usize = 10 + 65_536;
/// Frames between two looks at whether to stop, and datagram runs between two looks at the clock.
const TURN: usize = 64;

/// What a tunnel is to be.
#[derive(Debug)]
pub struct TunnelConfig {
    /// The device's name, at most 15 bytes.
    pub name: String,
    /// The namespace that the device is in.
    pub netns: OwnedFd,
    /// A bound socket, from the underlay. It is connected to the peer, so that sockets of several
    /// tunnels may share an address and port (`SO_REUSEADDR`): the kernel tells them apart by the peer.
    pub udp: UdpSocket,
    /// This end's key.
    pub private_key: PrivateKey,
    /// The other end's key.
    pub peer_public_key: [u8; 32],
    /// Where the other end's socket is.
    pub peer: SocketAddr,
    /// The device's MTU, at least [`crate::OVERHEAD`] smaller than the underlay's.
    pub mtu: u16,
    /// How long this end sends nothing before it sends an empty packet. After 3.5 times as long without a
    /// word the other end counts as gone.
    pub keepalive: Duration,
    /// Addresses for the device: its own, and the other end's, which is routed to it. `None`: its
    /// namespace's owner gives it addresses and routes.
    pub addresses: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// How a tunnel is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TunnelState {
    /// Whether the other end proved to be there within the last few seconds.
    pub connected: bool,
    /// When keys were agreed on last.
    pub last_handshake: Option<Timestamp>,
    /// Bytes of datagrams from the other end that proved to be its own.
    pub rx_bytes: u64,
    /// Bytes of datagrams to the other end.
    pub tx_bytes: u64,
    /// Why the tunnel does not work any more, such as a device that was deleted. It must be started anew.
    pub broken: Option<String>,
}

/// A running tunnel. Dropping it stops it and leaves the device, without carrier, for a successor.
#[derive(Debug)]
pub struct Tunnel {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    state: watch::Receiver<TunnelState>,
}

struct Shared {
    name: String,
    device: OwnedFd,
    udp: UdpSocket,
    peer: Mutex<Peer>,
    stop: EventFd,
    say: watch::Sender<TunnelState>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish()
    }
}

impl Tunnel {
    /// Makes the device, or takes over what a killed predecessor left, and begins to carry packets.
    /// Blocks for a moment.
    ///
    /// # Errors
    /// `ResourceBusy` while another process has the device; otherwise what the kernel said.
    pub fn start(config: TunnelConfig) -> io::Result<Self> {
        datagrams::prepare(&config.udp, config.peer)?;
        let shape = Shape {
            name: &config.name,
            mtu: config.mtu,
            addresses: config.addresses,
        };
        let device = device::open(config.netns.as_fd(), shape)?;
        let peer = Peer::new(
            &config.private_key,
            config.peer_public_key,
            config.peer.ip(),
            config.keepalive,
        );
        let (say, state) = watch::channel(TunnelState::default());
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared {
            name: config.name,
            device,
            udp: config.udp,
            peer: Mutex::new(peer),
            stop,
            say,
        });
        let mut tunnel = Self {
            shared,
            threads: Vec::new(),
            state,
        };
        tunnel.spawn("out", Shared::send)?;
        tunnel.spawn("in", Shared::receive)?;
        Ok(tunnel)
    }

    fn spawn(&mut self, way: &str, work: fn(&Shared) -> io::Result<()>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(format!("{}-{way}", shared.name))
            .spawn(move || {
                if let Err(error) = work(&shared) {
                    shared.say.send_modify(|state| {
                        state.connected = false;
                        state.broken = Some(error.to_string());
                    });
                }
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// How it is, ten times a second while something changes.
    pub fn state(&self) -> watch::Receiver<TunnelState> {
        self.state.clone()
    }

    /// Stops it and deletes the device.
    ///
    /// # Errors
    /// When the kernel does not delete it.
    pub fn remove(mut self) -> io::Result<()> {
        self.halt();
        let shared = Arc::clone(&self.shared);
        drop(self);
        device::forget(shared.device.as_fd())?;
        // The device goes with its last descriptor.
        drop(shared);
        Ok(())
    }

    /// Stops it and leaves the device for a successor. So does dropping it.
    pub fn stop(self) {}

    fn halt(&mut self) {
        // Only a full counter refuses, and that one wakes too.
        let _told = self.shared.stop.write(1);
        for thread in self.threads.drain(..) {
            // A panic was told by the panic hook.
            drop(thread.join());
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Shared {
    fn peer(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the descriptor, at most until the next tick where `ticks`. False: stop.
    fn wait(&self, fd: impl AsFd, ticks: bool) -> io::Result<bool> {
        let timeout = if ticks {
            PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO)
        } else {
            PollTimeout::NONE
        };
        let mut both = [
            PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(fd.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut both, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(!both[0].any().unwrap_or(false)),
            Err(error) => Err(error.into()),
        }
    }

    /// From the device to the peer.
    fn send(&self) -> io::Result<()> {
        let mut frame = vec![0; FRAME];
        let (mut scratch, mut batch) = (Vec::with_capacity(FRAME), Batch::new());
        while self.wait(&self.device, false)? {
            for _ in 0..TURN {
                match nix::unistd::read(&self.device, &mut frame) {
                    Ok(length) => self.seal(&mut frame[..length], &mut scratch, &mut batch),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            datagrams::send(&self.udp, &self.stop, &mut batch);
        }
        Ok(())
    }

    fn seal(&self, frame: &mut [u8], scratch: &mut Vec<u8>, batch: &mut Batch) {
        let now = Instant::now();
        let mut peer = self.peer();
        let sealed = segment::packets(frame, scratch, |packet| {
            if !peer.seal(packet, batch, now) {
                datagrams::send(&self.udp, &self.stop, batch);
                peer.seal(packet, batch, now);
            }
        });
        drop(peer);
        if sealed.is_none() {
            tracing::debug!(tunnel = %self.name, "the device handed over a frame that is none");
        }
        if batch.is_large() {
            datagrams::send(&self.udp, &self.stop, batch);
        }
    }

    /// From the peer to the device, and what time demands.
    fn receive(&self) -> io::Result<()> {
        let mut inbound = Inbound::new();
        let mut ticked = Instant::now();
        self.tick(&mut inbound.answers);
        while self.wait(&self.udp, true)? {
            self.drain(&mut inbound)?;
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick(&mut inbound.answers);
            }
        }
        Ok(())
    }

    fn drain(&self, inbound: &mut Inbound) -> io::Result<()> {
        let mut result = Ok(());
        let mut write = |frame: &[u8]| match nix::unistd::write(&self.device, frame) {
            // Down, or a packet that is none: lost, as packets are.
            Ok(_) | Err(Errno::EIO | Errno::EINVAL | Errno::EAGAIN | Errno::ENOBUFS) => {}
            Err(Errno::EINTR | Errno::ENOMEM) => {}
            Err(error) => result = Err(error.into()),
        };
        for _ in 0..TURN {
            let got = datagrams::receive(&self.udp, &mut inbound.raw, &mut inbound.control);
            match got {
                Ok((length, each)) => {
                    inbound.open(&mut self.peer(), length, each);
                    inbound.pass_on(&mut write);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier datagram: the peer is away, which is noticed by silence.
                Err(_) => {}
            }
            if !inbound.answers.is_empty() {
                datagrams::send(&self.udp, &self.stop, &mut inbound.answers);
            }
        }
        inbound.glue.flush(&mut write);
        result
    }

    fn tick(&self, batch: &mut Batch) {
        let now = Instant::now();
        let mut peer = self.peer();
        peer.tick(batch, now);
        let state = TunnelState {
            connected: peer.is_connected(now),
            last_handshake: peer.handshake,
            rx_bytes: peer.received,
            tx_bytes: peer.sealed,
            broken: None,
        };
        drop(peer);
        datagrams::send(&self.udp, &self.stop, batch);
        self.say.send_if_modified(|known| {
            let differs = known.broken.is_none() && *known != state;
            if differs {
                *known = state;
            }
            differs
        });
    }
}

/// The receiving thread's buffers.
struct Inbound {
    raw: Vec<u8>,
    control: Vec<u8>,
    opened: Vec<u8>,
    packets: Vec<(usize, usize)>,
    answers: Batch,
    glue: Glue,
}

impl Inbound {
    fn new() -> Self {
        Self {
            raw: vec![0; 65_536],
            control: nix::cmsg_space!(libc::c_int),
            // Each datagram is opened behind the packet of the one before, with room for itself.
            opened: vec![0; 3 * 65_536],
            packets: Vec::new(),
            answers: Batch::new(),
            glue: Glue::default(),
        }
    }

    fn open(&mut self, peer: &mut Peer, length: usize, each: usize) {
        let now = Instant::now();
        let mut used = 0;
        self.packets.clear();
        for datagram in self.raw[..length].chunks(each) {
            let room = &mut self.opened[used..];
            if let Opened::Packet(length) = peer.open(datagram, room, &mut self.answers, now) {
                self.packets.push((used, used + length));
                used += length;
            }
        }
    }

    fn pass_on(&mut self, write: &mut impl FnMut(&[u8])) {
        for (start, end) in &self.packets {
            self.glue.push(&self.opened[*start..*end], write);
        }
    }
}
