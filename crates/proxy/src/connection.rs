//! Client connections, as everything sees them that looks after deadlines, accounts and orders.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::Version;
use lath_net::accept::Slot;

use crate::account::Account;
use crate::clients::Client;
use crate::config::{Limits, ProxyConfig};
use crate::fields::Field;
use crate::listener::Listening;
use crate::seam::Seam;
use crate::stream::Stream;
use crate::tls::Secured;
use crate::wire::Wire;

/// The order that a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go on.
    Serve,
    /// Take no new requests, finish those in flight by this time.
    Finish(Instant),
    /// End now.
    Abort,
}

/// What takes a client's stream when HTTP has ended on it.
pub(crate) trait Onwards {
    /// Carries it to its end; `came` was read of it already.
    fn carry(self: Box<Self>, client: Stream, came: Vec<u8>) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// What few connections have.
#[derive(Default)]
struct Rare {
    secured: Option<Secured>,
    onwards: Cell<Option<Box<dyn Onwards>>>,
}

/// A client's connection, as the keeper of deadlines sees it.
pub(crate) struct Connection {
    /// The client's port.
    port: u16,
    /// How long it may be idle, in milliseconds.
    patience: Cell<u32>,
    pub(crate) listening: Rc<Listening>,
    active: Cell<u32>,
    idle_since: Cell<Instant>,
    born: Instant,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    /// `None` until the first bytes have come.
    pub(crate) version: Cell<Option<Version>>,
    pub(crate) wire: Wire,
    /// What waits in memory for it.
    pub(crate) account: Account,
    /// Whether it was idle at the last tick, and so may rest.
    tired: Cell<bool>,
    client: Client,
    /// What Lath itself writes to an HTTP/1.1 client.
    pub(crate) seam: Seam,
    /// Whether the connection ends after an answer to a request that was not read to its end.
    pub(crate) lingers: Cell<bool>,
    /// Whether the client may still have to shake hands.
    opening: Cell<bool>,
    /// Whether it carries TCP of which nothing is read.
    opaque: Cell<bool>,
    rare: OnceCell<Box<Rare>>,
    slot: Slot,
}

impl Connection {
    pub(crate) fn new(
        limits: &Limits,
        listening: Rc<Listening>,
        remote: SocketAddr,
        client: Client,
        slot: Slot,
    ) -> Self {
        let now = Instant::now();
        Self {
            port: remote.port(),
            patience: Cell::new(60_000),
            listening,
            active: Cell::new(0),
            idle_since: Cell::new(now),
            born: now,
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
            version: Cell::new(None),
            wire: Wire::default(),
            account: Account::of_connection(limits, client.account()),
            tired: Cell::new(false),
            client,
            seam: Seam::default(),
            lingers: Cell::new(false),
            opening: Cell::new(true),
            opaque: Cell::new(false),
            rare: OnceCell::new(),
            slot,
        }
    }

    /// As exact as the last tick.
    pub(crate) fn now(&self) -> Instant {
        self.client.now()
    }

    /// The client's address and port.
    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.client.address(), self.port)
    }

    /// `x-forwarded-for`.
    pub(crate) fn client_header(&self) -> &Field {
        self.client.header()
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.version.get() == Some(Version::HTTP_2)
    }

    pub(crate) fn enter(&self) {
        self.active.set(self.active.get() + 1);
        self.slot.work();
    }

    pub(crate) fn leave(&self, now: Instant) {
        self.active.set(self.active.get().saturating_sub(1));
        self.tired.set(false);
        if self.active.get() == 0 {
            self.slot.rest(now);
        }
        self.idle_since.set(now);
    }

    /// Bytes went to or from the client by themselves, without a request.
    pub(crate) fn carried(&self) {
        let now = self.now();
        if self.idle_since.replace(now) != now {
            self.slot.rest(now);
        }
    }

    /// Whether it is not known yet what the client speaks, or it shakes hands.
    pub(crate) fn is_opening(&self) -> bool {
        self.opening.get()
    }

    /// It is known what the client speaks; under TLS if `secured` is given.
    pub(crate) fn opened(&self, secured: Option<Secured>) {
        self.opening.set(false);
        if secured.is_some() {
            let rare = Rare {
                secured,
                ..Rare::default()
            };
            let _ = self.rare.set(Box::new(rare));
        }
    }

    /// What the handshake came to; `None` in the clear.
    pub(crate) fn secured(&self) -> Option<&Secured> {
        self.rare.get()?.secured.as_ref()
    }

    /// When HTTP ends with the next answer, its stream goes on there.
    pub(crate) fn switch_to(&self, onwards: Box<dyn Onwards>) {
        let rare = self.rare.get_or_init(Box::default);
        rare.onwards.set(Some(onwards));
    }

    /// Where its stream goes on, if it does.
    pub(crate) fn take_onwards(&self) -> Option<Box<dyn Onwards>> {
        self.rare.get()?.onwards.take()
    }

    /// Whether a request is being answered.
    pub(crate) fn is_active(&self) -> bool {
        self.active.get() > 0
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.order.get() == Order::Abort
    }

    /// Called each tick.
    pub(crate) fn check(&self, now: Instant, config: &ProxyConfig) {
        match self.order.get() {
            Order::Serve if self.listening.is_closed() => {
                self.finish(now + config.listener_drain);
            }
            // What carries TCP grows as old as its ends like.
            Order::Serve
                if !self.carries_tcp()
                    && now.saturating_duration_since(self.born)
                        > config.max_connection_lifetime =>
            {
                self.finish(now + config.lifetime_grace);
            }
            Order::Serve | Order::Finish(_) if self.is_overdue(now, &config.limits) => {
                self.set_order(Order::Abort);
            }
            // What is carried for others is not ended in the middle of what comes later.
            Order::Serve if self.carries_tcp() && self.is_idle(now) => {
                self.set_order(Order::Abort);
            }
            Order::Serve if self.is_idle(now) => self.finish(now + config.lifetime_grace),
            Order::Finish(by) if now >= by => self.set_order(Order::Abort),
            Order::Serve | Order::Finish(_) if self.wire.blocked_for(now) > config.limits.stall => {
                self.give_up();
            }
            Order::Serve if self.is_tired(now, &config.limits) => self.wake(),
            Order::Serve | Order::Finish(_) | Order::Abort => {}
        }
    }

    /// It carries TCP of which nothing is read.
    pub(crate) fn set_opaque(&self) {
        self.opaque.set(true);
    }

    fn carries_tcp(&self) -> bool {
        self.opaque.get() || self.listening.resource().is_some()
    }

    /// Whether its handshake takes too long.
    fn is_overdue(&self, now: Instant, limits: &Limits) -> bool {
        let age = now.saturating_duration_since(self.born);
        self.opening.get() && age > limits.handshake
    }

    fn is_idle(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.idle_since.get());
        self.active.get() == 0 && idle > Duration::from_millis(self.patience.get().into())
    }

    pub(crate) fn set_idle_timeout(&self, to: Duration) {
        let millis = u32::try_from(to.as_millis());
        self.patience.set(millis.unwrap_or(u32::MAX));
    }

    /// Takes no new requests; what is in flight has until then.
    pub(crate) fn finish(&self, by: Instant) {
        if self.order.get() == Order::Serve {
            self.set_order(Order::Finish(by));
        }
    }

    /// Whether it may rest since this tick.
    fn is_tired(&self, now: Instant, limits: &Limits) -> bool {
        let idle = now.saturating_duration_since(self.idle_since.get());
        let http1 = self.version.get() == Some(Version::HTTP_11);
        let tired = http1 && self.active.get() == 0 && idle >= limits.park_after;
        tired && !self.tired.replace(true)
    }

    /// Whether hyper is not needed until the next request comes.
    pub(crate) fn may_rest(&self) -> bool {
        let serves = self.order.get() == Order::Serve;
        serves && self.tired.get() && self.active.get() == 0 && self.wire.is_at_rest()
    }

    /// The client takes nothing: ends the connection.
    pub(crate) fn give_up(&self) {
        if self.order.get() != Order::Abort {
            self.stalled();
            self.set_order(Order::Abort);
        }
    }

    /// The connection or a stream of it is ended because the client takes nothing.
    pub(crate) fn stalled(&self) {
        self.client.stalled();
    }

    fn set_order(&self, order: Order) {
        self.order.set(order);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// The connection's present order. The task that asks is woken when it changes.
    pub(crate) fn order(&self, cx: &Context<'_>) -> Order {
        {
            let mut waker = self.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
                self.slot.wake_when_evicted(cx.waker());
            }
        }
        if self.slot.is_evicted() {
            self.order.set(Order::Abort);
        }
        self.order.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the two counters of its `Rc` it fits into 288 bytes of the allocator's. What connections of one client
    /// have in common belongs to [`Client`], and what few connections have into a box.
    #[test]
    fn a_connection_is_small() {
        let size = size_of::<Connection>();
        assert!(size <= 272, "{size}");
    }
}
