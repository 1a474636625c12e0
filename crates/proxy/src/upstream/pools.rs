//! The connections to targets that one thread has open and that nothing uses.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_health::Dial;
use lath_model::id::VpcId;
use tokio::sync::Semaphore;

use super::dialing::Dialing;
use super::link::{Cold, Link, Room};
use super::serials::Serials;
use crate::breaker::{self, Load};
use crate::config::ProxyConfig;
use crate::engine::http2_client::{Http2, Seat};
use crate::shown::ShownIdentity;
use crate::slot::{Members, TargetSlot};
use crate::upload::RequestBody;

/// The idle connections of one thread, by target and caller, and what new ones are made with.
pub(crate) struct Pools {
    pub(super) config: Arc<ProxyConfig>,
    pub(super) dial: Dial,
    pub(super) thread: usize,
    /// The thread's, as exact as its last tick or request.
    pub(super) clock: Rc<Cell<Instant>>,
    /// Connections to targets that may still be opened.
    rooms: Arc<Semaphore>,
    idle: RefCell<HashMap<(u64, u64), Pool, Serials>>,
}

pub(super) struct Pool {
    target: Arc<TargetSlot>,
    /// The one used last is the last.
    #[expect(clippy::vec_box, reason = "each exchange moves one out and in again")]
    pub(super) idle: Vec<Box<Link>>,
    /// Those that have been idle for a while.
    cold: Vec<Cold>,
    /// Of HTTP/2.
    pub(super) shared: Vec<Http2<RequestBody>>,
    /// What goes to the group of those.
    pub(super) load: Option<Arc<Load>>,
    /// A connection of HTTP/2 that is being opened.
    pub(super) dialing: Option<Rc<Dialing>>,
}

/// A connection that can carry an exchange.
pub(super) enum Usable {
    /// Boxed: it is moved several times in each exchange.
    Http1(Box<Link>),
    Http2(Seat<RequestBody>),
}

impl Pools {
    pub(crate) fn new(
        config: &Arc<ProxyConfig>,
        dial: Dial,
        thread: usize,
        clock: Rc<Cell<Instant>>,
    ) -> Self {
        let rooms = config.limits.target_connections();
        let rooms = rooms.div_ceil(config.threads.max(1));
        Self {
            config: Arc::clone(config),
            dial,
            thread,
            clock,
            rooms: Arc::new(Semaphore::new(rooms)),
            idle: RefCell::default(),
        }
    }

    /// The right to open a connection to a target; an idle one is closed for it if need be.
    pub(crate) fn room(&self) -> Option<Room> {
        let room = || {
            let permit = Arc::clone(&self.rooms).try_acquire_owned().ok();
            permit.map(Room::new)
        };
        room().or_else(|| {
            self.shed();
            room()
        })
    }

    /// A connection on which nothing has happened, as far as the thread was told and the kernel knows by now.
    pub(super) fn take(
        &self,
        target: &TargetSlot,
        caller: Option<&ShownIdentity>,
    ) -> Option<Usable> {
        let mut pools = self.idle.borrow_mut();
        let pool = pools.get_mut(&key(target, caller))?;
        if let Some(seat) = pool.seat() {
            return Some(Usable::Http2(seat));
        }
        // The one that was used last is the least likely to be closed just now.
        while let Some(mut link) = pool.idle.pop() {
            let open = link.is_undisturbed() || link.is_open();
            // The kernel is asked whatever the request: what a target sent unasked would else answer it.
            if open && link.socket.is_quiet() {
                return Some(Usable::Http1(link));
            }
        }
        while let Some(cold) = pool.cold.pop() {
            if let Some(link) = cold.warm() {
                return Some(Usable::Http1(Box::new(link)));
            }
        }
        None
    }

    /// Keeps a connection for others, if there are not enough already.
    pub(super) fn put(
        &self,
        target: &Arc<TargetSlot>,
        caller: Option<&ShownIdentity>,
        link: Box<Link>,
    ) {
        self.with(target, caller, |pool| {
            if pool.unused() < self.config.pool_size {
                pool.idle.push(link);
            }
        });
    }

    /// Closes the connection that has been idle for longest to the target that has most of them.
    fn shed(&self) {
        let mut pools = self.idle.borrow_mut();
        if let Some(most) = pools.values_mut().max_by_key(|pool| pool.unused()) {
            most.shed();
        }
    }

    pub(super) fn with<T>(
        &self,
        target: &Arc<TargetSlot>,
        caller: Option<&ShownIdentity>,
        use_pool: impl FnOnce(&mut Pool) -> T,
    ) -> T {
        let mut pools = self.idle.borrow_mut();
        use_pool(pools.entry(key(target, caller)).or_insert_with(|| Pool {
            target: Arc::clone(target),
            idle: Vec::new(),
            cold: Vec::new(),
            shared: Vec::new(),
            load: None,
            dialing: None,
        }))
    }

    /// Closes idle connections to targets of a group: requests of this thread need others. Returns whether there was one.
    pub(crate) fn shed_one(&self, members: &Members) -> bool {
        let mut pools = self.idle.borrow_mut();
        let now = self.clock.get();
        let is_of = |pool: &Pool| {
            let mut known = members.known.values();
            known.any(|it| it.serial == pool.target.serial)
        };
        // Whatever client they were connected for.
        pools
            .values_mut()
            .any(|pool| is_of(pool) && (pool.shed() || pool.shed_shared(now)))
    }

    /// Closes idle connections that other threads wait to be closed, because their number has a limit.
    pub(crate) fn give_way(&self) {
        if breaker::anyone_waits() {
            let mut pools = self.idle.borrow_mut();
            let (thread, now) = (self.thread, self.clock.get());
            pools.values_mut().for_each(|it| it.give_way(thread, now));
        }
    }

    /// Drops the connections into a VPC whose network was made anew: nothing answers on them any more.
    pub(crate) fn forget(&self, vpc: &VpcId) {
        self.idle
            .borrow_mut()
            .retain(|_, pool| pool.target.reach.vpc != *vpc);
    }

    /// Closes what is idle for too long or leads to a target that is gone.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut pools = self.idle.borrow_mut();
        pools.retain(|_, pool| pool.sweep(now, &self.config));
    }
}

/// A pool's place: its target, and the caller in whose name it was connected, if in anybody's.
fn key(target: &TargetSlot, caller: Option<&ShownIdentity>) -> (u64, u64) {
    (target.serial, caller.map_or(0, ShownIdentity::key))
}

impl Pool {
    /// Whether something is left of it.
    fn sweep(&mut self, now: Instant, config: &ProxyConfig) -> bool {
        let gone = self.target.is_gone();
        let kept = |since: Instant| {
            let idle = now.saturating_duration_since(since);
            !gone && idle < config.pool_idle
        };
        let cold = |cold: &Cold| kept(cold.idle_since) && cold.socket.is_quiet();
        self.cold.retain(cold);
        let open = |link: &mut Box<Link>| kept(link.idle_since) && link.is_open();
        self.idle.retain_mut(open);
        self.cool(now, config.limits.park_after);
        self.dialing.take_if(|dialing| dialing.is_over());
        // One is kept for as long as the target keeps it; those that a rush needed go when they are idle.
        let mut first = true;
        self.shared.retain(|shared| {
            let idle = shared.idle(now).is_some_and(|it| it >= config.pool_idle);
            !gone && shared.is_usable() && (std::mem::take(&mut first) || !idle)
        });
        self.unused() > 0 || !self.shared.is_empty() || self.dialing.is_some()
    }

    /// A place on a connection that is shared, if there is a free one: on the first, so that the others become idle.
    pub(super) fn seat(&mut self) -> Option<Seat<RequestBody>> {
        self.shared.retain(Http2::is_usable);
        self.shared.iter().find_map(Http2::seat)
    }

    /// Closes a connection of HTTP/2 that nothing uses. Returns whether there was one.
    fn shed_shared(&mut self, now: Instant) -> bool {
        let idle = self.shared.iter().position(|it| it.idle(now).is_some());
        idle.map(|at| self.shared.remove(at)).is_some()
    }

    fn give_way(&mut self, thread: usize, now: Instant) {
        let is_wanted = |load: &Arc<Load>| load.waits_elsewhere(thread);
        if self.load.as_ref().is_some_and(is_wanted) {
            self.shared.retain(|shared| shared.idle(now).is_none());
        }
        self.idle.retain(|link| !link.is_wanted_elsewhere());
        self.cold.retain(|cold| !cold.is_wanted_elsewhere());
    }

    fn unused(&self) -> usize {
        self.idle.len() + self.cold.len()
    }

    /// Returns whether there was one.
    fn shed(&mut self) -> bool {
        // The cold ones were idle before the others; in both, the first for longest.
        if !self.cold.is_empty() {
            self.cold.remove(0);
        } else if !self.idle.is_empty() {
            self.idle.remove(0);
        } else {
            return false;
        }
        true
    }

    /// Takes the buffers from what has been idle for so long.
    fn cool(&mut self, now: Instant, after: Duration) {
        let idle = |link: &Link| now.saturating_duration_since(link.idle_since) >= after;
        let mut at = 0;
        while at < self.idle.len() {
            if idle(&self.idle[at]) && self.idle[at].is_ready() {
                self.cold.push(self.idle.remove(at).cool());
            } else {
                at += 1;
            }
        }
    }
}
