//! A store in memory: for tests, and as the simplest definition of what a store does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::history::History;
use crate::store::check;
use crate::{Compare, Entry, Event, Listing, Op, Outcome, Store, StoreError, Watch};

/// A store in memory.
pub struct Memory {
    state: Mutex<State>,
    history: History,
}

#[derive(Default)]
struct State {
    revision: u64,
    entries: BTreeMap<String, (u64, Arc<[u8]>)>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            history: History::after(0),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let state = self.state();
        Ok(state.entries.get(key).map(|stored| entry(key, stored)))
    }

    async fn list(&self, prefix: &str, limit: usize, from: &str) -> Result<Listing, StoreError> {
        let state = self.state();
        let start = Bound::Included(prefix.max(from));
        let mut found = state
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| entry(key, stored));
        Ok(Listing {
            entries: found.by_ref().take(limit).collect(),
            more: found.next().is_some(),
            revision: state.revision,
        })
    }

    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Outcome, StoreError> {
        check(&ops)?;
        let mut state = self.state();
        if !compares.iter().all(|compare| state.holds(compare)) {
            return Ok(Outcome::Conflict);
        }
        let events = state.apply(ops);
        let revision = state.revision;
        if !events.is_empty() {
            self.history.push(revision, events);
        }
        Ok(Outcome::Committed { revision })
    }

    async fn watch(&self, from: u64) -> Result<Watch, StoreError> {
        self.history.watch(from)
    }
}

impl State {
    fn holds(&self, compare: &Compare) -> bool {
        let found = self.entries.get(&compare.key);
        found.map_or(0, |(revision, _)| *revision) == compare.mod_revision
    }

    fn apply(&mut self, ops: Vec<Op>) -> Vec<Event> {
        let revision = self.revision + 1;
        let mut events = Vec::with_capacity(ops.len());
        for op in ops {
            match op {
                Op::Put(key, value) => {
                    let stored = (revision, Arc::clone(&value));
                    self.entries.insert(key.clone(), stored);
                    events.push(Event::Put(key, value));
                }
                Op::Delete(key) => {
                    if self.entries.remove(&key).is_some() {
                        events.push(Event::Delete(key));
                    }
                }
            }
        }
        if !events.is_empty() {
            self.revision = revision;
        }
        events
    }
}

fn entry(key: &str, (mod_revision, value): &(u64, Arc<[u8]>)) -> Entry {
    Entry {
        key: key.to_owned(),
        value: Arc::clone(value),
        mod_revision: *mod_revision,
    }
}
