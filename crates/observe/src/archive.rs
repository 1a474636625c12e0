//! Bulk data on disk: log events and metric buckets.
//!
//! One redb file. Keys are big-endian so that ranges are time ranges. Every commit is atomic and, unless
//! the caller asks for a relaxed one, on disk when it returns.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, Durability, ReadableDatabase, TableDefinition, WriteTransaction};

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
    /// A stored value does not decode.
    #[error("the archive holds a value that cannot be read")]
    Corrupt(#[source] serde_json::Error),
}

impl<E: Into<redb::Error>> From<E> for ArchiveError {
    fn from(error: E) -> Self {
        Self::Transaction(Box::new(error.into()))
    }
}

impl From<ArchiveError> for lath_wire::ApiError {
    fn from(error: ArchiveError) -> Self {
        Self::internal(error)
    }
}

/// The bulk store.
pub struct Archive {
    db: Database,
    pub(crate) limits: Limits,
    sequence: AtomicU64,
    pub(crate) pending: std::sync::Mutex<crate::metrics::Pending>,
}

impl Archive {
    /// Opens or makes the archive in `directory`.
    ///
    /// # Errors
    /// [`ArchiveError::Open`] names the file.
    pub fn open(directory: &Path, limits: Limits) -> Result<Self, ArchiveError> {
        let path = directory.join("archive.redb");
        let open = |path: &Path| -> Result<Database, Box<dyn std::error::Error + Send + Sync>> {
            std::fs::create_dir_all(directory)?;
            // Made before redb opens it: log events are for their owner only.
            let mut options = std::fs::OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            Ok(Database::builder()
                .set_cache_size(limits.cache_bytes)
                .create(path)?)
        };
        let db = open(&path).map_err(|source| ArchiveError::Open { path, source })?;
        let archive = Self {
            db,
            limits,
            sequence: AtomicU64::new(0),
            pending: std::sync::Mutex::default(),
        };
        archive.write(Durability::Immediate, |tx| {
            for rows in [EVENTS, STREAMS, BUCKETS, SERIES] {
                tx.open_table(rows)?;
            }
            let counters = tx.open_table(COUNTERS)?;
            use redb::ReadableTable as _;
            let next = counters.get("sequence")?.map_or(0, |value| value.value());
            archive.sequence.store(next, Ordering::SeqCst);
            Ok(())
        })?;
        Ok(archive)
    }

    /// Runs one atomic transaction.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        body: impl FnOnce(&WriteTransaction) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let mut tx = self.db.begin_write()?;
        tx.set_durability(durability)?;
        let answer = body(&tx)?;
        tx.commit()?;
        Ok(answer)
    }

    /// A consistent view for reading.
    pub(crate) fn read(&self) -> Result<redb::ReadTransaction, ArchiveError> {
        Ok(self.db.begin_read()?)
    }

    /// Numbers that no other event has; the counter is stored in the transaction that uses them.
    pub(crate) fn take_sequence(
        &self,
        tx: &WriteTransaction,
        count: u64,
    ) -> Result<u64, ArchiveError> {
        let first = self.sequence.fetch_add(count, Ordering::SeqCst);
        tx.open_table(COUNTERS)?.insert("sequence", first + count)?;
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
