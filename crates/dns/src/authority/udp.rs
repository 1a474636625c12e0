//! By UDP: threads that share an address, each reading and writing many datagrams per system call.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lath_net::{Kind, Network, Place};
use lath_zones::Random;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use socket2::{Domain, Socket};

use super::rate::{Limiter, Outcome};
use super::{AuthorityConfig, Responder, respond, truncate};
use crate::query::MAX_QUERY;
use crate::zone_state::ZoneState;

/// How many datagrams are read at once.
const BATCH: usize = 32;

/// How soon a thread looks whether it should end, if nothing wakes it.
const LOOK: Duration = Duration::from_secs(1);

/// The most threads of one address by default.
const THREADS: usize = 4;

/// A pause after a failed read, so that it does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// The threads of one address. Dropped, they end.
pub(crate) struct Threads {
    stop: Arc<AtomicBool>,
    sockets: Vec<Arc<Socket>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for socket in &self.sockets {
            // Wakes who reads, though a socket without a peer calls it an error.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Threads {
    /// # Errors
    /// What making or binding a socket or starting a thread said.
    pub(crate) async fn start(
        network: &Arc<dyn Network>,
        place: &Place,
        at: SocketAddr,
        config: &AuthorityConfig,
        zone_state: &ZoneState,
    ) -> io::Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = match config.threads {
            0 => cores().min(THREADS),
            threads => threads,
        };
        let limiter = config.rate_limit.map(|limit| Arc::new(Limiter::new(limit)));
        let mut all = Self {
            stop: Arc::default(),
            sockets: Vec::new(),
        };
        // Shared ports would let a stranger's server share it too: the first one asks for it alone.
        drop(lath_net::bind_udp(network, place, at).await?);
        for _ in 0..count {
            let socket = bind(network, place, at).await?;
            all.sockets.push(Arc::new(socket));
        }
        for socket in &all.sockets {
            let (socket, stop) = (Arc::clone(socket), Arc::clone(&all.stop));
            let (zone_state, limiter) = (zone_state.clone(), limiter.clone());
            std::thread::Builder::new()
                .name("lath-dns-udp".to_owned())
                .spawn(move || serve(&socket, &zone_state, limiter.as_deref(), &stop))?;
        }
        Ok(all)
    }
}

async fn bind(network: &Arc<dyn Network>, place: &Place, at: SocketAddr) -> io::Result<Socket> {
    let socket = network
        .socket(place, Domain::for_address(at), Kind::Udp)
        .await?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK))?;
    // Bursts wait here rather than be lost; the kernel caps it at its own limit.
    let _ = socket.set_recv_buffer_size(1 << 20);
    socket.bind(&at.into())?;
    Ok(socket)
}

fn serve(socket: &Socket, zone_state: &ZoneState, limiter: Option<&Limiter>, stop: &AtomicBool) {
    let mut batch = Batch::new();
    while !stop.load(Ordering::Acquire) {
        match batch.receive(socket) {
            Ok(()) => batch.answer(zone_state, limiter),
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => {
                tracing::debug!(%error, "datagrams were not read");
                std::thread::sleep(PAUSE);
                continue;
            }
        }
        if let Err(error) = batch.send(socket) {
            tracing::debug!(%error, "replies were not sent");
        }
    }
}

/// Datagrams and their replies, in buffers that are used again.
struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
    /// Of their own: sending leaves pointers to the receivers' addresses in them.
    sending: MultiHeaders<SockaddrStorage>,
    buffers: Vec<Vec<u8>>,
    /// Length and sender of what is in the buffers.
    received: Vec<(usize, Option<SockaddrStorage>)>,
    replies: Vec<Vec<u8>>,
    to: Vec<Option<SockaddrStorage>>,
    random: Random,
}

impl Batch {
    fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            sending: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![vec![0; MAX_QUERY + 1]; BATCH],
            received: Vec::with_capacity(BATCH),
            replies: vec![Vec::new(); BATCH],
            to: Vec::with_capacity(BATCH),
            random: Random::new(rand::random()),
        }
    }

    /// Waits for one datagram, and takes those along that are there already.
    fn receive(&mut self, socket: &Socket) -> Result<(), Errno> {
        self.received.clear();
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let fd = socket.as_raw_fd();
        let messages = recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None)?;
        let found = messages.map(|message| (message.bytes, message.address));
        self.received.extend(found);
        Ok(())
    }

    fn answer(&mut self, zone_state: &ZoneState, limiter: Option<&Limiter>) {
        let limiter = limiter.map(|limiter| (limiter, limiter.now()));
        let (zones, health) = (zone_state.zones(), zone_state.health());
        let mut responder = Responder {
            zones: &zones,
            health: &health,
            random: &mut self.random,
        };
        self.to.clear();
        for ((length, from), bytes) in self.received.iter().zip(&self.buffers) {
            let Some(address) = from.as_ref().and_then(ip) else {
                continue;
            };
            let bytes = bytes.get(..*length).unwrap_or(bytes);
            let reply = &mut self.replies[self.to.len()];
            if !respond(&mut responder, bytes, address, false, reply) {
                continue;
            }
            match limiter.map(|(limiter, now)| limiter.judge(address, reply, now)) {
                None | Some(Outcome::Send) => {}
                Some(Outcome::Slip) => truncate(reply),
                Some(Outcome::Drop) => continue,
            }
            self.to.push(*from);
        }
    }

    fn send(&mut self, socket: &Socket) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.to.len() {
            let slices: Vec<[IoSlice<'_>; 1]> = self.replies[sent..self.to.len()]
                .iter()
                .map(|reply| [IoSlice::new(reply)])
                .collect();
            let (fd, to) = (socket.as_raw_fd(), &self.to[sent..]);
            let flags = MsgFlags::empty();
            match sendmmsg(fd, &mut self.sending, slices.iter(), to, [], flags) {
                Ok(messages) => sent += messages.count().max(1),
                Err(Errno::EINTR) => {}
                // One that cannot be sent (no route back, say) must not hold up those after it.
                Err(_) if sent + 1 < self.to.len() => sent += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().into());
    }
    address.as_sockaddr_in6().map(|v6| v6.ip().into())
}
