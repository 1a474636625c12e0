//! A clock in milliseconds that threads share by atomic numbers.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Since the process asked first, and never 0. This clock is never set, so that what ends after a while does end.
pub(crate) fn ticks() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    millis(BEGAN.elapsed()).saturating_add(1)
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
