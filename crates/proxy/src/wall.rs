//! Clocks in milliseconds: what threads tell one another by atomic numbers.

use lath_clock::Clock;
use std::sync::LazyLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Since 1970, by the wall clock: for what others keep.
pub(crate) fn now() -> u64 {
    let since = Clock::system().system_time().duration_since(UNIX_EPOCH);
    millis(since.unwrap_or_default())
}

/// Since the process asked first, and never 0. This clock is never set, so that what ends after a while does end.
pub(crate) fn ticks() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    millis(BEGAN.elapsed()).saturating_add(1)
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
