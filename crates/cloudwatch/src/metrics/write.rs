use std::collections::{BTreeMap, HashMap, HashSet};

use redb::{Durability, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};

use super::{Bucket, Series, SeriesId};
use crate::archive::{Archive, ArchiveError, BUCKETS, SERIES, key, key_part};

/// Periods that are kept side by side, in seconds: what CloudWatch rolls up to.
pub(crate) const PERIODS: [u64; 4] = [1, 60, 300, 3600];

/// One report of one metric.
#[derive(Debug, Clone)]
pub(crate) struct Datum {
    pub(crate) series: Series,
    /// 1 or 60 seconds.
    pub(crate) resolution: u64,
    pub(crate) at_seconds: u64,
    pub(crate) bucket: Bucket,
}

/// Buckets that are not in the archive yet.
#[derive(Default)]
pub(crate) struct Pending {
    series: HashMap<SeriesId, Series>,
    buckets: BTreeMap<(SeriesId, u64, u64), Bucket>,
}

/// A write was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("more than {0} metrics")]
    TooManySeries(usize),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Unflushed data is bounded: the flusher runs every second.
const MOST_PENDING: usize = 400_000;

impl Pending {
    /// Takes back what could not be written.
    fn put_back(&mut self, batch: Self) {
        for (place, bucket) in batch.buckets {
            if let Some(known) = self.buckets.get_mut(&place) {
                known.merge(&bucket);
            } else if self.buckets.len() < MOST_PENDING {
                self.buckets.insert(place, bucket);
            }
        }
        for (id, series) in batch.series {
            self.series.entry(id).or_insert(series);
        }
    }

    fn add(&mut self, datum: Datum) {
        let id = datum.series.id();
        // A datum of standard resolution stands for its whole minute, whichever period it is read in.
        let at = datum.at_seconds / datum.resolution * datum.resolution;
        for period in PERIODS {
            let start = at / period * period;
            self.buckets
                .entry((id, period, start))
                .or_insert_with(|| Bucket::empty(&datum.bucket.unit))
                .merge(&datum.bucket);
        }
        let last = datum.series.last;
        let known = self.series.entry(id).or_insert(datum.series);
        known.last = known.last.max(last);
    }
}

impl Archive {
    /// Takes data in memory; [`Archive::flush`] puts them on disk. For what no caller waits for.
    pub(crate) fn add_pending(&self, datum: Datum) {
        let mut pending = self.lock_pending();
        if pending.buckets.len() < MOST_PENDING {
            pending.add(datum);
        }
    }

    /// Writes data; they are on disk when this returns. All or none.
    pub(crate) fn put_metrics(&self, data: Vec<Datum>) -> Result<(), WriteError> {
        let mut batch = Pending::default();
        data.into_iter().for_each(|datum| batch.add(datum));
        let limit = self.limits.series;
        let stored = self.write(Durability::Immediate, |tx| {
            let fits = series_beyond(tx, &batch, limit)?.is_empty();
            if fits {
                store(tx, &batch)?;
            }
            Ok(fits)
        })?;
        if stored {
            Ok(())
        } else {
            Err(WriteError::TooManySeries(limit))
        }
    }

    /// Writes what is pending. Series beyond the bound are dropped, and the log says so.
    pub(crate) fn flush(&self) -> Result<(), ArchiveError> {
        let mut batch = std::mem::take(&mut *self.lock_pending());
        if batch.buckets.is_empty() {
            return Ok(());
        }
        let limit = self.limits.series;
        let written = self.write(Durability::Immediate, |tx| {
            let beyond = series_beyond(tx, &batch, limit)?;
            if !beyond.is_empty() {
                tracing::error!(
                    limit,
                    dropped = beyond.len(),
                    "new metrics do not fit the archive"
                );
                batch.series.retain(|id, _| !beyond.contains(id));
                batch.buckets.retain(|(id, ..), _| !beyond.contains(id));
            }
            store(tx, &batch)
        });
        if written.is_err() {
            // It is tried again with what comes; a disk may have room by then.
            self.lock_pending().put_back(batch);
        }
        written
    }

    fn lock_pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The new series of a batch that would go beyond the bound.
fn series_beyond(
    tx: &WriteTransaction,
    batch: &Pending,
    limit: usize,
) -> Result<HashSet<SeriesId>, ArchiveError> {
    let table = tx.open_table(SERIES)?;
    let held = usize::try_from(table.len()?).unwrap_or(usize::MAX);
    let mut new = Vec::new();
    for id in batch.series.keys() {
        if table.get(key(&[*id]).as_slice())?.is_none() {
            new.push(*id);
        }
    }
    Ok(new.into_iter().skip(limit.saturating_sub(held)).collect())
}

fn store(tx: &WriteTransaction, batch: &Pending) -> Result<(), ArchiveError> {
    let mut table = tx.open_table(SERIES)?;
    for (id, series) in &batch.series {
        let json = serde_json::to_vec(series).map_err(ArchiveError::Corrupt)?;
        table.insert(key(&[*id]).as_slice(), json.as_slice())?;
    }
    store_buckets(tx, batch)
}

fn store_buckets(tx: &WriteTransaction, batch: &Pending) -> Result<(), ArchiveError> {
    let mut table = tx.open_table(BUCKETS)?;
    for ((id, period, start), bucket) in &batch.buckets {
        let key = key(&[*id, *period, *start]);
        let mut merged = match table.get(key.as_slice())? {
            Some(known) => serde_json::from_slice(known.value()).map_err(ArchiveError::Corrupt)?,
            None => Bucket::empty(&bucket.unit),
        };
        merged.merge(bucket);
        let json = serde_json::to_vec(&merged).map_err(ArchiveError::Corrupt)?;
        table.insert(key.as_slice(), json.as_slice())?;
    }
    Ok(())
}

impl Archive {
    /// Removes buckets that are older than what their period is kept for, and series without any.
    pub(crate) fn expire_metrics(
        &self,
        now: lath_model::Timestamp,
        kept: impl Fn(u64) -> std::time::Duration,
    ) -> Result<(), ArchiveError> {
        let seconds = u64::try_from(now.as_millis() / 1000).unwrap_or(0);
        self.write(Durability::Immediate, |tx| {
            let mut live = HashSet::new();
            tx.open_table(BUCKETS)?.retain(|row, _| {
                let (period, start) = (key_part(row, 1), key_part(row, 2));
                let fresh = start + kept(period).as_secs() >= seconds;
                if fresh {
                    live.insert(key_part(row, 0));
                }
                fresh
            })?;
            tx.open_table(SERIES)?
                .retain(|row, _| live.contains(&key_part(row, 0)))?;
            Ok(())
        })
    }
}
