//! What a connection holds.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::Held;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now() -> u64 {
    millis(Instant::now())
}

/// Since [`BEGIN`].
fn millis(at: Instant) -> u64 {
    let since = at.saturating_duration_since(*BEGIN);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A connection, as the table sees it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Requests that are being answered.
    busy: AtomicU32,
    /// When it was accepted, or something was last done for it, in milliseconds since [`BEGIN`].
    since: AtomicU64,
    /// How much longer than others it may be idle, in milliseconds.
    grace: AtomicU64,
    evicted: AtomicBool,
    /// Woken when it is evicted.
    waker: Mutex<Option<Waker>>,
}

impl Entry {
    pub(super) fn new() -> Self {
        Self {
            busy: AtomicU32::new(0),
            since: AtomicU64::new(now()),
            grace: AtomicU64::new(0),
            evicted: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Since when it has been idle; nothing while it is busy.
    pub(super) fn idle_since(&self) -> Option<u64> {
        (self.busy.load(Relaxed) == 0).then(|| self.since.load(Relaxed))
    }

    /// When something was last done for it.
    pub(super) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of an [`super::Acceptor`]'s slots, until it is dropped: which must be after the connection was closed.
#[derive(Debug)]
pub struct Slot {
    held: Held,
}

impl Slot {
    pub(super) fn new(held: Held) -> Self {
        Self { held }
    }

    /// Keeps the connection from being idle until what is returned is dropped. May be called several
    /// times, for several requests at once.
    pub fn busy(&self) -> Busy {
        Busy::new(Arc::clone(&self.held.entry))
    }

    /// As [`Self::busy`], for one who has many requests one after another and counts those at once: from now on the
    /// connection is not idle, until [`Self::rest`].
    pub fn work(&self) {
        self.held.entry.busy.store(1, Relaxed);
    }

    /// Nothing is done for the connection since then, which ends [`Self::work`].
    pub fn rest(&self, since: std::time::Instant) {
        let entry = &self.held.entry;
        entry.since.store(millis(since.into()), Relaxed);
        entry.busy.store(0, Relaxed);
    }

    /// Something was done for the connection: its time to be idle begins anew.
    pub fn touch(&self) {
        self.held.entry.since.store(now(), Relaxed);
    }

    /// Lets the connection be idle for longer than others: a request is on its way, and has its own
    /// deadline. It still gives way to newcomers.
    pub fn set_grace(&self, grace: Duration) {
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.held.entry.grace.store(millis, Relaxed);
    }

    /// Whether the slot was given to another connection: this one must end.
    pub fn is_evicted(&self) -> bool {
        self.held.entry.evicted.load(Relaxed)
    }

    /// Has `waker` woken when the slot is given to another connection, instead of any other waker. It may have
    /// been given away already: see [`Self::is_evicted`].
    pub fn wake_when_evicted(&self, waker: &Waker) {
        *self.held.entry.waker() = Some(waker.clone());
    }

    /// Returns when the connection must end: its slot was given to another one, or it was idle for too
    /// long. One task at a time waits for it, instead of [`Self::wake_when_evicted`].
    pub async fn ended(&self) {
        let entry = &self.held.entry;
        let idle = self.held.shared.limits.idle;
        loop {
            let left = remaining(entry, idle);
            if left.is_zero() {
                return;
            }
            // A time-out is looked at again: it may have been busy.
            let evicted = poll_fn(|cx| {
                self.wake_when_evicted(cx.waker());
                match self.is_evicted() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            if tokio::time::timeout(left, evicted).await.is_ok() {
                return;
            }
        }
    }

    pub(super) fn entry(&self) -> Arc<Entry> {
        Arc::clone(&self.held.entry)
    }
}

/// How much longer a connection may do nothing.
fn remaining(entry: &Entry, idle: Duration) -> Duration {
    match entry.idle_since() {
        None => idle,
        Some(since) => {
            let grace = Duration::from_millis(entry.grace.load(Relaxed));
            let gone = Duration::from_millis(now().saturating_sub(since));
            idle.saturating_add(grace).saturating_sub(gone)
        }
    }
}

/// Keeps a connection from being idle, until it is dropped.
#[derive(Debug)]
pub struct Busy {
    entry: Arc<Entry>,
}

impl Busy {
    fn new(entry: Arc<Entry>) -> Self {
        entry.busy.fetch_add(1, Relaxed);
        Self { entry }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.entry.since.store(now(), Relaxed);
        self.entry.busy.fetch_sub(1, Relaxed);
    }
}

/// Tells an entry of progress.
#[derive(Debug, Clone)]
pub(super) struct Progress(pub(super) Arc<Entry>);

impl Progress {
    pub(super) fn made(&self) {
        self.0.since.store(now(), Relaxed);
    }
}
