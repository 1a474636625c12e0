//! What is said in the log about connections that were turned away: a line a second at most.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(1);

/// Counts, and says them when there was no line for a while.
#[derive(Debug)]
pub(super) struct Report {
    name: &'static str,
    since: Mutex<Since>,
}

/// What happened since the last line.
#[derive(Debug, Default)]
struct Since {
    said: Option<Instant>,
    evicted: u64,
    refused: u64,
    broken: u64,
    failed: u64,
    error: Option<String>,
}

impl Report {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            since: Mutex::default(),
        }
    }

    pub(super) fn evicted(&self) {
        self.note(|since| since.evicted += 1);
    }

    pub(super) fn refused(&self) {
        self.note(|since| since.refused += 1);
    }

    /// A connection was gone before it was accepted: that is no news.
    pub(super) fn broken(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.broken += 1;
    }

    pub(super) fn failed(&self, error: &std::io::Error) {
        self.note(|since| {
            since.failed += 1;
            since.error = Some(error.to_string());
        });
    }

    fn note(&self, count: impl FnOnce(&mut Since)) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut since);
        if since.said.is_some_and(|said| said.elapsed() < EVERY) {
            return;
        }
        let news = std::mem::take(&mut *since);
        since.said = Some(Instant::now());
        drop(since);
        self.log(&news);
    }

    fn log(&self, news: &Since) {
        tracing::warn!(
            connections = self.name,
            evicted = news.evicted,
            refused = news.refused,
            failed = news.failed,
            broken = news.broken,
            error = news.error.as_deref(),
            "too many connections: idle ones were ended, or new ones refused"
        );
    }
}
