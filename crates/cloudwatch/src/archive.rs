//! Bulk data on disk: log events and metric buckets.
//!
//! One redb file. Keys are big-endian so that ranges are time ranges. Every commit is atomic and, unless
//! the caller asks for a relaxed one, on disk when it returns.

mod file;
mod inspect;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lath_clock::Clock;
use redb::{Durability, ReadableDatabase as _, TableDefinition, WriteTransaction};

use self::file::ArchiveFile;
pub use self::inspect::{ArchiveReport, inspect};

pub(crate) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// `group uid, time, sequence` -> event.
pub(crate) const EVENTS: Rows = TableDefinition::new("events");
/// `group uid, stream name` -> stream.
pub(crate) const STREAMS: Rows = TableDefinition::new("streams");
/// `series id, period, start` -> statistics.
pub(crate) const BUCKETS: Rows = TableDefinition::new("buckets");
/// `series id` -> identity.
pub(crate) const SERIES: Rows = TableDefinition::new("series");
/// Counters: `sequence`, `bytes`.
pub(crate) const COUNTERS: TableDefinition<'static, &'static str, u64> =
    TableDefinition::new("counters");

/// What the archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of log events; beyond it the oldest are dropped.
    pub log_bytes: u64,
    /// Metric series; beyond it new ones are refused.
    pub series: usize,
    /// Bytes of memory for the page cache.
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: 1 << 30,
            series: 20_000,
            cache_bytes: 16 << 20,
        }
    }
}

/// The archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A transaction failed.
    #[error("the archive of logs and metrics failed")]
    Transaction(#[source] Box<redb::Error>),
    /// The engine found the file damaged; a new one was begun.
    #[error("the archive of logs and metrics was damaged and is begun anew: {0}")]
    Damaged(String),
    /// A stored value does not decode.
    #[error("the archive holds a value that cannot be read")]
    Corrupt(#[source] serde_json::Error),
}

impl<E: Into<redb::Error>> From<E> for ArchiveError {
    fn from(error: E) -> Self {
        Self::Transaction(Box::new(error.into()))
    }
}

impl ArchiveError {
    /// Whether there is no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let kind = match self {
            Self::Transaction(error) => match &**error {
                redb::Error::Io(error) => error.kind(),
                _ => return false,
            },
            Self::Open { source, .. } => match source.downcast_ref::<std::io::Error>() {
                Some(error) => error.kind(),
                None => return false,
            },
            Self::Damaged(_) | Self::Corrupt(_) => return false,
        };
        matches!(kind, StorageFull | QuotaExceeded)
    }
}

impl From<ArchiveError> for lath_wire::ApiError {
    fn from(error: ArchiveError) -> Self {
        if error.is_full() {
            let text = "The disk of the archive of logs and metrics is full.";
            return Self::new("ServiceUnavailable", 503, text);
        }
        Self::internal(error)
    }
}

/// The bulk store.
pub struct Archive {
    file: ArchiveFile,
    pub(crate) limits: Limits,
    sequence: AtomicU64,
    pub(crate) pending: std::sync::Mutex<crate::metrics::Pending>,
}

impl Archive {
    /// Opens or makes the archive in `directory`. A damaged one is moved aside and a new one begun; on a
    /// full disk it is opened when there is room.
    ///
    /// # Errors
    /// [`ArchiveError::Open`] names the file that another process has open.
    pub fn open(directory: &Path, limits: Limits, clock: Clock) -> Result<Self, ArchiveError> {
        std::fs::create_dir_all(directory).map_err(|error| ArchiveError::Open {
            path: directory.to_owned(),
            source: error.into(),
        })?;
        let path = directory.join("archive.redb");
        let archive = Self {
            file: ArchiveFile::new(path, limits.cache_bytes, clock),
            limits,
            sequence: AtomicU64::new(0),
            pending: std::sync::Mutex::default(),
        };
        match archive.read(|_| Ok(())) {
            Err(ArchiveError::Open { path, source })
                if source.downcast_ref::<redb::DatabaseError>().is_some() =>
            {
                Err(ArchiveError::Open { path, source })
            }
            // Whatever else is wrong is said by its condition, and tried again at every use.
            _ => Ok(archive),
        }
    }

    /// What is wrong with it, in words for the user.
    pub fn trouble(&self) -> Vec<String> {
        self.file.trouble()
    }

    /// Runs one atomic transaction.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        body: impl FnOnce(&WriteTransaction) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let answer = self.file.with(|db| {
            let mut tx = db.begin_write()?;
            tx.set_durability(durability)?;
            let answer = body(&tx)?;
            tx.commit()?;
            Ok(answer)
        })?;
        self.file.wrote();
        Ok(answer)
    }

    /// Reads a consistent view.
    pub(crate) fn read<T>(
        &self,
        body: impl FnOnce(&redb::ReadTransaction) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        self.file.with(|db| body(&db.begin_read()?))
    }

    /// Numbers that no other event has; the counter is stored in the transaction that uses them.
    pub(crate) fn take_sequence(
        &self,
        tx: &WriteTransaction,
        count: u64,
    ) -> Result<u64, ArchiveError> {
        use redb::ReadableTable as _;
        let mut counters = tx.open_table(COUNTERS)?;
        let stored = counters.get("sequence")?.map_or(0, |value| value.value());
        // The file may have been begun anew meanwhile; tokens of readers must not meet old numbers again.
        let first = self.sequence.load(Ordering::SeqCst).max(stored);
        counters.insert("sequence", first + count)?;
        self.sequence.store(first + count, Ordering::SeqCst);
        Ok(first)
    }
}

/// Joins big-endian numbers to a key.
pub(crate) fn key(parts: &[u64]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.to_be_bytes()).collect()
}

/// The number at `index` of a key made by [`key`].
pub(crate) fn key_part(key: &[u8], index: usize) -> u64 {
    let at = index * 8;
    key.get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes)
}

/// Milliseconds as an unsigned key part; moments before 1970 count as 1970.
pub(crate) fn millis(moment: i64) -> u64 {
    u64::try_from(moment).unwrap_or(0)
}
