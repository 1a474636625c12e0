//! Outlier detection: targets are left out because of what they answer.
//!
//! What a target answered is counted in the target itself, by all threads, and only where its group has a policy. Threads that race may
//! see a row of failures one longer or shorter than it was. The answer that completes the row ejects the target at once.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use lath_feed::Ejection;
use lath_model::balancing::OutlierDetection;

use crate::ticks::ticks;

/// What became of a request at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// 5xx.
    Error,
    /// 502, 503, 504, or no answer.
    Gateway,
}

impl Outcome {
    pub(crate) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            502..=504 => Self::Gateway,
            500..=599 => Self::Error,
            _ => Self::Good,
        }
    }
}

/// Why targets were ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Why {
    Consecutive5xx,
    ConsecutiveGatewayFailure,
    SuccessRate,
}

impl Why {
    pub(crate) const ALL: [Self; 3] = [
        Self::Consecutive5xx,
        Self::ConsecutiveGatewayFailure,
        Self::SuccessRate,
    ];

    /// As policies name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive5xx",
            Self::ConsecutiveGatewayFailure => "consecutiveGatewayFailure",
            Self::SuccessRate => "successRate",
        }
    }
}

/// What is known of one target.
#[derive(Debug, Default)]
pub(crate) struct Outlier {
    errors: AtomicU32,
    gateway: AtomicU32,
    /// Answers since rates were compared last, and the good ones of them.
    pub(crate) answers: AtomicU64,
    pub(crate) good: AtomicU64,
    /// Until when it is left out, by [`ticks`].
    pub(crate) until: AtomicU64,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Kept until it was seen that it is over.
    pub(crate) ejection: Option<Ejection>,
    /// How often it was left out lately.
    pub(crate) times: u32,
}

/// What is known of a group.
#[derive(Debug, Default)]
pub(crate) struct Outliers {
    /// When targets were compared last, in milliseconds. Held while a target is ejected, so that no two are at once.
    compared: Mutex<u64>,
    ejections: [AtomicU64; 3],
}

impl Outliers {
    /// When targets were compared last. While it is held, no target is ejected.
    pub(crate) fn compared(&self) -> MutexGuard<'_, u64> {
        locked(&self.compared)
    }

    pub(crate) fn count(&self, why: Why) {
        self.ejections[why as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn ejections(&self, why: Why) -> u64 {
        self.ejections[why as usize].load(Relaxed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outlier {
    pub(crate) fn is_ejected(&self, now: impl FnOnce() -> u64) -> bool {
        let until = self.until.load(Relaxed);
        until != 0 && now() < until
    }

    /// Why it is left out, if it is.
    pub(crate) fn ejection(&self) -> Option<Ejection> {
        self.is_ejected(ticks)
            .then(|| locked(&self.record).ejection.clone())
            .flatten()
    }

    /// Its group has no outlier detection any more.
    pub(crate) fn forget(&self) {
        if self.until.load(Relaxed) != 0 {
            self.until.store(0, Relaxed);
            *locked(&self.record) = Record::default();
        }
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        locked(&self.record)
    }

    pub(crate) fn begin_anew(&self) {
        self.errors.store(0, Relaxed);
        self.gateway.store(0, Relaxed);
        self.answers.store(0, Relaxed);
        self.good.store(0, Relaxed);
    }

    /// Counts an outcome; says what speaks against the target now.
    pub(crate) fn count(
        &self,
        detection: &OutlierDetection,
        outcome: Outcome,
    ) -> Option<(Why, u32)> {
        if detection.success_rate.is_some() {
            self.answers.fetch_add(1, Relaxed);
            self.good
                .fetch_add(u64::from(outcome == Outcome::Good), Relaxed);
        }
        let ends = |row: &AtomicU32| {
            if row.load(Relaxed) != 0 {
                row.store(0, Relaxed);
            }
        };
        let grows = |row: &AtomicU32, most: Option<u32>| {
            let most = most?;
            (row.fetch_add(1, Relaxed) + 1 >= most).then_some(most)
        };
        match outcome {
            Outcome::Good => {
                ends(&self.errors);
                ends(&self.gateway);
                None
            }
            Outcome::Error | Outcome::Gateway => {
                let gateway = match outcome {
                    Outcome::Gateway => grows(&self.gateway, detection.consecutive_gateway_failure),
                    _ => {
                        ends(&self.gateway);
                        None
                    }
                };
                let errors = grows(&self.errors, detection.consecutive_5xx);
                let gateway = gateway.map(|row| (Why::ConsecutiveGatewayFailure, row));
                gateway.or_else(|| errors.map(|row| (Why::Consecutive5xx, row)))
            }
        }
    }
}
