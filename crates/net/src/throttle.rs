//! Saying the same thing seldom.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(1);

/// Lets a line about something that strangers cause into the log once a second.
#[derive(Debug)]
pub struct Throttle {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// One that has let nothing through yet.
    pub const fn new() -> Self {
        Self {
            state: Mutex::new((None, 0)),
        }
    }

    /// Whether to say it now: then, how often it happened since it was last said.
    pub fn due(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, times) = &mut *state;
        *times += 1;
        if said.is_some_and(|said| said.elapsed() < EVERY) {
            return None;
        }
        *said = Some(Instant::now());
        Some(std::mem::take(times))
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_often_is_said_once() {
        let throttle = Throttle::new();
        assert_eq!(throttle.due(), Some(1));
        let mut said = 0;
        for _ in 0..1000 {
            said += throttle.due().unwrap_or(0);
        }
        assert_eq!(said, 0);
    }
}
