//! What outlives snapshots: counters, turns and requests in flight, by service, group and target.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use lath_feed::{FunctionGroup, TargetKey};
use lath_health::{Reach, Verified};
use lath_model::id::{ServiceId, TargetGroupId};
use lath_model::lattice::ProtocolVersion;
use lath_model::traffic::RateLimit;

use crate::breaker::{Load, Policy};
use crate::counters::Counters;
use crate::outlier::{Outlier, Outliers};
use crate::rate::Limiter;
use crate::ticks::{millis, ticks};

/// A service, as counted.
#[derive(Debug)]
pub(crate) struct ServiceSlot {
    pub(crate) id: ServiceId,
    pub(crate) counters: Counters,
    /// The rate limits of its rules, by name or place.
    limiters: Mutex<BTreeMap<String, Weak<Limiter>>>,
}

impl ServiceSlot {
    pub(crate) fn new(id: ServiceId, threads: usize) -> Self {
        Self {
            id,
            counters: Counters::new(threads),
            limiters: Mutex::default(),
        }
    }

    /// The limit of this name, with what it counted so far if it is the same still.
    pub(crate) fn limiter(&self, name: String, source: &RateLimit) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let known = limiters.get(&name).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|it| it.source == *source) {
            return known;
        }
        limiters.retain(|_, limiter| limiter.strong_count() > 0);
        let made = Arc::new(Limiter::new(source));
        limiters.insert(name, Arc::downgrade(&made));
        made
    }

    /// All limits, by name or place.
    pub(crate) fn limiters(&self) -> Vec<(String, Arc<Limiter>)> {
        let limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let limiters = limiters.iter();
        limiters
            .filter_map(|(name, it)| Some((name.clone(), it.upgrade()?)))
            .collect()
    }
}

/// A target group: what never changes in it, and the set of targets, which does.
#[derive(Debug)]
pub(crate) struct GroupSlot {
    pub(crate) id: TargetGroupId,
    pub(crate) arn: String,
    /// Where its targets are; a function is in no VPC.
    pub(crate) reach: Option<Reach>,
    /// What there is in the place of targets, in a group of functions.
    pub(crate) function: Option<ArcSwap<FunctionGroup>>,
    pub(crate) version: ProtocolVersion,
    /// Whether targets speak TLS.
    pub(crate) secure: bool,
    pub(crate) counters: Counters,
    pub(crate) turns: Turns,
    /// What goes to it now, and which targets were ejected, where it has a policy.
    pub(crate) load: Arc<Load>,
    pub(crate) outliers: Outliers,
    pub(crate) members: ArcSwap<Members>,
}

/// The targets of a group at one moment.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Those that new requests go to.
    pub(crate) routable: Vec<Arc<TargetSlot>>,
    /// All of them, the draining ones included.
    pub(crate) known: BTreeMap<TargetKey, Arc<TargetSlot>>,
    /// Those that finish what is in flight.
    pub(crate) draining: Vec<TargetKey>,
    /// Whether some of the routable ones are said to work, so that the group is better than one that fails
    /// open.
    pub(crate) healthy: bool,
    /// The group's circuit breakers and outlier detection; seldom any.
    pub(crate) policy: Option<Arc<Policy>>,
}

/// A target at one address.
#[derive(Debug)]
pub(crate) struct TargetSlot {
    /// Never given twice: pools are found by it.
    pub(crate) serial: u64,
    pub(crate) key: TargetKey,
    pub(crate) address: SocketAddr,
    /// Where it is reached.
    pub(crate) reach: Reach,
    /// How it proves who it is, where its group says so. A target that is to prove it otherwise is another one, so that no
    /// connection of before is used again.
    pub(crate) verified: Option<Arc<Verified>>,
    in_flight: Turns,
    /// How often it was left out since it answered last.
    failures: AtomicU32,
    /// Set while the link to its region is down: nothing on its way there arrives.
    pub(crate) lost: AtomicBool,
    /// Until when it is left out, by [`ticks`].
    ejected_until: AtomicU64,
    pub(crate) outlier: Outlier,
    /// Set when the target is gone or draining: its idle connections are closed.
    pub(crate) retired: AtomicBool,
}

impl GroupSlot {
    /// Whether a new request has a fair chance here.
    pub(crate) fn is_able(&self) -> bool {
        match &self.function {
            Some(group) => {
                let group = group.load();
                group.function.as_ref().is_some_and(|it| it.permitted)
            }
            None => self.members.load().is_able(),
        }
    }
}

impl Members {
    /// Whether a new request has a fair chance here.
    pub(crate) fn is_able(&self) -> bool {
        self.healthy && self.routable.iter().any(|target| !target.is_ejected())
    }
}

impl TargetSlot {
    pub(crate) fn new(
        key: TargetKey,
        address: SocketAddr,
        (reach, verified): (Reach, Option<Arc<Verified>>),
        threads: usize,
    ) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Self {
            serial: SERIAL.fetch_add(1, Relaxed),
            key,
            address,
            reach,
            verified,
            failures: AtomicU32::new(0),
            lost: false.into(),
            in_flight: Turns::new(threads),
            ejected_until: AtomicU64::new(0),
            outlier: Outlier::default(),
            retired: false.into(),
        }
    }

    pub(crate) fn enter(&self, thread: usize) {
        self.in_flight.add(thread, 1);
    }

    pub(crate) fn leave(&self, thread: usize) {
        self.in_flight.add(thread, u64::MAX);
    }

    /// Leaves the target out for a while, for twice as long each time that it did not answer in between, up
    /// to eight times the span. One that is left out already is left to that.
    pub(crate) fn eject(&self, span: Duration) {
        if !span.is_zero() && !self.is_ejected() {
            let failures = self.failures.fetch_add(1, Relaxed).min(3);
            let until = ticks().saturating_add(millis(span) << failures);
            self.ejected_until.store(until, Relaxed);
        }
    }

    /// It answered.
    pub(crate) fn proved(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.ejected_until.store(0, Relaxed);
        }
    }

    /// Whether connections to it are of no use any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.retired.load(Relaxed) || self.lost.load(Relaxed)
    }

    /// Whether it is left out: it could not be connected, or outlier detection says so.
    pub(crate) fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Relaxed);
        (until != 0 && ticks() < until) || self.outlier.is_ejected(ticks)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.sum()
    }
}

/// A number for each thread, written by that thread only.
#[derive(Debug)]
pub(crate) struct Turns(Box<[Turn]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Turn(AtomicU64);

impl Turns {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| Turn::default()).collect())
    }

    /// Threads begin at different places, so that few requests on many threads spread out too.
    pub(crate) fn spread(threads: usize, period: usize) -> Self {
        let turns = Self::new(threads);
        for (thread, turn) in turns.0.iter().enumerate() {
            turn.0
                .store((thread * period / turns.0.len()) as u64, Relaxed);
        }
        turns
    }

    /// This thread's number, which then grows by one.
    pub(crate) fn next(&self, thread: usize) -> u64 {
        let turn = self.0[thread].0.load(Relaxed);
        self.0[thread].0.store(turn.wrapping_add(1), Relaxed);
        turn
    }

    fn add(&self, thread: usize, by: u64) {
        let cell = &self.0[thread].0;
        cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, turn| sum.wrapping_add(turn.0.load(Relaxed)))
    }
}
