//! How an exchange gets on: its deadlines, and what of it waits in memory.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::account::{Account, Waits};
use crate::config::Limits;
use crate::connection::Connection;
use crate::registry::{Registered, Registry};
use crate::slot::TargetSlot;

/// How long a body is held back for a target that does not say 100 (Continue).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// What both directions of an exchange tell of their progress.
pub(crate) struct Meter {
    connection: Rc<Connection>,
    started: Instant,
    touched: Cell<Instant>,
    /// The bytes of the request's head, which are charged until the exchange is over.
    head: usize,
    received: Cell<u64>,
    complete: Cell<Option<Duration>>,
    /// How long the target may be silent.
    pub(crate) limit: Cell<Duration>,
    /// When the exchange ends whatever happens.
    deadline: Cell<Option<Instant>>,
    pub(crate) expired: Cell<bool>,
    /// The link to the target's region went down.
    pub(crate) lost: Cell<bool>,
    target: RefCell<Option<Arc<TargetSlot>>>,
    pub(crate) client_failed: Cell<bool>,
    /// Whether part of the request's body was not read yet.
    pub(crate) unread: Cell<bool>,
    /// Since when the request's body waits for the target's 100 (Continue).
    expecting: Cell<Option<Instant>>,
    pub(crate) timed: Cell<bool>,
    /// Bytes of the response that wait for the client, and when it took some of them last.
    to_client: Cell<usize>,
    drained: Cell<Instant>,
    /// Bytes of the request that wait for the target, as they are charged, and as they truly are.
    to_target: Cell<usize>,
    left: RefCell<Option<Arc<AtomicUsize>>>,
    /// Waits until something is settled.
    held: Cell<bool>,
    /// The client left its stream unread for too long.
    cut: Cell<bool>,
    /// The exchange is over, but for what waits for the client.
    over: Cell<bool>,
    watched: Cell<Option<Registered<Self>>>,
    waker: RefCell<Option<Waker>>,
    /// The task that polls the request's body: the connection to an HTTP/2 target has a task of its own.
    upload_waker: RefCell<Option<Waker>>,
}

/// Where bytes wait to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Target,
}

impl Meter {
    pub(crate) fn begin(
        connection: &Rc<Connection>,
        watched: &Registry<Self>,
        head: u64,
    ) -> Rc<Self> {
        let started = connection.now();
        let charged = usize::try_from(head).unwrap_or(usize::MAX);
        connection.account.charge(charged);
        let meter = Rc::new(Self {
            connection: Rc::clone(connection),
            started,
            touched: Cell::new(started),
            head: charged,
            received: Cell::new(head),
            complete: Cell::new(None),
            limit: Cell::new(Duration::from_secs(60)),
            deadline: Cell::new(None),
            expired: Cell::new(false),
            lost: Cell::new(false),
            target: RefCell::new(None),
            client_failed: Cell::new(false),
            unread: Cell::new(false),
            expecting: Cell::new(None),
            timed: Cell::new(false),
            to_client: Cell::new(0),
            drained: Cell::new(started),
            to_target: Cell::new(0),
            left: RefCell::new(None),
            held: Cell::new(false),
            cut: Cell::new(false),
            over: Cell::new(false),
            watched: Cell::new(None),
            waker: RefCell::new(None),
            upload_waker: RefCell::new(None),
        });
        meter.watched.set(Some(watched.insert(Rc::clone(&meter))));
        meter
    }

    pub(crate) fn touch(&self) {
        self.touched.set(self.connection.now());
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
    }

    pub(crate) fn bytes_received(&self) -> u64 {
        self.received.get()
    }

    /// Holds the request's body back until the target says 100 (Continue), or is silent for too long: a
    /// client does not wait for ever either (RFC 9110 section 10.1.1).
    pub(crate) fn expect_continue(&self) {
        self.expecting.set(Some(self.connection.now()));
    }

    pub(crate) fn is_expecting(&self) -> bool {
        self.expecting.get().is_some()
    }

    /// The body may flow. Returns whether it was held back.
    pub(crate) fn let_go(&self) -> bool {
        self.expecting.take().is_some()
    }

    /// The last byte of the request is on its way to the target.
    pub(crate) fn request_complete(&self) {
        self.unread.set(false);
        if self.complete.get().is_none() && self.timed.get() {
            self.complete.set(Some(self.started.elapsed()));
        }
    }

    /// Whether the target has all that the client has sent so far of a body that goes on: its silence is the client's.
    pub(crate) fn awaits_client(&self) -> bool {
        self.settle_target();
        self.unread.get() && self.waiting(Side::Target) == 0
    }

    /// When that was, since the beginning.
    pub(crate) fn completed(&self) -> Option<Duration> {
        self.complete.get()
    }

    /// A target was picked.
    pub(crate) fn aim(&self, target: &Arc<TargetSlot>) {
        self.lost.set(false);
        self.target.replace(Some(Arc::clone(target)));
    }

    /// Whom to wake when the target is silent for too long.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        note(&self.waker, cx);
    }

    /// From now on the exchange ends at this time.
    pub(crate) fn end_at(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Whether it ends though the target still has something to say.
    pub(crate) fn is_late(&self) -> bool {
        self.expired.get() && self.deadline.get().is_some()
    }

    /// Another try begins.
    pub(crate) fn renew(&self) {
        self.expired.set(false);
        self.lost.set(false);
        self.touch();
    }

    /// Called each tick.
    pub(crate) fn check(&self, now: Instant, limits: &Limits) {
        self.settle_target();
        let is_late = self.deadline.get().is_some_and(|end| now >= end);
        if is_late && !self.expired.replace(true) {
            self.wake();
        }
        let silent = now.saturating_duration_since(self.touched.get());
        if self.to_client.get() > 0 || self.held.get() {
            self.check_client(now, limits);
        } else if silent > self.limit.get() && !self.expired.replace(true) {
            self.wake();
        }
        let expecting = self.expecting.get();
        if expecting.is_some_and(|since| now.saturating_duration_since(since) > CONTINUE_PATIENCE) {
            self.let_go();
            self.wake();
        }
        let target = self.target.borrow();
        let lost = target.as_ref().is_some_and(|it| it.lost.load(Relaxed));
        if lost && !self.lost.replace(lost) {
            self.wake();
        }
    }

    /// A client that takes nothing is cut off; the target is not to blame for its own silence meanwhile.
    fn check_client(&self, now: Instant, limits: &Limits) {
        self.touched.set(now);
        let limit = match self.connection.account.exhausted() {
            Some(_) => limits.pressed_stall,
            None => limits.stall,
        };
        let stalled = now.saturating_duration_since(self.drained.get());
        if self.to_client.get() == 0 || stalled <= limit {
            return;
        }
        if self.over.get() || !self.connection.is_http2() {
            self.connection.give_up();
        } else if !self.cut.replace(true) {
            self.connection.stalled();
            self.wake();
        }
    }

    /// Whether the task of an HTTP/2 stream must end; if not, it is woken when it must.
    pub(crate) fn is_cut(&self, cx: &Context<'_>) -> bool {
        if !self.cut.get() {
            self.wait(cx);
        }
        self.cut.get()
    }

    fn wake(&self) {
        for waker in [&self.waker, &self.upload_waker] {
            let waker = waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// What waits in memory.
impl Meter {
    /// The account that allows no further piece towards that side, if there is one.
    fn full(&self, side: Side) -> Option<&Account> {
        self.settle_target();
        let account = &self.connection.account;
        account.exhausted().or_else(|| {
            let is_full = account.is_used_up() && self.waiting(side) > 0;
            is_full.then_some(account)
        })
    }

    /// Whether a further piece towards that side has to wait.
    pub(crate) fn is_short(&self, side: Side) -> bool {
        self.full(side).is_some()
    }

    /// Ready when a further piece may be taken in towards that side.
    pub(crate) fn poll_room(self: &Rc<Self>, side: Side, cx: &Context<'_>) -> Poll<()> {
        let Some(full) = self.full(side) else {
            return Poll::Ready(());
        };
        match side {
            Side::Client => self.wait(cx),
            Side::Target => note(&self.upload_waker, cx),
        }
        if !self.held.replace(true) {
            full.wait(Rc::<Self>::clone(self));
        }
        Poll::Pending
    }

    fn waiting(&self, side: Side) -> usize {
        match side {
            Side::Client => self.to_client.get(),
            Side::Target => self.to_target.get(),
        }
    }

    /// Whether the client, or all together, have so much waiting that the request cannot be taken in.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.connection.account.exhausted().is_some()
    }

    pub(crate) fn owe_client(&self, bytes: usize) {
        if self.to_client.get() == 0 {
            self.drained.set(self.connection.now());
        }
        self.to_client.set(self.to_client.get() + bytes);
        self.connection.account.charge(bytes);
    }

    pub(crate) fn settle_client(&self, bytes: usize) {
        self.to_client
            .set(self.to_client.get().saturating_sub(bytes));
        self.connection.account.settle(bytes);
        self.drained();
        self.leave();
    }

    /// The client took something.
    pub(crate) fn drained(&self) {
        self.drained.set(self.connection.now());
    }

    /// A piece of the request was taken in; `left` is what waits of it and of earlier ones.
    pub(crate) fn owe_target(&self, left: &Arc<AtomicUsize>) {
        if self.over.get() {
            return;
        }
        self.left
            .borrow_mut()
            .get_or_insert_with(|| Arc::clone(left));
        let now = left.load(Relaxed);
        let before = self.to_target.replace(now);
        self.connection.account.charge(now.saturating_sub(before));
    }

    fn settle_target(&self) {
        let before = self.to_target.get();
        if before > 0 {
            let left = self.left.borrow();
            let now = left.as_ref().map_or(0, |left| left.load(Relaxed));
            self.to_target.set(now);
            self.connection.account.settle(before.saturating_sub(now));
        }
    }

    /// The exchange is over; what waits for the client is settled when it has left.
    pub(crate) fn end(&self) {
        self.over.set(true);
        let target = self.to_target.take();
        self.left.take();
        self.connection.account.settle(target + self.head);
        self.target.take();
        self.leave();
    }

    /// No deadline is left once all is over.
    fn leave(&self) {
        if self.over.get() && self.to_client.get() == 0 {
            self.watched.take();
        }
    }
}

impl Waits for Meter {
    fn go_on(&self) {
        self.held.set(false);
        self.wake();
    }
}

fn note(place: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut waker = place.borrow_mut();
    if !waker
        .as_ref()
        .is_some_and(|known| known.will_wake(cx.waker()))
    {
        *waker = Some(cx.waker().clone());
    }
}
