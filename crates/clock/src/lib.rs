//! The clock: what time it is, as a value that is handed to those who ask.
//!
//! No other crate reads the machine's wall clock; `clippy.toml` refuses it. A process makes [`Clock::system`] where it is
//! assembled, and hands it on. Tests hand in the clock of a [`ManualClock`], so that what happens after an hour is tested
//! without waiting for one:
//!
//! ```
//! # use std::time::Duration;
//! use lath_clock::ManualClock;
//! use lath_model::Timestamp;
//!
//! let hands = ManualClock::at(Timestamp::from_millis(0));
//! let clock = hands.clock();
//! hands.advance(Duration::from_secs(3600));
//! assert_eq!(clock.now(), Timestamp::from_millis(3_600_000));
//! ```
//!
//! Not here: how long something took ([`std::time::Instant`]) and timers (tokio's, which tests pause).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use lath_model::Timestamp;

/// A source of wall-clock time. Cheap to clone; clones show the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    /// Milliseconds since the epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's wall clock. It may jump, in either direction, when the machine's time is set.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now().into(),
            Source::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// The time now, for libraries that take it in this form; of the machine's clock, with all its digits.
    pub fn system_time(&self) -> SystemTime {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(_) => self.now().into(),
        }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z; negative before it.
    pub fn unix_seconds(&self) -> i64 {
        self.now().as_millis().div_euclid(1000)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the machine's wall clock is read"
)]
fn system_now() -> SystemTime {
    SystemTime::now()
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::System => f.write_str("Clock(system)"),
            Source::Manual(_) => write!(f, "Clock({})", self.now()),
        }
    }
}

/// The hands of a clock that a test sets. Its clocks stand still in between.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows this time.
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(time.as_millis())))
    }

    /// What shows its time.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// The time that it shows.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// Sets it, to an earlier time too: machines' clocks are set back.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_millis(), Ordering::SeqCst);
    }

    /// Moves it forward, and returns the new time.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let moved = |millis: i64| Some(millis.saturating_add(by));
        let before = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
        Timestamp::from_millis(before.unwrap_or_else(|same| same).saturating_add(by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_show_the_time_of_the_hands() {
        let hands = ManualClock::at(Timestamp::from_millis(1_500));
        let (one, other) = (hands.clock(), hands.clock().clone());
        assert_eq!(hands.advance(Duration::from_secs(1)), one.now());
        assert_eq!(one.now(), Timestamp::from_millis(2_500));
        assert_eq!(other.unix_seconds(), 2);
        hands.set(Timestamp::from_millis(-1));
        assert_eq!(other.now(), Timestamp::from_millis(-1));
        assert_eq!(other.unix_seconds(), -1);
        assert_eq!(Timestamp::from(other.system_time()), other.now());
    }

    #[test]
    fn the_systems_clock_shows_the_machines_time() {
        let clock = Clock::system();
        let (earlier, later) = (clock.now(), Timestamp::from(clock.system_time()));
        assert!(later.since(earlier) < Duration::from_secs(60));
        assert!(earlier > Timestamp::from_millis(1_700_000_000_000));
    }
}
