//! A tunnel: a device, a socket, a peer, and two threads that move packets.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lath_clock::Clock;
use lath_feed::PrivateKey;
use lath_model::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::watch;

use crate::batch::Batch;
use crate::coalesce::Coalescer;
use crate::datagrams;
use crate::device::{self, Shape};
use crate::peer::{Opened, Peer};
use crate::segment;

/// The interval of the timers.
const TICK: Duration = Duration::from_millis(100);
/// The largest frame of a device, in bytes: a header and 64 KiB.
const FRAME: usize = 10 + 65_536;
/// The frames between checks of the stop signal, and the datagram runs between checks of the clock.
const TURN: usize = 64;

/// The configuration of a tunnel.
#[derive(Debug)]
pub struct TunnelConfig {
    /// The device's name, at most 15 bytes.
    pub name: String,
    /// The namespace of the device.
    pub netns: OwnedFd,
    /// A socket bound in the underlay. It gets connected to the peer, so that several tunnels may share an
    /// address and port (`SO_REUSEADDR`): the kernel distinguishes their sockets by the peer.
    pub udp: UdpSocket,
    /// This end's private key.
    pub private_key: PrivateKey,
    /// The peer's public key.
    pub peer_public_key: [u8; 32],
    /// The address of the peer's socket.
    pub peer: SocketAddr,
    /// The device's MTU, at least [`crate::OVERHEAD`] smaller than the underlay's.
    pub mtu: u16,
    /// The idle time after which this end sends an empty packet. A peer that is silent for 3.5 times as long
    /// counts as disconnected.
    pub keepalive: Duration,
    /// The device's address, and the peer's address, which is routed to the device. `None`: the owner of the
    /// namespace configures addresses and routes.
    pub addresses: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The wall clock, of the last handshake's time.
    pub clock: Clock,
}

/// The state of a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TunnelState {
    /// Whether the peer has sent an authenticated packet recently.
    pub connected: bool,
    /// The time of the last handshake.
    pub last_handshake: Option<Timestamp>,
    /// Bytes of authenticated datagrams from the peer.
    pub rx_bytes: u64,
    /// Bytes of datagrams to the peer.
    pub tx_bytes: u64,
    /// Why the tunnel has stopped working, for example because its device was deleted. It must be started again.
    pub broken: Option<String>,
}

/// A running tunnel. Dropping it stops it and leaves the device, without carrier, for the next process.
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
    state_tx: watch::Sender<TunnelState>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish()
    }
}

impl Tunnel {
    /// Makes the device, or attaches to the one that a killed predecessor left, and starts to carry packets. Blocks
    /// briefly.
    ///
    /// # Errors
    /// `ResourceBusy` while another process is attached to the device; otherwise the kernel's error.
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
            config.clock,
        );
        let (state_tx, state) = watch::channel(TunnelState::default());
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared {
            name: config.name,
            device,
            udp: config.udp,
            peer: Mutex::new(peer),
            stop,
            state_tx,
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
                    shared.state_tx.send_modify(|state| {
                        state.connected = false;
                        state.broken = Some(error.to_string());
                    });
                }
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// The state, updated up to ten times a second.
    pub fn state(&self) -> watch::Receiver<TunnelState> {
        self.state.clone()
    }

    /// Stops the tunnel and deletes the device.
    ///
    /// # Errors
    /// When the kernel does not delete the device.
    pub fn remove(mut self) -> io::Result<()> {
        self.halt();
        let shared = Arc::clone(&self.shared);
        drop(self);
        device::forget(shared.device.as_fd())?;
        // The kernel deletes the device with its last descriptor.
        drop(shared);
        Ok(())
    }

    /// Stops the tunnel and leaves the device for the next process, like dropping it.
    pub fn stop(self) {}

    fn halt(&mut self) {
        // The write fails only if the counter is full, and a full counter wakes the threads too.
        let _full_counter = self.shared.stop.write(1);
        for thread in self.threads.drain(..) {
            // The panic hook has already reported a panic.
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

    /// Waits for the descriptor; with `ticks`, at most until the next tick. Returns false on the stop signal.
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

    /// Moves packets from the device to the peer.
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
            tracing::debug!(tunnel = %self.name, "the device sent a malformed frame");
        }
        if batch.is_large() {
            datagrams::send(&self.udp, &self.stop, batch);
        }
    }

    /// Moves packets from the peer to the device, and runs the timers.
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
            // The device is down, or the packet is malformed: drop it.
            Ok(_) | Err(Errno::EIO | Errno::EINVAL | Errno::EAGAIN | Errno::ENOBUFS) => {}
            Err(Errno::EINTR | Errno::ENOMEM) => {}
            Err(error) => result = Err(error.into()),
        };
        for _ in 0..TURN {
            let got = datagrams::receive(&self.udp, &mut inbound.raw, &mut inbound.control);
            match got {
                Ok((length, each)) => {
                    inbound.open(&mut self.peer(), length, each);
                    inbound.write_packets(&mut write);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier datagram. A dead peer is detected by its silence.
                Err(_) => {}
            }
            if !inbound.answers.is_empty() {
                datagrams::send(&self.udp, &self.stop, &mut inbound.answers);
            }
        }
        inbound.coalescer.flush(&mut write);
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
        self.state_tx.send_if_modified(|known| {
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
    coalescer: Coalescer,
}

impl Inbound {
    fn new() -> Self {
        Self {
            raw: vec![0; 65_536],
            control: nix::cmsg_space!(libc::c_int),
            // Datagrams are decrypted one behind the other.
            opened: vec![0; 3 * 65_536],
            packets: Vec::new(),
            answers: Batch::new(),
            coalescer: Coalescer::default(),
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

    fn write_packets(&mut self, write: &mut impl FnMut(&[u8])) {
        for (start, end) in &self.packets {
            self.coalescer.push(&self.opened[*start..*end], write);
        }
    }
}
