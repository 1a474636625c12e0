//! Looks a state over without changing a byte of it, and takes damaged records out of one.
//!
//! The engine may panic, abort or spin on a damaged file: a process that must go on calls this in a process of
//! its own and reads the [`Report`].

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

/// How many damaged records are named.
const NAMED: usize = 1000;

/// What [`inspect`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Another process has the file open: nothing else was looked at.
    pub in_use: bool,
    /// How the file is laid out.
    pub format: Option<u64>,
    /// The store's revision.
    pub revision: u64,
    /// Whose state it is; older formats do not say.
    pub identity: Option<Identity>,
    /// How many records of each kind are whole.
    pub records: BTreeMap<String, u64>,
    /// Records that are not, at most a thousand.
    pub damaged: Vec<DamagedRecord>,
    /// What is wrong with the file as a whole.
    pub faults: Vec<String>,
    /// Structures of the engine that hold no records are damaged: opening with [`crate::Opening::mend`]
    /// makes them anew.
    pub mendable: bool,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRecord {
    /// The store's key: `record/KIND/ID`.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Report {
    /// Whether the state can be used as it is, with every record right.
    pub fn is_whole(&self) -> bool {
        !self.in_use && self.damaged.is_empty() && self.faults.is_empty()
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }
}

/// Looks the file at `path` over: every record, the engine's checksums of every page, the high-water mark
/// beside it. Nothing is written; what the engine repairs, it repairs in memory.
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
    // Records first: they have names, and pages have none.
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
        Ok(Ok(clean)) => report.mendable = !clean,
        Ok(Err(error)) => report.fault(format!("a page of the file is damaged: {error}")),
        Err(panic) => report.fault(format!("a page of the file is damaged: {panic}")),
    }
    if report.mendable && report.is_whole() {
        // What was repaired may be an older root: it is looked at as the next start will see it.
        report.records.clear();
        scan(&database, path, kinds, report)?;
    }
    let closed = contain(move || drop(database));
    if let Err(panic) = closed {
        report.fault(format!("the storage engine stopped: {panic}"));
    }
    Ok(())
}

/// Opens a file of the engine such that nothing is written to it: what the engine changes, it changes in
/// memory. Whose format the content has is not looked at.
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

/// Reads every entry, and compares what they come to with what the file and its mark say.
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
        Ok(said) => {
            report.revision = said.revision;
            if !first {
                compare(path, said, found, report)?;
            }
        }
    }
    Ok(())
}

fn compare(path: &Path, said: Sums, found: Sums, report: &mut Report) -> Result<(), StoreError> {
    if said.entries != found.entries {
        report.fault(format!(
            "it should hold {} records, and {} can be read",
            said.entries, found.entries
        ));
    } else if said.digest != found.digest && report.damaged.is_empty() {
        report.fault("its records are not those that were written last");
    }
    let mark = Mark::beside(path);
    let contradiction = mark::contradiction(&mark, said);
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

/// Every stored entry, as it is.
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

/// The record's kind, where it is a record; why it cannot be read.
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
