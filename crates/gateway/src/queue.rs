//! The queue of work: each key is in it once, one worker at a time has it, and what fails comes again later and later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long what is tried again waits the first time, and at most.
const FIRST: Duration = Duration::from_millis(100);
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

struct State<K> {
    /// When each key is due.
    due: BTreeMap<K, Instant>,
    /// What a worker has now.
    busy: BTreeSet<K>,
    /// How often each key failed in a row.
    failures: BTreeMap<K, u32>,
}

/// A queue of keys.
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    /// What waits for a worker.
    pub(crate) due: usize,
    /// What is tried again later.
    pub(crate) later: usize,
    /// What workers have.
    pub(crate) busy: usize,
}

impl<K: Ord + Clone> Queue<K> {
    pub(crate) fn new() -> Self {
        let state = State {
            due: BTreeMap::new(),
            busy: BTreeSet::new(),
            failures: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts a key in, to be worked on at once. While a worker has it, it waits for that.
    pub(crate) fn add(&self, key: K) {
        self.add_after(key, Duration::ZERO);
    }

    /// Puts a key in, to be worked on after this time unless it is due earlier.
    pub(crate) fn add_after(&self, key: K, delay: Duration) {
        let due = Instant::now() + delay;
        let mut state = self.state();
        let at = state.due.entry(key).or_insert(due);
        *at = due.min(*at);
        drop(state);
        self.changed.notify_waiters();
    }

    /// How much there is to do now.
    pub(crate) fn depth(&self) -> Depth {
        let now = Instant::now();
        let state = self.state();
        let due = state.due.values().filter(|due| **due <= now).count();
        Depth {
            due,
            later: state.due.len() - due,
            busy: state.busy.len(),
        }
    }

    /// Waits for a key that is due and that no other worker has; gives also since when it is due.
    pub(crate) async fn next(&self) -> (K, Instant) {
        loop {
            // Registered before the look, so that no change in between is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let wait = {
                let mut state = self.state();
                let now = Instant::now();
                let free = state
                    .due
                    .iter()
                    .filter(|(key, _)| !state.busy.contains(key));
                match free
                    .min_by_key(|(_, due)| **due)
                    .map(|(key, due)| (key.clone(), *due))
                {
                    Some((key, due)) if due <= now => {
                        state.due.remove(&key);
                        state.busy.insert(key.clone());
                        return (key, due);
                    }
                    Some((_, due)) => due - now,
                    None => LONGEST,
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// A worker is done with a key. What is to be tried again is due later every time, up to the time given.
    pub(crate) fn done(&self, key: K, again: Option<Duration>) {
        let mut state = self.state();
        state.busy.remove(&key);
        if let Some(longest) = again {
            let failures = state.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            let wait = FIRST
                .saturating_mul(1 << (*failures - 1).min(16))
                .min(longest);
            let due = Instant::now() + wait;
            let at = state.due.entry(key).or_insert(due);
            *at = due.min(*at);
        } else {
            state.failures.remove(&key);
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_worked_on_by_one_and_comes_again_when_it_changed_meanwhile() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await.0, "a");
        queue.add("a");
        queue.add("b");
        let depth = Depth {
            due: 2,
            later: 0,
            busy: 1,
        };
        assert_eq!(queue.depth(), depth);
        assert_eq!(queue.next().await.0, "b");
        queue.done("a", None);
        assert_eq!(queue.next().await.0, "a");
    }

    #[tokio::test]
    async fn what_fails_comes_again_and_a_change_does_not_wait_for_that() {
        let queue = Queue::new();
        queue.add("a");
        for _ in 0..2 {
            assert_eq!(queue.next().await.0, "a");
            queue.done("a", Some(LONGEST));
        }
        assert_eq!(queue.state().failures["a"], 2);
        queue.add("a");
        assert!(queue.state().due["a"] <= Instant::now());
        assert_eq!(queue.next().await.0, "a");
        queue.done("a", None);
        assert!(queue.state().failures.is_empty() && queue.state().due.is_empty());
    }
}
