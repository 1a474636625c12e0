//! What a client connection's owner sees of its bytes while the engine has them.

use std::cell::Cell;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How reading and writing stand.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Whether nothing of a request was read that the engine has not got, and no part of one.
    between: Cell<bool>,
    /// Whether the last attempt to read found nothing.
    dry: Cell<bool>,
    /// Whether the engine has nothing to write.
    flushed: Cell<bool>,
    closing: Cell<bool>,
    /// Since when the kernel has taken nothing of what is to be written.
    blocked: Cell<Option<Instant>>,
}

impl Wire {
    /// Before the engine is polled.
    pub(crate) fn look(&self) {
        self.dry.set(false);
    }

    /// After the engine was polled: whether it holds nothing but its buffers. It flushes whenever its own buffer is
    /// empty, and reads while it waits for a request.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.between.get() && self.dry.get() && self.flushed.get() && !self.closing.get()
    }

    /// For how long nothing could be written.
    pub(crate) fn blocked_for(&self, now: Instant) -> Duration {
        let since = self.blocked.get();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Something was read.
    pub(crate) fn came(&self) {
        self.dry.set(false);
    }

    /// There was nothing to read. `between`: all that came before is complete.
    pub(crate) fn ran_dry(&self, between: bool) {
        self.dry.set(true);
        self.between.set(between);
    }

    /// Writing was tried.
    pub(crate) fn wrote<T>(&self, now: impl FnOnce() -> Instant, polled: Poll<T>) -> Poll<T> {
        self.flushed.set(false);
        match polled {
            Poll::Ready(_) => self.blocked.set(None),
            Poll::Pending if self.blocked.get().is_none() => self.blocked.set(Some(now())),
            Poll::Pending => {}
        }
        polled
    }

    /// All that the engine wrote is with the kernel.
    pub(crate) fn flushed(&self) {
        self.flushed.set(true);
    }

    /// The engine ends the connection.
    pub(crate) fn closes(&self) {
        self.closing.set(true);
    }
}
