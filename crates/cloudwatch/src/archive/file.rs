//! The archive's file: opened when it is used, begun anew when it is damaged.
//!
//! Logs and metrics are worth less than the API: nothing that is wrong with them stops it.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use lath_clock::Clock;
use lath_store::contain;
use redb::{Database, Durability};

use super::{ArchiveError, BUCKETS, COUNTERS, EVENTS, SERIES, STREAMS};

/// Up to this size every page is checked when the file is opened, which takes a fraction of a second; damage
/// in a larger one is met when it is read. `lath doctor --data-dir` checks any.
const CHECKED: u64 = 256 << 20;

/// The file.
pub(super) struct ArchiveFile {
    clock: Clock,
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
    pub(super) fn new(path: PathBuf, cache_bytes: usize, clock: Clock) -> Self {
        Self {
            path,
            clock,
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
        self.report_failing(&error);
        error
    }

    fn open_file(&self) -> Result<Database, Failed> {
        let opened = contain(|| open(&self.path, self.cache_bytes));
        let (database, mended) = opened.unwrap_or_else(|panic| Err(Failed::Damaged(panic)))?;
        if mended {
            self.report_replaced(format!(
                "the archive of logs and metrics {} was damaged and is mended: what was written last may be missing",
                self.path.display()
            ));
        }
        Ok(database)
    }

    /// Closes a file on which something failed.
    fn close(&self, generation: u64, error: &ArchiveError) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.generation == generation {
            drop_quietly(open.database.take());
            open.generation += 1;
            self.report_failing(error);
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
        let now = self.clock.now().as_millis();
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
        self.report_replaced(text);
    }

    fn report_replaced(&self, text: String) {
        tracing::error!("{text}");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.replaced.push(text);
    }

    fn report_failing(&self, error: &ArchiveError) {
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

/// The file, and whether the engine mended it.
fn open(path: &Path, cache_bytes: usize) -> Result<(Database, bool), Failed> {
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
    let mended = (1..=CHECKED).contains(&length) && !database.check_integrity()?;
    make_tables(&database)?;
    Ok((database, mended))
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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::archive::{Archive, Limits};
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    fn open_in(directory: &Path) -> Archive {
        Archive::open(directory, Limits::default(), Clock::system()).unwrap()
    }

    fn put(archive: &Archive, number: u64, length: usize) -> Result<(), ArchiveError> {
        archive.write(Durability::Immediate, |tx| {
            let (key, value) = (number.to_be_bytes(), vec![7; length]);
            tx.open_table(EVENTS)?
                .insert(key.as_slice(), value.as_slice())?;
            Ok(())
        })
    }

    fn count(archive: &Archive) -> u64 {
        use redb::ReadableTableMetadata as _;
        archive
            .read(|tx| Ok(tx.open_table(EVENTS)?.len()?))
            .unwrap()
    }

    #[test]
    fn a_damaged_archive_is_moved_aside_and_a_new_one_begun() {
        for what in ["a byte", "junk", "cut off"] {
            let directory = tempfile::tempdir().unwrap();
            let archive = open_in(directory.path());
            for number in 0..200 {
                put(&archive, number, 300).unwrap();
            }
            drop(archive);
            let path = directory.path().join("archive.redb");
            let mut bytes = std::fs::read(&path).unwrap();
            match what {
                // Every page that holds events has this run.
                "a byte" => {
                    let at = bytes.windows(64).position(|it| it == [7; 64]).unwrap();
                    let pages = (at / 4096..bytes.len() / 4096).map(|page| page * 4096);
                    pages.for_each(|page| bytes[page + 2000] ^= 1);
                }
                "junk" => bytes.fill(3),
                _ => bytes.truncate(5000),
            }
            std::fs::write(&path, &bytes).unwrap();
            let archive = open_in(directory.path());
            let trouble = archive.trouble();
            assert!(trouble[0].contains("was damaged"), "{what}: {trouble:?}");
            assert_eq!(count(&archive), 0, "{what}");
            put(&archive, 1, 10).unwrap();
            assert_eq!(count(&archive), 1, "{what}");
            let aside = std::fs::read_dir(directory.path()).unwrap().flatten();
            let aside: Vec<_> = aside
                .filter(|it| it.file_name() != "archive.redb")
                .collect();
            assert_eq!(std::fs::read(aside[0].path()).unwrap(), bytes, "{what}");
        }
    }

    #[test]
    fn one_that_another_has_open_is_not_taken_for_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let archive = open_in(directory.path());
        put(&archive, 1, 10).unwrap();
        assert!(Archive::open(directory.path(), Limits::default(), Clock::system()).is_err());
        assert_eq!(count(&archive), 1);
        drop(archive);
        assert_eq!(count(&open_in(directory.path())), 1);
    }

    #[test]
    fn a_panic_on_a_page_does_not_leave_the_archive() {
        let directory = tempfile::tempdir().unwrap();
        let archive = open_in(directory.path());
        put(&archive, 1, 10).unwrap();
        let read = archive.read(|_| -> Result<(), _> { panic!("on purpose") });
        assert!(matches!(read, Err(ArchiveError::Damaged(_))));
        assert_eq!(count(&archive), 0, "it is begun anew");
    }

    #[test]
    fn a_full_disk_is_not_for_ever() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: needs root (a tmpfs in a mount namespace)");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let work = move || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let (tmpfs, size) = (Some("tmpfs"), Some("size=8m"));
            mount(Some("lath-test"), &path, tmpfs, MsFlags::empty(), size).unwrap();
            let archive = open_in(&path);
            std::fs::write(path.join("ballast"), vec![1; 2 << 20]).unwrap();
            let mut written = 0;
            let refused = loop {
                match put(&archive, written, 50_000) {
                    Ok(()) => written += 1,
                    Err(error) => break error,
                }
            };
            assert!(refused.is_full(), "{refused:?}");
            assert!(!archive.trouble().is_empty());
            assert_eq!(count(&archive), written, "nothing acknowledged is lost");
            std::fs::remove_file(path.join("ballast")).unwrap();
            put(&archive, written, 50_000).unwrap();
            assert_eq!(count(&archive), written + 1);
            assert_eq!(archive.trouble(), Vec::<String>::new());
        };
        std::thread::spawn(work).join().unwrap();
    }
}
