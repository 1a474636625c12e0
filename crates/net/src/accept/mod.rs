//! Accepting connections from strangers, so that none of them keeps the others out.
//!
//! Every connection holds a [`Slot`]. There is a number of slots for all, for each place (a VPC) and for
//! each source (an instance, an address). When one of these is used up, the connection that has been idle
//! for longest gives its slot up, first of the source itself, then of the heaviest; a source that has
//! fewer connections than the newcomer's never loses one to it. A connection is idle from accept until it
//! says that it is [`busy`](Slot::busy), and again afterwards; it ends when that lasts too long. So half a
//! request, sent byte by byte, keeps no slot.

mod report;
mod slot;
mod stream;
mod table;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lath_model::WorkloadId;
use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Place;
use report::Report;
use slot::Entry;
use table::{Admission, Table};

pub use slot::{Busy, Slot};
pub use stream::Watched;

/// How long a connection that must go may take to do so before a newcomer is refused, once there are many such
/// (`going`). Others wait meanwhile, so it is no more than their task needs to run.
const GOING: Duration = Duration::from_millis(20);

/// How a total is divided. Whatever happens, no more than the total have a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Division {
    /// Those in the table.
    slots: usize,
    /// Those that are on their way out beside a full table: a newcomer need not wait for the one that it takes the place
    /// of.
    going: usize,
    /// Newcomers that wait until one has gone.
    waiting: usize,
}

impl Division {
    fn of(total: usize) -> Self {
        let spare = (total / 32).clamp(1, 256).min(total / 4);
        let waiting = spare.max(1).min(total.saturating_sub(1)).max(1);
        Self {
            slots: total.saturating_sub(spare + waiting).max(1),
            going: spare,
            waiting,
        }
    }

    /// Those that have a slot, or had one and are not closed yet.
    fn open(self) -> usize {
        (self.slots + self.going).min(Semaphore::MAX_PERMITS)
    }
}

/// After a failure to accept for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(20);

/// How many connections there may be, and how long they may be idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most connections in all, with those that wait for a slot and those that are being closed: a thirty-second part is
    /// kept for each.
    pub total: usize,
    /// Most of one [`Place`].
    pub per_place: usize,
    /// Most of one [`Source`].
    pub per_source: usize,
    /// How long a connection may be idle: from accept, or from its last answer, to a whole request.
    pub idle: Duration,
}

/// Who holds connections, within a [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The client that has this address, see [`Source::of`].
    Address(IpAddr),
    /// A workload, whichever of its addresses it uses.
    Workload(WorkloadId),
}

impl Source {
    /// The source that an address stands for: an IPv4 address (all of 127.0.0.0/8 is one machine), or the
    /// /64 of an IPv6 address, out of which a host takes as many addresses as it likes.
    pub fn of(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(v4) if v4.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) if v6.is_loopback() => v6.into(),
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        })
    }
}

/// Where connections come from.
pub trait Listen: Send + Sync {
    /// A connection.
    type Stream: Send;

    /// The next connection, and the address at its other end; loopback's for a Unix socket.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Refused only for a connection that is gone already.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, (Ipv4Addr::LOCALHOST, 0).into()))
    }
}

/// Gives connections of any number of listeners their slots. Clones share them.
#[derive(Debug, Clone)]
pub struct Acceptor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: ConnectionLimits,
    table: Mutex<Table>,
    /// Slots in truth, some more than the table has: one that was taken away counts until its connection is closed.
    open: Semaphore,
    /// Newcomers that wait for one of those: each has a descriptor already.
    waiting: Semaphore,
    report: Report,
}

impl Shared {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a connection that must go gives back within a moment.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.open.try_acquire() {
            return Some(permit);
        }
        let _waits = self.waiting.try_acquire().ok()?;
        let permit = self.open.acquire();
        tokio::time::timeout(GOING, permit).await.ok()?.ok()
    }
}

impl Acceptor {
    /// An acceptor without connections. `name` says in the log what they are for.
    pub fn new(name: &'static str, limits: ConnectionLimits) -> Self {
        let division = Division::of(limits.total);
        Self {
            shared: Arc::new(Shared {
                limits,
                table: Mutex::new(Table::new(ConnectionLimits {
                    total: division.slots,
                    ..limits
                })),
                open: Semaphore::new(division.open()),
                waiting: Semaphore::new(division.waiting),
                report: Report::new(name),
            }),
        }
    }

    /// The next connection of `listener`, which is in `place`, that gets a slot; who is at its other end
    /// counts as the [`Source::of`] its address.
    pub async fn accept<L: Listen>(
        &self,
        listener: &L,
        place: &Place,
    ) -> (L::Stream, SocketAddr, Slot) {
        self.accept_from(listener, place, Source::of).await
    }

    /// As [`Self::accept`], where `source` knows more about addresses.
    pub async fn accept_from<L: Listen>(
        &self,
        listener: &L,
        place: &Place,
        source: impl Fn(IpAddr) -> Source,
    ) -> (L::Stream, SocketAddr, Slot) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(slot) = self.admit(place, source(peer.ip())).await {
                        return (stream, peer, slot);
                    }
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// A slot for something of `source` in `place`; none when it has its share and nothing of it is idle,
    /// or when all slots are taken by others who have no more than it.
    pub async fn admit(&self, place: &Place, source: Source) -> Option<Slot> {
        let shared = &self.shared;
        let entry = Arc::new(Entry::new());
        let verdict = shared.table().admit(place, &source, &entry);
        match verdict {
            Admission::Admitted => {}
            Admission::InsteadOf(other) => {
                other.evict();
                shared.report.evicted();
            }
            Admission::Refused => {
                shared.report.refused();
                return None;
            }
        }
        let mut held = Held {
            shared: Arc::clone(shared),
            entry,
            place: place.clone(),
            source,
            open: false,
        };
        match shared.place().await {
            Some(permit) => {
                // Given back with the entry: a permit that owns its semaphore would be one more pointer in every slot.
                permit.forget();
                held.open = true;
                Some(Slot::new(held))
            }
            None => {
                shared.report.refused();
                None
            }
        }
    }

    /// As [`Self::admit`], and tries again for as long as `patience`, which may be [`Duration::MAX`].
    pub async fn admit_within(
        &self,
        patience: Duration,
        place: &Place,
        source: Source,
    ) -> Option<Slot> {
        let begin = tokio::time::Instant::now();
        loop {
            let slot = self.admit(place, source.clone()).await;
            if slot.is_some() || begin.elapsed() >= patience {
                return slot;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A failure to accept. One that is about the connection alone costs nothing; without descriptors or
    /// memory, the connection that has been idle for longest gives back its own.
    async fn failed(&self, error: &io::Error) {
        if !is_want(error) {
            self.shared.report.broken();
            return;
        }
        let idle = self.shared.table().take_idle();
        if let Some(idle) = idle {
            idle.evict();
            self.shared.report.evicted();
        }
        self.shared.report.failed(error);
        tokio::time::sleep(PAUSE).await;
    }

    /// How many slots are taken.
    pub fn taken(&self) -> usize {
        self.shared.table().len()
    }
}

/// Whether the process or the machine lacks something; other errors are of a connection that is gone
/// (accept(2), "Error handling").
fn is_want(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    !matches!(
        errno,
        Some(
            Errno::ECONNABORTED
                | Errno::ECONNRESET
                | Errno::EINTR
                | Errno::EPERM
                | Errno::EPROTO
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::ETIMEDOUT
        )
    )
}

/// An entry of the table, which is taken out of it when this is dropped.
#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    place: Place,
    source: Source,
    /// Whether it has one of [`Shared::open`].
    open: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        table.release(&self.place, &self.source, &self.entry);
        drop(table);
        if self.open {
            self.shared.open.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests;
