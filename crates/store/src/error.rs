use std::path::PathBuf;
use std::sync::Arc;

use lath_model::Outage;

use crate::Identity;

/// The state cannot be read or written. Cheap to clone, because one failed commit fails many writers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A record of an unregistered kind.
    #[error("the state holds records of the unknown kind {0:?}: it was written by a newer version")]
    UnknownKind(String),
    /// Two record types claim one kind: a programming error.
    #[error("two record types are registered under the kind {0:?}")]
    DuplicateKind(String),
    /// A stored record cannot be read.
    #[error("the record under the key {key:?} cannot be read: {reason}")]
    Corrupt {
        /// The store's key.
        key: String,
        /// The reason.
        reason: String,
    },
    /// The file cannot be used.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The state belongs to another installation or region.
    #[error("{path} is the state of {found}, and this is {wanted}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The identity of the state.
        found: Identity,
        /// The required identity.
        wanted: Identity,
    },
    /// The disk is full: writes that add records are refused; changes and deletes work.
    #[error("the disk of {0} is full: new resources are refused until there is room, deletes work")]
    Full(PathBuf),
    /// A record cannot be stored, or could not be read again: a programming error.
    #[error("a record of the kind {kind:?} cannot be stored: {reason}")]
    Unstorable {
        /// The record's kind.
        kind: &'static str,
        /// The reason.
        reason: String,
    },
    /// A key or value exceeds [`crate::MAX_KEY`] or [`crate::MAX_VALUE`], or a key occurs twice in a transaction.
    #[error("the store refuses the key {key:?}: {reason}")]
    Refused {
        /// The store's key, truncated to a readable length.
        key: String,
        /// The violated limit.
        reason: &'static str,
    },
    /// Events from that revision on are no longer kept. List again, then watch from the listing's revision.
    #[error("the events before revision {oldest} are compacted")]
    Compacted {
        /// The oldest revision whose events are still kept.
        oldest: u64,
    },
    /// Another process has the state open.
    #[error("{0} is in use by another process: is another lath running with this data directory?")]
    InUse(PathBuf),
    /// Another writer changed the state, so that this process's view is stale: it must stop writing.
    #[error("another process writes to the same state; this one has stopped writing")]
    Fenced,
    /// The writer ended with its runtime before the outcome was known: the change may or may not be durable.
    #[error("the state was closed before the change was known to be durable")]
    Closed,
    /// A file or directory cannot be used.
    #[error("cannot use {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The storage engine failed. Later writes may work again.
    #[error("the storage engine failed")]
    Engine(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Outage for StoreError {
    fn passes(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl StoreError {
    pub(crate) fn engine(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Engine(Arc::new(cause))
    }

    pub(crate) fn damaged(path: &std::path::Path, reason: &str) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            reason: reason.to_owned(),
        }
    }

    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}
