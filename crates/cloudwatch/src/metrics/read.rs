use std::collections::BTreeMap;
use std::time::Duration;

use super::write::PERIODS;
use super::{Bucket, Series, SeriesId};
use crate::archive::{Archive, ArchiveError, BUCKETS, SERIES, key, key_part};

const DAY: u64 = 86_400;

/// How long buckets of a period are kept
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html>).
pub(crate) fn retention(period: u64) -> Duration {
    Duration::from_secs(match period {
        0..60 => 3 * 3600,
        60..300 => 15 * DAY,
        300..3600 => 63 * DAY,
        _ => 455 * DAY,
    })
}

/// Whether data that is `age` old can still be read in periods of `period` seconds.
pub(crate) fn periods_fit(period: u64, age: Duration) -> bool {
    let step = match age.as_secs() {
        0..=10_800 => 1,
        10_801..=1_296_000 => 60,
        1_296_001..=5_443_200 => 300,
        _ => 3600,
    };
    period.is_multiple_of(step)
}

impl Archive {
    /// Every series, pending ones included.
    pub(crate) fn series(&self) -> Result<Vec<(SeriesId, Series)>, ArchiveError> {
        self.flush()?;
        self.read(|tx| {
            let table = tx.open_table(SERIES)?;
            let mut all = Vec::new();
            for row in table.range::<&[u8]>(..)? {
                let (id, json) = row?;
                let series = serde_json::from_slice(json.value()).map_err(ArchiveError::Corrupt)?;
                all.push((key_part(id.value(), 0), series));
            }
            Ok(all)
        })
    }

    /// The series of a metric joined into periods that begin at multiples of `period` seconds after
    /// `start` (inclusive) and before `end` (exclusive). Periods without observations are absent. They are
    /// joined from the longest stored ones that begin at `start` too: a longer one that began before it
    /// would be missed whole.
    pub(crate) fn periods(
        &self,
        ids: &[SeriesId],
        period: u64,
        start: u64,
        end: u64,
    ) -> Result<BTreeMap<u64, Bucket>, ArchiveError> {
        let stored = PERIODS
            .into_iter()
            .rev()
            .find(|p| period.is_multiple_of(*p) && start.is_multiple_of(*p))
            .unwrap_or(1);
        self.read(|tx| {
            let table = tx.open_table(BUCKETS)?;
            let mut periods: BTreeMap<u64, Bucket> = BTreeMap::new();
            for id in ids {
                let (from, to) = (
                    key(&[*id, stored, start]),
                    key(&[*id, stored, end.max(start)]),
                );
                for row in table.range(from.as_slice()..to.as_slice())? {
                    let (row_key, json) = row?;
                    let bucket: Bucket =
                        serde_json::from_slice(json.value()).map_err(ArchiveError::Corrupt)?;
                    let offset = key_part(row_key.value(), 2) - start;
                    let begins = start + offset / period * period;
                    match periods.get_mut(&begins) {
                        Some(known) => known.merge(&bucket),
                        None => drop(periods.insert(begins, bucket)),
                    }
                }
            }
            Ok(periods)
        })
    }
}
