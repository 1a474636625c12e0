use std::collections::BTreeMap;
use std::sync::Arc;

use lath_model::Timestamp;
use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{Datapoint, Dimension, GetMetricStatistics, MetricStatistics, SimpleStatistic};
use super::{invalid_combination, invalid_value};
use crate::CloudWatch;
use crate::archive::{Archive, ArchiveError};
use crate::metrics::{Bucket, SeriesId, Statistic, periods_fit};

operations! {
    for CloudWatch as "cloudwatch";
    asynchronous GetMetricStatistics -> MetricStatistics = get
        => any();
}

const MAX_DATAPOINTS: u64 = 1440;

async fn get(
    app: &CloudWatch,
    _caller: &Caller,
    op: GetMetricStatistics,
) -> Result<MetricStatistics, ApiError> {
    let (statistics, period) = check(&op)?;
    check_count(op.end_time.since(op.start_time).as_secs() / period)?;
    let span = Span::aligned(op.start_time, op.end_time, period, app.cell.now());
    let archive = Arc::clone(&app.archive);
    tokio::task::spawn_blocking(move || answer(&archive, op, &statistics, span, period))
        .await
        .map_err(ApiError::internal)?
        .map_err(Into::into)
}

/// A request for 24 hours in minutes is within the limit even when the minute that it begins in is read whole: the limit
/// is on what was asked for, before times are aligned.
fn check_count(datapoints: u64) -> Result<(), ApiError> {
    if datapoints <= MAX_DATAPOINTS {
        return Ok(());
    }
    Err(invalid_combination(format!(
        "You have requested up to {datapoints} datapoints, which exceeds the limit of {MAX_DATAPOINTS}. You may reduce the datapoints requested by increasing Period, or decreasing the time range."
    )))
}

/// Seconds: from inclusive, to exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    readable: bool,
}

impl Span {
    /// Floors the start as CloudWatch does: to the minute, five minutes or hour by its age, or to the
    /// period when that is below a minute.
    pub(super) fn aligned(start: Timestamp, end: Timestamp, period: u64, now: Timestamp) -> Self {
        let age = now.since(start);
        let step = match age.as_secs() {
            0..=10_800 if period < 60 => period,
            0..=1_296_000 => 60,
            1_296_001..=5_443_200 => 300,
            _ => 3600,
        };
        let seconds = |moment: Timestamp| u64::try_from(moment.as_millis() / 1000).unwrap_or(0);
        let end_millis = u64::try_from(end.as_millis()).unwrap_or(0);
        Self {
            start: seconds(start) / step * step,
            end: end_millis.div_ceil(1000),
            readable: periods_fit(period, age),
        }
    }

    /// The buckets of a metric in this span.
    pub(super) fn read(
        &self,
        archive: &Archive,
        ids: &[SeriesId],
        period: u64,
    ) -> Result<BTreeMap<u64, Bucket>, ArchiveError> {
        if !self.readable || self.end <= self.start {
            return Ok(BTreeMap::new());
        }
        archive.periods(ids, period, self.start, self.end)
    }
}

pub(super) fn sorted(dimensions: Vec<Dimension>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = dimensions.into_iter().map(|d| (d.name, d.value)).collect();
    pairs.sort();
    pairs
}

/// Times are compared in seconds: what lies within one second is no span.
pub(super) fn whole_seconds(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(1000)
}

/// 1, 5, 10, 20, 30 seconds or whole minutes.
pub(super) fn check_period(period: i64) -> Result<u64, ApiError> {
    match u64::try_from(period) {
        Ok(seconds @ (1 | 5 | 10 | 20 | 30)) => Ok(seconds),
        Ok(seconds) if seconds > 0 && seconds.is_multiple_of(60) => Ok(seconds),
        _ => Err(invalid_value(format!(
            "The value {period} for parameter Period is invalid: it must be 1, 5, 10, 20, 30 or a multiple of 60."
        ))),
    }
}

fn check(op: &GetMetricStatistics) -> Result<(Vec<(String, Statistic)>, u64), ApiError> {
    let period = check_period(op.period)?;
    if whole_seconds(op.start_time) >= whole_seconds(op.end_time) {
        return Err(invalid_value(
            "The parameter StartTime must be less than the parameter EndTime.",
        ));
    }
    let simple = op
        .statistics
        .iter()
        .map(|s| (format!("{s:?}"), simple_statistic(*s)));
    let extended = op.extended_statistics.iter().map(|name| {
        let statistic = name
            .parse::<Statistic>()
            .ok()
            .filter(|statistic| !statistic.is_simple());
        statistic
            .map(|statistic| (name.clone(), statistic))
            .ok_or_else(|| {
                invalid_value(format!(
                    "The value {name} for parameter ExtendedStatistics is not supported."
                ))
            })
    });
    match (op.statistics.len(), op.extended_statistics.len()) {
        (0, 0) => Err(invalid_combination(
            "Must specify either Statistics or ExtendedStatistics",
        )),
        (1..=5, 0) => Ok((simple.collect(), period)),
        (0, 1..=10) => Ok((extended.collect::<Result<_, _>>()?, period)),
        (_, 0) | (0, _) => Err(invalid_value(
            "At most 5 Statistics or 10 ExtendedStatistics may be asked for.",
        )),
        _ => Err(invalid_combination(
            "The parameters Statistics and ExtendedStatistics are mutually exclusive.",
        )),
    }
}

fn simple_statistic(statistic: SimpleStatistic) -> Statistic {
    match statistic {
        SimpleStatistic::SampleCount => Statistic::SampleCount,
        SimpleStatistic::Average => Statistic::Average,
        SimpleStatistic::Sum => Statistic::Sum,
        SimpleStatistic::Minimum => Statistic::Minimum,
        SimpleStatistic::Maximum => Statistic::Maximum,
    }
}

fn answer(
    archive: &Archive,
    op: GetMetricStatistics,
    statistics: &[(String, Statistic)],
    span: Span,
    period: u64,
) -> Result<MetricStatistics, ArchiveError> {
    let dimensions = sorted(op.dimensions);
    let unit = op.unit.map(super::api::Unit::name);
    let mut datapoints = Vec::new();
    for (id, series) in archive.series()? {
        if series.is(&op.namespace, &op.metric_name, &dimensions, unit.as_deref()) {
            let periods = span.read(archive, &[id], period)?;
            datapoints.extend(
                periods
                    .iter()
                    .map(|(start, bucket)| datapoint(*start, bucket, statistics)),
            );
        }
    }
    datapoints.sort_by_key(|point| point.timestamp);
    Ok(MetricStatistics {
        label: op.metric_name,
        datapoints,
    })
}

fn datapoint(start: u64, bucket: &Bucket, statistics: &[(String, Statistic)]) -> Datapoint {
    let mut point = Datapoint {
        timestamp: Timestamp::from_millis(i64::try_from(start * 1000).unwrap_or(i64::MAX)),
        unit: Some(bucket.unit.clone()),
        ..Datapoint::default()
    };
    for (name, statistic) in statistics {
        let value = statistic.of(bucket);
        match statistic {
            Statistic::SampleCount => point.sample_count = value,
            Statistic::Average => point.average = value,
            Statistic::Sum => point.sum = value,
            Statistic::Minimum => point.minimum = value,
            Statistic::Maximum => point.maximum = value,
            Statistic::Percentile(_) | Statistic::Trimmed(..) => {
                let extended = point.extended_statistics.get_or_insert_default();
                extended.extend(value.map(|value| (name.clone(), value)));
            }
        }
    }
    point
}
