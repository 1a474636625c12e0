//! Circuit breakers of target groups.
//!
//! Threads share what is counted here, which they do with nothing else on the path of a request: a limit that each
//! thread kept for itself would be as many limits. It is one atomic number for each limit, and groups without limits have no part
//! in it. No limit is ever exceeded by what began under it; what began before it was set is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use lath_model::balancing::{CircuitBreakers, LoadBalancing, OutlierDetection};
use tokio::sync::Notify;

/// What a group takes only so much of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Limit {
    Connections,
    Pending,
    Requests,
    Retries,
}

impl Limit {
    pub(crate) const ALL: [Self; 4] = [
        Self::Connections,
        Self::Pending,
        Self::Requests,
        Self::Retries,
    ];

    /// As policies name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "maxConnections",
            Self::Pending => "maxPendingRequests",
            Self::Requests => "maxRequests",
            Self::Retries => "maxRetries",
        }
    }

    fn of(self, breakers: &CircuitBreakers) -> Option<u32> {
        match self {
            Self::Connections => breakers.max_connections,
            Self::Pending => breakers.max_pending_requests,
            Self::Requests => breakers.max_requests,
            Self::Retries => breakers.max_retries,
        }
    }
}

/// A group's policy, as the proxy obeys it.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) source: LoadBalancing,
    pub(crate) outliers: Option<OutlierDetection>,
    pub(crate) load: Arc<Load>,
}

impl Policy {
    /// `None`: it is none that could have been written here. Groups are then treated as without one.
    pub(crate) fn of(source: &LoadBalancing, load: &Arc<Load>) -> Option<Self> {
        source.check().ok()?;
        Some(Self {
            source: source.clone(),
            outliers: source.outlier_detection,
            load: Arc::clone(load),
        })
    }

    pub(crate) fn most(&self, limit: Limit) -> Option<u32> {
        limit.of(&self.source.circuit_breakers)
    }

    /// One more, if there is a limit.
    ///
    /// # Errors
    /// There are as many as may be; the limit is given back.
    pub(crate) fn enter(&self, limit: Limit) -> Result<Option<Ticket>, Limit> {
        let Some(most) = self.most(limit) else {
            return Ok(None);
        };
        let ticket = Ticket::of(&self.load, limit, most);
        if ticket.is_none() {
            self.load.overflow(limit);
        }
        ticket.map(Some).ok_or(limit)
    }

    /// A connection more; `None`: there are as many as may be.
    pub(crate) fn connection(&self) -> Option<Option<Ticket>> {
        match self.most(Limit::Connections) {
            None => Some(None),
            Some(most) => Ticket::of(&self.load, Limit::Connections, most).map(Some),
        }
    }
}

/// What goes to a group now.
#[derive(Debug)]
pub(crate) struct Load {
    levels: [Level; 4],
    overflows: [AtomicU64; 4],
    threads: Box<[Waiting]>,
    /// Of all threads.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Level(AtomicU32);

/// Requests of one thread that wait until a connection is free or may be opened.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    notify: Notify,
}

impl Load {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            levels: Default::default(),
            overflows: Default::default(),
            threads: (0..threads.max(1)).map(|_| Waiting::default()).collect(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many there are now.
    pub(crate) fn level(&self, limit: Limit) -> u32 {
        self.levels[limit as usize].0.load(Relaxed)
    }

    /// How often something was refused.
    pub(crate) fn overflows(&self, limit: Limit) -> u64 {
        self.overflows[limit as usize].load(Relaxed)
    }

    pub(crate) fn overflow(&self, limit: Limit) {
        self.overflows[limit as usize].fetch_add(1, Relaxed);
    }

    /// Waits with others of the thread. What is dropped has waited.
    pub(crate) fn wait(self: &Arc<Self>, thread: usize) -> Waiter {
        self.threads[thread].count.fetch_add(1, SeqCst);
        self.waiting.fetch_add(1, SeqCst);
        WAITING.fetch_add(1, SeqCst);
        Waiter {
            load: Arc::clone(self),
            thread,
        }
    }

    /// Whether requests of other threads alone wait, so that a connection of this one is better closed than kept.
    pub(crate) fn waits_elsewhere(&self, thread: usize) -> bool {
        self.waiting.load(SeqCst) > 0 && self.threads[thread].count.load(SeqCst) == 0
    }

    /// A connection of this thread is free again.
    pub(crate) fn freed(&self, thread: usize) {
        let own = &self.threads[thread];
        if own.count.load(SeqCst) > 0 {
            own.notify.notify_one();
        }
    }

    /// A connection may be opened, by whichever thread.
    pub(crate) fn room(&self) {
        if self.waiting.load(SeqCst) == 0 {
            return;
        }
        // The one where most wait: those that come next see to the others.
        let most = self.threads.iter().max_by_key(|it| it.count.load(SeqCst));
        if let Some(most) = most {
            most.notify.notify_one();
        }
    }

    /// A connection of this thread that carries many requests was opened.
    pub(crate) fn opened(&self, thread: usize) {
        self.threads[thread].notify.notify_waiters();
    }
}

/// Requests of all groups that wait, so that threads look for connections to close only then.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Whether requests wait for a connection, to whatever group.
pub(crate) fn anyone_waits() -> bool {
    WAITING.load(Relaxed) > 0
}

/// A request that waits.
pub(crate) struct Waiter {
    load: Arc<Load>,
    thread: usize,
}

impl Waiter {
    /// Until something may have become free since the wait before. A word that came too early is not lost.
    pub(crate) async fn notified(&self) {
        self.load.threads[self.thread].notify.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.load.threads[self.thread].count.fetch_sub(1, SeqCst);
        self.load.waiting.fetch_sub(1, SeqCst);
        WAITING.fetch_sub(1, SeqCst);
        // What it was told of may be for more than one, here or elsewhere.
        self.load.freed(self.thread);
        self.load.room();
    }
}

/// The right to be one of so many. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Ticket {
    load: Arc<Load>,
    limit: Limit,
}

impl Ticket {
    fn of(load: &Arc<Load>, limit: Limit, most: u32) -> Option<Self> {
        let more = |level: u32| (level < most).then_some(level + 1);
        let level = &load.levels[limit as usize].0;
        let taken = level.fetch_update(SeqCst, SeqCst, more).is_ok();
        taken.then(|| Self {
            load: Arc::clone(load),
            limit,
        })
    }

    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Whether it is of this group.
    pub(crate) fn is_of(&self, load: &Arc<Load>) -> bool {
        Arc::ptr_eq(&self.load, load)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.load.levels[self.limit as usize].0.fetch_sub(1, SeqCst);
        if self.limit == Limit::Connections {
            self.load.room();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(most: u32) -> Policy {
        let source = LoadBalancing {
            circuit_breakers: CircuitBreakers {
                max_connections: Some(most),
                max_requests: Some(most),
                ..CircuitBreakers::default()
            },
            outlier_detection: None,
        };
        Policy::of(&source, &Arc::new(Load::new(4))).unwrap()
    }

    #[test]
    fn no_limit_is_exceeded_by_any_number_of_threads() {
        let policy = policy(7);
        let highest = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let ticket = policy.enter(Limit::Requests);
                        highest.fetch_max(policy.load.level(Limit::Requests), SeqCst);
                        drop(ticket);
                    }
                });
            }
        });
        assert!((1..=7).contains(&highest.load(SeqCst)));
        assert_eq!(policy.load.level(Limit::Requests), 0);
        let held: Vec<_> = (0..7).map(|_| policy.enter(Limit::Requests)).collect();
        let before = policy.load.overflows(Limit::Requests);
        let refused = policy.enter(Limit::Requests).unwrap_err();
        assert_eq!(refused, Limit::Requests);
        assert_eq!(policy.load.overflows(Limit::Requests), before + 1);
        assert!(held.iter().all(Result::is_ok));
        assert!(matches!(policy.enter(Limit::Pending), Ok(None)), "no limit");
    }

    #[tokio::test]
    async fn who_waits_is_told_of_room_that_another_thread_makes() {
        let policy = Arc::new(policy(1));
        let held = policy.connection().unwrap();
        assert!(policy.connection().is_none());
        let waiter = policy.load.wait(2);
        assert!(policy.load.waits_elsewhere(0) && !policy.load.waits_elsewhere(2));
        let waiting = async {
            waiter.notified().await;
            policy.connection().is_some()
        };
        let (free, ()) = tokio::join!(waiting, async { drop(held) });
        assert!(free);
        drop(waiter);
        assert!(!policy.load.waits_elsewhere(0));
    }
}
