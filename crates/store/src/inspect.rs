//! Inspects a state without changing a byte of it, and removes damaged records from a state.
//!
//! The engine may panic, abort or loop on a damaged file. A caller that must survive this runs it in a separate
//! process and reads the [`Report`].

mod overlay;
mod rebuild;

use std::collections::BTreeMap;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableError};
use serde::{Deserialize, Serialize};

pub use self::rebuild::{Quarantined, quarantine};

use self::overlay::Overlay;
use crate::embedded::file;
use crate::embedded::format::{ENTRIES, FORMAT, META, Sums, split, split_first_format};
use crate::embedded::mark::{self, Mark};
use crate::load::parts;
use crate::{Identity, Kinds, StoreError, contain};

/// The damaged records that are listed at most.
const NAMED: usize = 1000;

/// The result of [`inspect`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Another process has the file open. Nothing else was checked.
    pub in_use: bool,
    /// The file's format.
    pub format: Option<u64>,
    /// The store's revision.
    pub revision: u64,
    /// The owner of the state; older formats do not record it.
    pub identity: Option<Identity>,
    /// The number of intact records of each kind.
    pub records: BTreeMap<String, u64>,
    /// Damaged records, at most a thousand.
    pub damaged: Vec<DamagedRecord>,
    /// Damage of the file outside of single records.
    pub faults: Vec<String>,
    /// Structures of the engine that contain no records are damaged: opening with [`crate::Opening::repair`]
    /// rebuilds them.
    pub repairable: bool,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRecord {
    /// The store's key: `record/KIND/ID`.
    pub key: String,
    /// The reason.
    pub reason: String,
}

impl Report {
    /// Whether the state is usable and every record is intact.
    pub fn is_whole(&self) -> bool {
        !self.in_use && self.damaged.is_empty() && self.faults.is_empty()
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }
}

/// Checks the file at `path`: every record, the engine's checksum of every page, and the high-water mark beside it.
/// Writes nothing; the engine repairs in memory.
pub fn inspect(path: &Path, kinds: &Kinds) -> Report {
    let mut report = Report::default();
    let outcome = contain(|| look(path, kinds, &mut report));
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(StoreError::InUse(_))) => report.in_use = true,
        Ok(Err(error)) => report.fault(chain(&error)),
        Err(panic) => report.fault(format!("the storage engine stopped: {panic}")),
    }
    report
}

fn look(path: &Path, kinds: &Kinds, report: &mut Report) -> Result<(), StoreError> {
    let mut database = open_unchanged(path)?;
    report.format = file::format(&database).map_err(StoreError::engine)?;
    match report.format {
        Some(1 | FORMAT) => {}
        Some(other) => return Err(StoreError::damaged(path, &file::unknown(other))),
        None => return Err(StoreError::damaged(path, "it is no state of Lath")),
    }
    report.identity = file::identity(&database).map_err(StoreError::engine)?;
    // Check records first, because they have names and pages do not.
    let scanned = contain(|| scan(&database, path, kinds, report));
    match scanned {
        Ok(Ok(())) => {}
        Ok(Err(error)) => report.fault(format!(
            "not every record can be reached: {}",
            chain(&error)
        )),
        Err(panic) => report.fault(format!("not every record can be reached: {panic}")),
    }
    let checked = contain(|| database.check_integrity());
    match checked {
        Ok(Ok(clean)) => report.repairable = !clean,
        Ok(Err(error)) => report.fault(format!("a page of the file is damaged: {error}")),
        Err(panic) => report.fault(format!("a page of the file is damaged: {panic}")),
    }
    if report.repairable && report.is_whole() {
        // The repair may have chosen an older root: check the state that the next start will see.
        report.records.clear();
        scan(&database, path, kinds, report)?;
    }
    let closed = contain(move || drop(database));
    if let Err(panic) = closed {
        report.fault(format!("the storage engine stopped: {panic}"));
    }
    Ok(())
}

/// Opens a file of the engine without writing to it: the engine's changes stay in memory. Does not check the
/// format of the content.
///
/// # Errors
/// [`StoreError::InUse`] when another process has it open, [`StoreError::Damaged`] when it cannot be opened.
pub fn open_unchanged(path: &Path) -> Result<Database, StoreError> {
    let overlay = Overlay::over(path).map_err(|error| StoreError::io(path, error))?;
    if overlay.is_empty() {
        return Err(StoreError::damaged(path, "it is empty"));
    }
    let opened = contain(|| file::open_backend(overlay));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => Err(StoreError::InUse(path.into())),
        Ok(Err(error)) => Err(StoreError::damaged(path, &error.to_string())),
        Err(panic) => Err(StoreError::damaged(path, &panic)),
    }
}

/// Reads every entry and compares the sums with those of the file and its mark.
fn scan(
    database: &Database,
    path: &Path,
    kinds: &Kinds,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut found = Sums::default();
    let first = report.format == Some(1);
    entries(database, |key, stored| {
        found.add(stored);
        let value = if first {
            split_first_format(stored)
        } else {
            split(key, stored)
        };
        let value = value.map(|(_, value)| value).map_err(ToOwned::to_owned);
        match value.and_then(|value| understood(key, value, kinds)) {
            Ok(Some(kind)) => *report.records.entry(kind).or_default() += 1,
            Ok(None) => {}
            Err(reason) if report.damaged.len() < NAMED => report.damaged.push(DamagedRecord {
                key: key.to_owned(),
                reason,
            }),
            Err(_) => {}
        }
    })?;
    match sums(database, first)? {
        Err(reason) => report.fault(reason),
        Ok(recorded) => {
            report.revision = recorded.revision;
            if !first {
                compare(path, recorded, found, report)?;
            }
        }
    }
    Ok(())
}

fn compare(
    path: &Path,
    recorded: Sums,
    found: Sums,
    report: &mut Report,
) -> Result<(), StoreError> {
    if recorded.entries != found.entries {
        report.fault(format!(
            "it should hold {} records, and {} can be read",
            recorded.entries, found.entries
        ));
    } else if recorded.digest != found.digest && report.damaged.is_empty() {
        report.fault("its records are not those that were written last");
    }
    let mark = Mark::beside(path);
    let contradiction = mark::contradiction(&mark, recorded);
    let contradiction = contradiction.map_err(|error| StoreError::io(mark.path(), error))?;
    report.faults.extend(contradiction);
    Ok(())
}

fn sums(database: &Database, first: bool) -> Result<Result<Sums, &'static str>, StoreError> {
    if !first {
        return file::read_sums(database).map_err(StoreError::engine);
    }
    let read = || -> Result<u64, redb::Error> {
        let read = database.begin_read()?;
        let revision = read.open_table(META)?.get("revision")?;
        Ok(revision.map_or(0, |value| value.value()))
    };
    let revision = read().map_err(StoreError::engine)?;
    Ok(Ok(Sums {
        revision,
        ..Sums::default()
    }))
}

/// Calls `each` with every stored entry.
fn entries(database: &Database, mut each: impl FnMut(&str, &[u8])) -> Result<(), StoreError> {
    let mut read = || -> Result<(), redb::Error> {
        let read = database.begin_read()?;
        let table = match read.open_table(ENTRIES) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for item in table.iter()? {
            let (key, stored) = item?;
            each(key.value(), stored.value());
        }
        Ok(())
    };
    read().map_err(StoreError::engine)
}

/// Decodes an entry. Returns its kind if it is a record, or why it cannot be decoded.
fn understood(key: &str, value: &[u8], kinds: &Kinds) -> Result<Option<String>, String> {
    if key == crate::load::REVISION {
        return Ok(None);
    }
    let (kind, id) = parts(key).ok_or("its key names no kind and id")?;
    let known = kinds.get(kind);
    let known = known.ok_or("its kind is not known: it was written by a newer version")?;
    (known.decode)(id, value)?;
    Ok(Some(kind.to_owned()))
}

fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
