//! The newest changes, for watchers, within a fixed bound. Each watcher keeps a position and reads from here
//! when it is ready, so that a slow watcher needs no memory and delays no one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use tokio::sync::watch;

use crate::{Changes, Event, StoreError, Watch};

/// The revisions that are kept at most.
const MAX_REVISIONS: usize = 10_000;

/// The bytes of keys and values that are kept at most.
const MAX_BYTES: usize = 16 << 20;

/// Shared by an engine and its watchers. Watches end when the engine drops its last handle.
pub(crate) struct History {
    log: Arc<Mutex<Log>>,
    newest: watch::Sender<u64>,
}

struct Log {
    /// The newest revision whose changes are *not* kept.
    compacted: u64,
    kept: VecDeque<Changes>,
    bytes: usize,
}

impl History {
    /// An empty history that begins after `revision`.
    pub(crate) fn after(revision: u64) -> Self {
        Self {
            log: Arc::new(Mutex::new(Log {
                compacted: revision,
                kept: VecDeque::new(),
                bytes: 0,
            })),
            newest: watch::Sender::new(revision),
        }
    }

    /// Adds the changes of a durable transaction.
    pub(crate) fn push(&self, revision: u64, events: Vec<Event>) {
        lock(&self.log).push(Changes {
            revision,
            events: events.into(),
        });
        self.newest.send_replace(revision);
    }

    /// See [`crate::Store::watch`].
    pub(crate) fn watch(&self, from: u64) -> Result<Watch, StoreError> {
        let newest = self.newest.subscribe();
        let next = match from {
            0 => *newest.borrow() + 1,
            from => from,
        };
        lock(&self.log).get(next)?;
        let reader = Reader {
            log: Arc::clone(&self.log),
            newest,
            next: Some(next),
        };
        let items = futures::stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        });
        Ok(items.boxed())
    }
}

impl Log {
    fn push(&mut self, changes: Changes) {
        self.bytes += size(&changes);
        self.kept.push_back(changes);
        while self.kept.len() > MAX_REVISIONS || (self.bytes > MAX_BYTES && self.kept.len() > 1) {
            if let Some(oldest) = self.kept.pop_front() {
                self.bytes -= size(&oldest);
                self.compacted = oldest.revision;
            }
        }
    }

    /// The changes of this revision; `None` when it does not exist yet.
    fn get(&self, revision: u64) -> Result<Option<Changes>, StoreError> {
        if revision <= self.compacted {
            let oldest = self.compacted + 1;
            return Err(StoreError::Compacted { oldest });
        }
        // Revisions are consecutive, so the index follows from the number.
        let place = usize::try_from(revision - self.compacted - 1).unwrap_or(usize::MAX);
        Ok(self.kept.get(place).cloned())
    }
}

fn size(changes: &Changes) -> usize {
    changes.events.iter().map(Event::size).sum()
}

fn lock(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    log: Arc<Mutex<Log>>,
    newest: watch::Receiver<u64>,
    /// The next revision; `None` after an error, which ends the watch.
    next: Option<u64>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Changes, StoreError>> {
        let next = self.next?;
        self.newest.wait_for(|newest| *newest >= next).await.ok()?;
        let found = lock(&self.log).get(next);
        self.next = found.is_ok().then_some(next + 1);
        found.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Vec<Event> {
        vec![Event::Delete("k".into())]
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_gets_an_error_and_ends() {
        let history = History::after(5);
        let mut slow = history.watch(0).unwrap();
        for revision in 6..6 + MAX_REVISIONS as u64 + 10 {
            history.push(revision, event());
        }
        let first = slow.next().await.unwrap();
        assert!(matches!(first, Err(StoreError::Compacted { oldest: 16 })));
        assert!(slow.next().await.is_none());
        assert!(matches!(
            history.watch(15).err(),
            Some(StoreError::Compacted { oldest: 16 })
        ));
        let mut again = history.watch(16).unwrap();
        assert_eq!(again.next().await.unwrap().unwrap().revision, 16);
    }

    #[test]
    fn large_changes_are_bounded_by_bytes() {
        let history = History::after(0);
        let value: Arc<[u8]> = vec![0; MAX_BYTES / 4].into();
        for revision in 1..=20 {
            history.push(revision, vec![Event::Put("k".into(), Arc::clone(&value))]);
        }
        let log = lock(&history.log);
        assert!(log.bytes <= MAX_BYTES, "{}", log.bytes);
        assert_eq!(log.compacted + log.kept.len() as u64, 20);
    }
}
