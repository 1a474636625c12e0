use std::collections::BTreeSet;
use std::sync::Arc;

use lath_control::{BadToken, paginate};
use lath_model::Timestamp;
use lath_wire::{ApiError, Caller, Handle};

use super::api::{
    GetMetricData, MetricData, MetricDataQuery, MetricDataResult, ScanBy, StatusCode,
};
use super::get_metric_statistics::{Span, check_period, sorted};
use super::{error, invalid_token, invalid_value};
use crate::Observe;
use crate::archive::{Archive, ArchiveError};
use crate::metrics::{Series, SeriesId, Statistic};

const MAX_QUERIES: usize = 500;
const MAX_DATAPOINTS: i64 = 100_800;

/// One query, checked.
struct Query {
    id: String,
    label: String,
    namespace: String,
    name: String,
    dimensions: Vec<(String, String)>,
    unit: Option<String>,
    period: u64,
    statistic: Statistic,
    returned: bool,
}

impl Handle<GetMetricData> for Observe {
    async fn handle(&self, caller: &Caller, op: GetMetricData) -> Result<MetricData, ApiError> {
        if op.start_time >= op.end_time {
            return Err(invalid(
                "The parameter StartTime must be less than the parameter EndTime.",
            ));
        }
        let most = op.max_datapoints.unwrap_or(MAX_DATAPOINTS);
        let most = usize::try_from(most)
            .ok()
            .filter(|most| (1..=100_800).contains(most))
            .ok_or_else(|| invalid("MaxDatapoints must be between 1 and 100800."))?;
        let queries = check(&op.metric_data_queries, &caller.account)?;
        let archive = Arc::clone(&self.archive);
        tokio::task::spawn_blocking(move || answer(&archive, &op, &queries, most))
            .await
            .map_err(ApiError::internal)?
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    error("ValidationError", "ValidationError", 400, message)
}

fn check(queries: &[MetricDataQuery], account: &str) -> Result<Vec<Query>, ApiError> {
    if queries.is_empty() || queries.len() > MAX_QUERIES {
        return Err(invalid(format!(
            "Between 1 and {MAX_QUERIES} MetricDataQueries must be given."
        )));
    }
    let ids: BTreeSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
    if ids.len() != queries.len() {
        return Err(invalid(
            "The values for parameter id in MetricDataQueries are not unique.",
        ));
    }
    queries
        .iter()
        .map(|query| check_query(query, account))
        .collect()
}

fn check_query(query: &MetricDataQuery, account: &str) -> Result<Query, ApiError> {
    let id = &query.id;
    let well_formed = id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.len() <= 255
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !well_formed {
        return Err(invalid(format!(
            "The value {id:?} for parameter Id is invalid: it begins with a lower-case letter and has letters, digits and underscores."
        )));
    }
    if query
        .account_id
        .as_ref()
        .is_some_and(|other| other != account)
    {
        return Err(invalid("Metrics of other accounts cannot be read."));
    }
    let stat = match (&query.metric_stat, &query.expression) {
        (Some(stat), None) => stat,
        (None, Some(_)) => {
            return Err(invalid(format!(
                "Query {id}: expressions are not supported; ask for each metric with MetricStat."
            )));
        }
        _ => {
            return Err(invalid(format!(
                "Query {id} needs either MetricStat or Expression."
            )));
        }
    };
    let (Some(namespace), Some(name)) = (&stat.metric.namespace, &stat.metric.metric_name) else {
        return Err(invalid(format!(
            "Query {id}: the metric needs Namespace and MetricName."
        )));
    };
    let statistic = stat.stat.parse().map_err(|()| {
        invalid_value(format!(
            "The value {} for parameter Stat is not supported.",
            stat.stat
        ))
    })?;
    Ok(Query {
        id: id.clone(),
        label: query.label.clone().unwrap_or_else(|| name.clone()),
        namespace: namespace.clone(),
        name: name.clone(),
        dimensions: sorted(stat.metric.dimensions.clone()),
        unit: stat.unit.map(super::api::Unit::name),
        period: check_period(query.period.unwrap_or(stat.period))?,
        statistic,
        returned: query.return_data.unwrap_or(true),
    })
}

fn answer(
    archive: &Archive,
    op: &GetMetricData,
    queries: &[Query],
    most: usize,
) -> Result<MetricData, ApiError> {
    let series = archive.series()?;
    let mut points = Vec::new();
    for (index, query) in queries
        .iter()
        .enumerate()
        .filter(|(_, query)| query.returned)
    {
        for (at, value) in read(archive, &series, op, query)? {
            points.push((index, at, value));
        }
    }
    // The key makes each point's place in the answer comparable, whichever way time is read.
    let descending = op.scan_by.unwrap_or_default() == ScanBy::TimestampDescending;
    let place = |at: u64| if descending { u64::MAX - at } else { at };
    points.sort_by_key(|(index, at, _)| (*index, place(*at)));
    let key = |(index, at, _): &(usize, u64, f64)| format!("{index:03}{:020}", place(*at));
    let page = paginate(points, key, most, op.next_token.as_deref())
        .map_err(|BadToken| invalid_token())?;
    let complete = page.next_token.is_none();
    let results = queries
        .iter()
        .enumerate()
        .filter(|(_, query)| query.returned);
    let results = results.map(|(index, query)| result(index, query, &page.items, complete));
    Ok(MetricData {
        metric_data_results: results.collect(),
        next_token: page.next_token,
        messages: Vec::new(),
    })
}

fn read(
    archive: &Archive,
    series: &[(SeriesId, Series)],
    op: &GetMetricData,
    query: &Query,
) -> Result<Vec<(u64, f64)>, ArchiveError> {
    let matching = |(_, s): &&(SeriesId, Series)| {
        s.is(
            &query.namespace,
            &query.name,
            &query.dimensions,
            query.unit.as_deref(),
        )
    };
    let ids: Vec<SeriesId> = series.iter().filter(matching).map(|(id, _)| *id).collect();
    let span = Span::aligned(op.start_time, op.end_time, query.period, Timestamp::now());
    let periods = span.read(archive, &ids, query.period)?;
    let value = |(at, bucket): (&u64, _)| Some((*at, query.statistic.of(bucket)?));
    Ok(periods.iter().filter_map(value).collect())
}

fn result(
    index: usize,
    query: &Query,
    points: &[(usize, u64, f64)],
    complete: bool,
) -> MetricDataResult {
    let mine = points.iter().filter(|(of, ..)| *of == index);
    let (timestamps, values) = mine
        .map(|(_, at, value)| {
            (
                Timestamp::from_millis(i64::try_from(at * 1000).unwrap_or(i64::MAX)),
                *value,
            )
        })
        .unzip();
    MetricDataResult {
        id: query.id.clone(),
        label: query.label.clone(),
        timestamps,
        values,
        status_code: if complete {
            StatusCode::Complete
        } else {
            StatusCode::PartialData
        },
        messages: None,
    }
}
