//! Rebuilds a state without its damaged records.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DamagedRecord, entries, inspect, open_unchanged};
use crate::embedded::file;
use crate::embedded::format::{ENTRIES, META, Sums, join, split, split_first_format};
use crate::embedded::mark::{self, Mark, Marked};
use crate::load::REVISION;
use crate::{Kinds, Report, StoreError};

/// The view's revision counts writes; the file's counts transactions, which are fewer. If only the file's is
/// left, the view's continues this far beyond it.
const LEAP: u64 = 1 << 32;

/// The result of [`quarantine`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The directory with the original file and the bytes of each removed record.
    pub directory: PathBuf,
    /// The removed records.
    pub records: Vec<DamagedRecord>,
    /// The number of further records that the file should contain but that could not be reached.
    pub unreachable: u64,
}

/// Rebuilds the state at `path` from its intact records. Makes the directory `aside` with the bytes of the
/// damaged ones in files `0`, `1`, …, which `records.json` lists, and with the original file.
///
/// # Errors
/// [`StoreError::InUse`] while Lath is running; that the file cannot be opened at all; or that a file cannot be
/// written, and then nothing has changed.
pub fn quarantine(path: &Path, kinds: &Kinds, aside: &Path) -> Result<Quarantined, StoreError> {
    let report = inspect(path, kinds);
    if report.in_use {
        return Err(StoreError::InUse(path.to_owned()));
    }
    let first = report.format == Some(1);
    let damaged: BTreeSet<&str> = report.damaged.iter().map(|it| it.key.as_str()).collect();
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    let database = open_unchanged(path)?;
    entries(&database, |key, stored| {
        if damaged.contains(key) {
            broken.push(stored.to_vec());
        } else if let Some((revision, value)) = readable(key, stored, first) {
            whole.push((key.to_owned(), revision, value.to_vec()));
        }
    })?;
    let recorded = file::read_sums(&database).map_err(StoreError::engine)?;
    let identity = file::identity(&database).map_err(StoreError::engine)?;
    drop(database);
    let found = (whole.len() + broken.len()) as u64;
    let recorded = recorded.unwrap_or_default();
    keep_aside(path, aside, &report, &broken).map_err(|error| StoreError::io(aside, error))?;
    let fresh = path.with_extension("redb-rebuilt");
    let _ = fs::remove_file(&fresh);
    file::create(&fresh, identity.as_ref())?;
    let sums = fill(&fresh, whole, newest(path, recorded)).map_err(StoreError::engine)?;
    exchange(path, &fresh, sums).map_err(|error| StoreError::io(path, error))?;
    Ok(Quarantined {
        directory: aside.to_owned(),
        unreachable: recorded.entries.saturating_sub(found),
        records: report.damaged,
    })
}

fn readable<'a>(key: &str, stored: &'a [u8], first: bool) -> Option<(u64, &'a [u8])> {
    if first {
        split_first_format(stored).ok()
    } else {
        split(key, stored).ok()
    }
}

/// The newest revision that was ever acknowledged, which must not be used again.
fn newest(path: &Path, recorded: Sums) -> u64 {
    match Mark::beside(path).read() {
        Ok(Marked::At(at)) => at.revision.max(recorded.revision),
        _ => recorded.revision,
    }
}

fn keep_aside(
    path: &Path,
    aside: &Path,
    report: &Report,
    broken: &[Vec<u8>],
) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(aside)?;
    for (number, bytes) in broken.iter().enumerate() {
        fs::write(aside.join(number.to_string()), bytes)?;
    }
    fs::write(
        aside.join("records.json"),
        serde_json::to_vec_pretty(report)?,
    )?;
    fs::hard_link(path, aside.join("state.redb"))?;
    File::open(aside)?.sync_all()
}

fn fill(
    path: &Path,
    whole: Vec<(String, u64, Vec<u8>)>,
    revision: u64,
) -> Result<Sums, redb::Error> {
    let database = redb::Database::open(path)?;
    let write = file::begin(&database)?;
    let mut sums = Sums {
        revision: revision + 1,
        ..Sums::default()
    };
    {
        let mut table = write.open_table(ENTRIES)?;
        let mut put = |key: &str, revision: u64, value: &[u8]| {
            let stored = join(key, revision, value);
            sums.add(&stored);
            table.insert(key, stored.as_slice()).map(drop)
        };
        if !whole.iter().any(|(key, ..)| key == REVISION) {
            let mark = (revision + LEAP).to_string();
            put(REVISION, revision + 1, mark.as_bytes())?;
        }
        for (key, revision, value) in &whole {
            put(key, *revision, value)?;
        }
        sums.write(&mut write.open_table(META)?)?;
    }
    write.commit()?;
    Ok(sums)
}

/// Replaces the file atomically: a crash leaves the old file or the new one.
fn exchange(path: &Path, fresh: &Path, sums: Sums) -> std::io::Result<()> {
    fs::rename(fresh, path)?;
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    File::open(directory)?.sync_all()?;
    mark::write(&Mark::beside(path).open()?, sums)
}
