//! One connection being opened, and those that wait for it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio::sync::Notify;

/// As many exchanges wait for one connection: RFC 9113 section 6.5.2 recommends that it carries no fewer.
const WAITING: usize = 100;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Opened,
    /// How, and whether nothing is known but that.
    Failed(io::ErrorKind, bool),
    /// Its exchange is over, whose future was dropped.
    Abandoned,
}

/// A connection that is being opened.
pub(super) struct Dialing {
    outcome: Cell<Option<Outcome>>,
    waiting: Cell<usize>,
    notify: Notify,
}

/// Opens a connection; dropped, it has abandoned that.
pub(super) struct Dialer(Rc<Dialing>);

/// Waits for one.
pub(super) struct Waiting(Rc<Dialing>);

impl Dialing {
    pub(super) fn begin() -> Dialer {
        Dialer(Rc::new(Self {
            outcome: Cell::new(None),
            waiting: Cell::new(0),
            notify: Notify::new(),
        }))
    }

    pub(super) fn is_over(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// A place among those that wait, unless it is over or there are enough of them.
    pub(super) fn wait(self: &Rc<Self>) -> Option<Waiting> {
        let count = self.waiting.get();
        let can = !self.is_over() && count < WAITING;
        can.then(|| {
            self.waiting.set(count + 1);
            Waiting(Rc::clone(self))
        })
    }
}

impl Dialer {
    pub(super) fn shared(&self) -> Rc<Dialing> {
        Rc::clone(&self.0)
    }

    pub(super) fn end(self, error: Option<&io::Error>) {
        let failed = |error: &io::Error| Outcome::Failed(error.kind(), error.get_ref().is_none());
        let outcome = error.map_or(Outcome::Opened, failed);
        self.0.outcome.set(Some(outcome));
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        let outcome = self.0.outcome.get().unwrap_or(Outcome::Abandoned);
        self.0.outcome.set(Some(outcome));
        self.0.notify.notify_waiters();
    }
}

impl Waiting {
    pub(super) async fn outcome(&self) -> Outcome {
        loop {
            let notified = self.0.notify.notified();
            if let Some(outcome) = self.0.outcome.get() {
                return outcome;
            }
            notified.await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}
