//! The contract of a storage engine. etcd is one in everything but name: revisions, compares,
//! transactions and watches mean what they mean there.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use tokio::sync::watch;

use crate::{Condition, StoreError};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 4096;

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 8 << 20;

/// Bytes under keys, changed by transactions.
///
/// The *revision* is zero in an empty store and grows by one with each transaction that changes
/// something. It never goes back, not even after a crash.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entry under a key.
    ///
    /// # Errors
    /// That the engine failed.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// At most `limit` (at least one) entries whose key begins with `prefix` and is not below `from`,
    /// by ascending key, as of one revision.
    ///
    /// # Errors
    /// That the engine failed.
    async fn list(&self, prefix: &str, limit: usize, from: &str) -> Result<Listing, StoreError>;

    /// Applies every operation if every comparison holds, else none; answers after the outcome is
    /// durable. A transaction that changes nothing (no operation, or deletions of absent keys only)
    /// does not raise the revision. When the caller goes away, the transaction goes on.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a key or value is too large or a key occurs twice; otherwise that
    /// the engine failed, and then the outcome is unknown.
    async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Outcome, StoreError>;

    /// The changes of every revision from `from` on, in order, without end. Zero means: from now on.
    ///
    /// A watcher that falls behind what the store keeps gets [`StoreError::Compacted`] as its last item
    /// (nothing is ever skipped in silence): it lists again and watches from that listing's revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when `from` is older than what is kept.
    async fn watch(&self, from: u64) -> Result<Watch, StoreError>;

    /// Whether it reads and writes. A store without a disk always does.
    fn condition(&self) -> watch::Receiver<Condition> {
        watch::channel(Condition::Well).1
    }
}

/// What [`Store::watch`] answers.
pub type Watch = BoxStream<'static, Result<Changes, StoreError>>;

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Arc<[u8]>,
    /// The revision that wrote it last.
    pub mod_revision: u64,
}

/// What [`Store::list`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries, by ascending key.
    pub entries: Vec<Entry>,
    /// Whether more follow: ask again with `from` = the last key and a zero byte.
    pub more: bool,
    /// The store's revision that this is a picture of.
    pub revision: u64,
}

/// A condition of a transaction: the key was written last at this revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// Its [`Entry::mod_revision`]; zero when it must be absent.
    pub mod_revision: u64,
}

/// A change to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces.
    Put(String, Arc<[u8]>),
    /// Removes; nothing when it is absent.
    Delete(String),
}

impl Op {
    /// The key that it changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every operation was applied, and is durable.
    Committed {
        /// The store's revision now.
        revision: u64,
    },
    /// A comparison did not hold; nothing was changed.
    Conflict,
}

/// What one revision changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The revision.
    pub revision: u64,
    /// Its events, in the order of the transaction's operations.
    pub events: Arc<[Event]>,
}

/// A change that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key now has this value.
    Put(String, Arc<[u8]>),
    /// The key is gone.
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
