use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lath_model::Timestamp;

/// When, for which service and in which region.
type Use = (Timestamp, String, String);

/// Most keys that are remembered.
const MOST: usize = 20_000;

/// When keys were last used. In memory only: a write for each signed request would cost more than it tells.
#[derive(Debug, Default)]
pub struct LastUsed(Mutex<HashMap<String, Use>>);

impl LastUsed {
    /// Notes a use at this time.
    pub fn note(&self, key: &str, service: &str, region: &str, at: Timestamp) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() >= MOST && !uses.contains_key(key) {
            uses.clear();
        }
        uses.insert(key.to_owned(), (at, service.to_owned(), region.to_owned()));
    }

    /// The last use, where one was seen.
    pub fn of(&self, key: &str) -> Option<Use> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(key).cloned()
    }
}
