//! The archive's file: opened when it is used, begun anew when it is damaged.
//!
//! Logs and metrics are worth less than the API: nothing that is wrong with them stops it.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use lath_store::contain;
use redb::{Database, Durability};

use super::{ArchiveError, BUCKETS, COUNTERS, EVENTS, SERIES, STREAMS};

/// Up to this size every page is checked when the file is opened, which takes a fraction of a second; damage
/// in a larger one is met when it is read. `lath doctor --data-dir` checks any.
const CHECKED: u64 = 256 << 20;

/// The file.
pub(super) struct ArchiveFile {
    path: PathBuf,
    cache_bytes: usize,
    open: RwLock<Open>,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Open {
    /// `None` before the first use, and after a failure.
    database: Option<Database>,
    /// Grows whenever the file is opened or closed: who failed on an older one does not harm the newer.
    generation: u64,
}

#[derive(Default)]
struct Trouble {
    failing: Option<String>,
    /// Stays until the process ends: what was there is not to be had.
    replaced: Vec<String>,
}

impl ArchiveFile {
    pub(super) fn new(path: PathBuf, cache_bytes: usize) -> Self {
        Self {
            path,
            cache_bytes,
            open: RwLock::default(),
            trouble: Mutex::default(),
        }
    }

    pub(super) fn trouble(&self) -> Vec<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = trouble.failing.iter().cloned();
        failing.chain(trouble.replaced.iter().cloned()).collect()
    }

    /// Something was written: it works.
    pub(super) fn wrote(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.failing.take().is_some() {
            tracing::info!(path = %self.path.display(), "the archive of logs and metrics is written again");
        }
    }

    /// Uses the file. After a failure it is opened again by the next use; after damage, begun anew.
    pub(super) fn with<T>(
        &self,
        body: impl FnOnce(&Database) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        self.ensure_open()?;
        let (generation, outcome) = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &open.database else {
                return Err(self.closed());
            };
            (open.generation, contain(|| body(database)))
        };
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ArchiveError::Transaction(error))) => {
                if let redb::Error::Corrupted(reason) = &*error {
                    self.replace(generation, reason);
                    return Err(ArchiveError::Damaged(reason.clone()));
                }
                let error = ArchiveError::Transaction(error);
                self.close(generation, &error);
                Err(error)
            }
            Ok(Err(error)) => Err(error),
            Err(panic) => {
                self.replace(generation, &panic);
                Err(ArchiveError::Damaged(panic))
            }
        }
    }

    fn closed(&self) -> ArchiveError {
        let reason = self.trouble().join("; ");
        redb::Error::Io(std::io::Error::other(reason)).into()
    }

    fn ensure_open(&self) -> Result<(), ArchiveError> {
        let is_open = |open: &Open| open.database.is_some();
        if is_open(&self.open.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if is_open(&open) {
            return Ok(());
        }
        let database = match self.open_file() {
            Err(Failed::Damaged(reason)) => {
                self.set_aside(&reason);
                self.open_file()
            }
            opened => opened,
        };
        open.database = Some(database.map_err(|failed| self.cannot_open(failed))?);
        open.generation += 1;
        Ok(())
    }

    fn cannot_open(&self, failed: Failed) -> ArchiveError {
        let source: Box<dyn std::error::Error + Send + Sync> = match failed {
            Failed::InUse => Box::new(redb::DatabaseError::DatabaseAlreadyOpen),
            Failed::Io(error) => Box::new(error),
            Failed::Damaged(reason) => reason.into(),
        };
        let error = ArchiveError::Open {
            path: self.path.clone(),
            source,
        };
        self.say_failing(&error);
        error
    }

    fn open_file(&self) -> Result<Database, Failed> {
        let opened = contain(|| open(&self.path, self.cache_bytes));
        opened.unwrap_or_else(|panic| Err(Failed::Damaged(panic)))
    }

    /// Closes a file on which something failed.
    fn close(&self, generation: u64, error: &ArchiveError) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.generation == generation {
            drop_quietly(open.database.take());
            open.generation += 1;
            self.say_failing(error);
        }
    }

    /// Moves a damaged file aside; the next use begins a new one.
    fn replace(&self, generation: u64, reason: &str) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.generation == generation {
            drop_quietly(open.database.take());
            open.generation += 1;
            self.set_aside(reason);
        }
    }

    fn set_aside(&self, reason: &str) {
        let now = lath_model::Timestamp::now().as_millis();
        let aside = self
            .path
            .with_file_name(format!("archive-damaged-{now}.redb"));
        let moved = std::fs::rename(&self.path, &aside);
        let text = match moved {
            Ok(()) => format!(
                "the archive of logs and metrics was damaged ({reason}) and is begun anew; the old one is {}",
                aside.display()
            ),
            Err(error) => format!(
                "the archive of logs and metrics {} is damaged ({reason}) and cannot be moved aside: {error}",
                self.path.display()
            ),
        };
        tracing::error!("{text}");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.replaced.push(text);
    }

    fn say_failing(&self, error: &ArchiveError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let text = format!(
            "the archive of logs and metrics {} cannot be used: {}",
            self.path.display(),
            cause.unwrap_or_else(|| error.to_string())
        );
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.failing.is_none() {
            tracing::error!("{text}");
        }
        trouble.failing = Some(text);
    }
}

/// Why the file could not be opened.
enum Failed {
    InUse,
    Io(std::io::Error),
    Damaged(String),
}

impl From<redb::DatabaseError> for Failed {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() != std::io::ErrorKind::InvalidData
                    && error.kind() != std::io::ErrorKind::UnexpectedEof =>
            {
                Self::Io(error)
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<redb::Error> for Failed {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::Io(error),
            error => Self::Damaged(error.to_string()),
        }
    }
}

fn open(path: &Path, cache_bytes: usize) -> Result<Database, Failed> {
    // Made before the engine opens it: log events are for their owner only.
    let mut options = std::fs::OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let file = options.open(path).map_err(Failed::Io)?;
    let length = file.metadata().map_err(Failed::Io)?.len();
    let mut database = Database::builder()
        .set_cache_size(cache_bytes)
        .create_file(file)?;
    if (1..=CHECKED).contains(&length) {
        // What it mends holds no logs or metrics.
        database.check_integrity()?;
    }
    make_tables(&database)?;
    Ok(database)
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let mut tx = database.begin_write()?;
    tx.set_durability(Durability::Immediate)?;
    for rows in [EVENTS, STREAMS, BUCKETS, SERIES] {
        tx.open_table(rows)?;
    }
    tx.open_table(COUNTERS)?;
    tx.commit()?;
    Ok(())
}

/// The engine may panic about a file that it found damaged.
fn drop_quietly(database: Option<Database>) {
    if let Err(panic) = contain(move || drop(database)) {
        tracing::warn!(panic, "the archive was not closed well");
    }
}
