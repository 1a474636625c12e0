//! The interface of a storage engine. Revisions, comparisons, transactions and watches have the semantics of etcd.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use tokio::sync::watch;

use crate::{Condition, StoreError};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 4096;

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 8 << 20;

/// A transactional store of bytes under keys.
///
/// The *revision* is zero in an empty store and grows by one with each transaction that changes something. It never
/// decreases, not even after a crash.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entry under a key.
    ///
    /// # Errors
    /// When the engine fails.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// At most `limit` (at least one) entries whose keys begin with `prefix` and are not less than `from`, by
    /// ascending key, as of one revision.
    ///
    /// # Errors
    /// When the engine fails.
    async fn list(&self, prefix: &str, limit: usize, from: &str) -> Result<Listing, StoreError>;

    /// Applies all operations if all comparisons hold, else none. Returns after the outcome is durable. A
    /// transaction that changes nothing (no operations, or only deletions of absent keys) does not raise the
    /// revision. Dropping the future does not cancel the transaction.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a key or value is too large or a key occurs twice. After an error of the
    /// engine the outcome is unknown.
    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Outcome, StoreError>;

    /// An endless stream of the changes of every revision from `from` on, in order. Zero means from now on.
    ///
    /// No change is skipped silently: a watcher that falls too far behind gets [`StoreError::Compacted`] as its
    /// last item. It must list again and watch from the listing's revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when the changes since `from` are no longer kept.
    async fn watch(&self, from: u64) -> Result<Watch, StoreError>;

    /// The condition of the store. A store without a disk always works.
    fn condition(&self) -> watch::Receiver<Condition> {
        watch::channel(Condition::Well).1
    }
}

/// The result of [`Store::watch`].
pub type Watch = BoxStream<'static, Result<Changes, StoreError>>;

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Arc<[u8]>,
    /// The revision that last wrote it.
    pub mod_revision: u64,
}

/// The result of [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries, by ascending key.
    pub entries: Vec<Entry>,
    /// Whether there are more entries: list again with `from` = the last key and a zero byte.
    pub more: bool,
    /// The store's revision at the time of the listing.
    pub revision: u64,
}

/// A condition of a transaction: this revision last wrote the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// The key's [`Entry::mod_revision`]; zero when it must be absent.
    pub mod_revision: u64,
}

/// A change to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces.
    Put(String, Arc<[u8]>),
    /// Deletes the key if it exists.
    Delete(String),
}

impl Op {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// The outcome of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All operations were applied and are durable.
    Committed {
        /// The store's revision after it.
        revision: u64,
    },
    /// A comparison did not hold. Nothing changed.
    Conflict,
}

/// The changes of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The revision.
    pub revision: u64,
    /// The events in the order of the transaction's operations.
    pub events: Arc<[Event]>,
}

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key now has this value.
    Put(String, Arc<[u8]>),
    /// The key was deleted.
    Delete(String),
}

impl Event {
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Put(key, value) => key.len() + value.len(),
            Self::Delete(key) => key.len(),
        }
    }
}

/// Checks a transaction's operations against the limits.
pub(crate) fn check(ops: &[Op]) -> Result<(), StoreError> {
    let mut seen = std::collections::HashSet::with_capacity(ops.len());
    for op in ops {
        let key = op.key();
        let reason = if key.is_empty() || key.len() > MAX_KEY {
            "keys have 1 to 4096 bytes"
        } else if matches!(op, Op::Put(_, value) if value.len() > MAX_VALUE) {
            "values have at most 8 MiB"
        } else if !seen.insert(key) {
            "it occurs twice in one transaction"
        } else {
            continue;
        };
        return Err(StoreError::Refused {
            key: key.chars().take(100).collect(),
            reason,
        });
    }
    Ok(())
}
