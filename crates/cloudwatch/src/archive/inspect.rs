//! Looks an archive over without changing it.

use std::path::Path;

use lath_store::{StoreError, contain};
use redb::{ReadableDatabase as _, ReadableTableMetadata as _, TableError};
use serde::{Deserialize, Serialize};

use super::{BUCKETS, EVENTS, Rows, SERIES, STREAMS};

/// What [`inspect`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveReport {
    /// Another process has the file open: nothing else was looked at.
    pub in_use: bool,
    /// Log events.
    pub events: u64,
    /// Log streams.
    pub streams: u64,
    /// Buckets of metrics.
    pub buckets: u64,
    /// Metric series.
    pub series: u64,
    /// What is wrong with the file.
    pub faults: Vec<String>,
}

/// Looks the file at `path` over: the engine's checksums of every page, and how much it holds.
pub fn inspect(path: &Path) -> ArchiveReport {
    let mut report = ArchiveReport::default();
    match contain(|| look(path, &mut report)) {
        Ok(Ok(())) => {}
        Ok(Err(StoreError::InUse(_))) => report.in_use = true,
        Ok(Err(error)) => report.faults.push(error.to_string()),
        Err(panic) => report
            .faults
            .push(format!("the storage engine stopped: {panic}")),
    }
    report
}

fn look(path: &Path, report: &mut ArchiveReport) -> Result<(), StoreError> {
    let mut database = lath_store::open_unchanged(path)?;
    match database.check_integrity() {
        Ok(true) => {}
        Ok(false) => report.faults.push(
            "a page is damaged; what holds no logs or metrics is mended at the next start".into(),
        ),
        Err(error) => report.faults.push(format!("a page is damaged: {error}")),
    }
    let count = || -> Result<[u64; 4], redb::Error> {
        let read = database.begin_read()?;
        let rows = |table: Rows| match read.open_table(table) {
            Ok(table) => Ok(table.len()?),
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(redb::Error::from(error)),
        };
        Ok([rows(EVENTS)?, rows(STREAMS)?, rows(BUCKETS)?, rows(SERIES)?])
    };
    match count() {
        Ok(counts) => [report.events, report.streams, report.buckets, report.series] = counts,
        Err(error) => report.faults.push(error.to_string()),
    }
    Ok(())
}
