use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use lath_control::{BadToken, paginate};
use lath_model::Timestamp;
use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{
    GetMetricData, MessageData, MetricData, MetricDataQuery, MetricDataResult, ScanBy, StatusCode,
};
use super::dynamic_label::{Named, fill};
use super::get_metric_statistics::{Span, check_period, sorted, whole_seconds};
use super::{error, invalid_token, invalid_value};
use crate::CloudWatch;
use crate::archive::{Archive, ArchiveError};
use crate::metrics::{Series, SeriesId, Statistic};

operations! {
    for CloudWatch as "cloudwatch";
    asynchronous GetMetricData -> MetricData = get
        => any();
}

const MAX_QUERIES: usize = 500;
const MAX_DATAPOINTS: i64 = 100_800;

/// One query, checked.
struct Query {
    id: String,
    /// Empty until [`label`] gives it one.
    label: String,
    namespace: String,
    name: String,
    dimensions: Vec<(String, String)>,
    unit: Option<String>,
    period: u64,
    statistic: Statistic,
    /// The statistic as it was written.
    stat: String,
    returned: bool,
}

async fn get(app: &CloudWatch, caller: &Caller, op: GetMetricData) -> Result<MetricData, ApiError> {
    check_span(&op)?;
    let most = op.max_datapoints.unwrap_or(MAX_DATAPOINTS);
    let most = usize::try_from(most)
        .ok()
        .filter(|most| (1..=100_800).contains(most))
        .ok_or_else(|| invalid("MaxDatapoints must be between 1 and 100800."))?;
    check_zone(&op)?;
    let queries = check(&op.metric_data_queries, caller)?;
    let (archive, now) = (Arc::clone(&app.archive), app.cell.now());
    tokio::task::spawn_blocking(move || answer(&archive, &op, &queries, most, now))
        .await
        .map_err(ApiError::internal)?
}

fn check_span(op: &GetMetricData) -> Result<(), ApiError> {
    match whole_seconds(op.start_time).cmp(&whole_seconds(op.end_time)) {
        Ordering::Less => Ok(()),
        Ordering::Equal => Err(invalid(
            "The parameter StartTime must not equal parameter EndTime.",
        )),
        Ordering::Greater => Err(invalid(
            "The parameter EndTime must be greater than StartTime.",
        )),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    error("ValidationError", "ValidationError", 400, message)
}

fn check(queries: &[MetricDataQuery], caller: &Caller) -> Result<Vec<Query>, ApiError> {
    if queries.is_empty() {
        return Err(invalid("The parameter MetricDataQueries is required."));
    }
    if queries.len() > MAX_QUERIES {
        return Err(invalid(format!(
            "The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}."
        )));
    }
    check_statistics(queries)?;
    let ids: BTreeSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
    if ids.len() != queries.len() {
        return Err(invalid(
            "The values for parameter id in MetricDataQueries are not unique.",
        ));
    }
    let mut checked: Vec<Query> = queries
        .iter()
        .map(|query| check_query(query, &caller.account))
        .collect::<Result<_, _>>()?;
    label(&mut checked, caller)?;
    Ok(checked)
}

/// Every statistic that is none, a line each.
fn check_statistics(queries: &[MetricDataQuery]) -> Result<(), ApiError> {
    let bad = |(index, query): (usize, &MetricDataQuery)| {
        let stat = &query.metric_stat.as_ref()?.stat;
        let text = format!(
            "The value {stat} for parameter MetricDataQueries.member.{}.MetricStat.Stat is not a valid statistic.",
            index + 1
        );
        stat.parse::<Statistic>().is_err().then_some(text)
    };
    let bad: Vec<String> = queries.iter().enumerate().filter_map(bad).collect();
    if bad.is_empty() {
        Ok(())
    } else {
        Err(invalid(bad.join("\n")))
    }
}

/// A time zone is an offset such as `+0130`. It is for dynamic labels that show times, which are refused: any good one
/// will do.
fn check_zone(op: &GetMetricData) -> Result<(), ApiError> {
    let options = op.label_options.as_ref();
    let Some(zone) = options.and_then(|it| it.timezone.as_deref()) else {
        return Ok(());
    };
    let digits = zone.strip_prefix(['+', '-']).unwrap_or_default();
    let number = |text: Option<&str>| text.and_then(|it| it.parse::<u8>().ok());
    let (hours, minutes) = (number(digits.get(..2)), number(digits.get(2..)));
    let is_offset = digits.len() == 4
        && digits.bytes().all(|it| it.is_ascii_digit())
        && hours.is_some_and(|it| it < 24)
        && minutes.is_some_and(|it| it < 60);
    if is_offset {
        return Ok(());
    }
    let shown: String = zone.chars().take(64).collect();
    Err(invalid(format!(
        "The value {shown} for parameter LabelOptions.Timezone is invalid: it is an offset from UTC such as +0130."
    )))
}

/// Labels of queries that were given none: the metric's name, and of the statistic and the period what differs among the
/// queries of this request. Those that were given one may name it.
fn label(queries: &mut [Query], caller: &Caller) -> Result<(), ApiError> {
    let differ = |of: fn(&Query) -> String| {
        let all: BTreeSet<String> = queries.iter().map(of).collect();
        all.len() > 1
    };
    let by_stat = differ(|query| query.stat.clone());
    let by_period = differ(|query| query.period.to_string());
    for query in queries {
        let mut default = query.name.clone();
        if by_stat {
            default.push_str(&format!(" {}", query.stat));
        }
        if by_period {
            default.push_str(&format!(" {}", query.period));
        }
        query.label = match query.label.as_str() {
            "" => default,
            given => fill(given, &named(query, &default, caller)).map_err(|value| {
                invalid(format!(
                    "Query {}: the dynamic label {value} is not supported.",
                    query.id
                ))
            })?,
        };
    }
    Ok(())
}

fn named<'a>(query: &'a Query, default: &'a str, caller: &'a Caller) -> Named<'a> {
    Named {
        default,
        account: &caller.account,
        region: &caller.region,
        namespace: &query.namespace,
        metric: &query.name,
        statistic: &query.stat,
        period: query.period,
        dimensions: &query.dimensions,
    }
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
        label: query.label.clone().unwrap_or_default(),
        namespace: namespace.clone(),
        name: name.clone(),
        dimensions: sorted(stat.metric.dimensions.clone()),
        unit: stat.unit.map(super::api::Unit::name),
        period: check_period(query.period.unwrap_or(stat.period))?,
        statistic,
        stat: stat.stat.clone(),
        returned: query.return_data.unwrap_or(true),
    })
}

fn answer(
    archive: &Archive,
    op: &GetMetricData,
    queries: &[Query],
    most: usize,
    now: Timestamp,
) -> Result<MetricData, ApiError> {
    let series = archive.series()?;
    let (mut points, mut units) = (Vec::new(), vec![Vec::new(); queries.len()]);
    for (index, query) in queries
        .iter()
        .enumerate()
        .filter(|(_, query)| query.returned)
    {
        let found = read(archive, &series, op, query, now)?;
        units[index] = found.units;
        for (at, value) in found.points {
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
    let results = results.map(|(index, query)| MetricDataResult {
        messages: several_units(&units[index]),
        ..result(index, query, &page.items, complete)
    });
    Ok(MetricData {
        metric_data_results: results.collect(),
        next_token: page.next_token,
        messages: Vec::new(),
    })
}

/// What a query finds.
struct Found {
    /// By the seconds that their periods begin at.
    points: Vec<(u64, f64)>,
    /// Those of which there are data, in the service's order: only the first one's data are in the points.
    units: Vec<String>,
}

/// The order in which CloudWatch looks for a metric's data when a query names no unit.
const UNITS: [&str; 27] = [
    "Megabits",
    "Terabits",
    "Gigabits",
    "Count",
    "Bytes",
    "Gigabytes",
    "Gigabytes/Second",
    "Kilobytes",
    "Kilobits/Second",
    "Terabytes",
    "Terabits/Second",
    "Bytes/Second",
    "Percent",
    "Megabytes",
    "Megabits/Second",
    "Milliseconds",
    "Microseconds",
    "Kilobytes/Second",
    "Gigabits/Second",
    "Megabytes/Second",
    "Bits",
    "Bits/Second",
    "Count/Second",
    "Seconds",
    "Kilobits",
    "Terabytes/Second",
    "None",
];

fn read(
    archive: &Archive,
    series: &[(SeriesId, Series)],
    op: &GetMetricData,
    query: &Query,
    now: Timestamp,
) -> Result<Found, ArchiveError> {
    let span = Span::aligned(op.start_time, op.end_time, query.period, now);
    let matching = |(_, s): &&(SeriesId, Series)| {
        s.is(
            &query.namespace,
            &query.name,
            &query.dimensions,
            query.unit.as_deref(),
        )
    };
    let mut of_units = Vec::new();
    for (id, series) in series.iter().filter(matching) {
        let periods = span.read(archive, &[*id], query.period)?;
        if !periods.is_empty() {
            of_units.push((series.unit.clone(), periods));
        }
    }
    of_units.sort_by_key(|(unit, _)| UNITS.iter().position(|known| known == unit));
    let value = |(at, bucket): (&u64, _)| Some((*at, query.statistic.of(bucket)?));
    let points = of_units
        .first()
        .map(|(_, periods)| periods.iter().filter_map(value).collect());
    Ok(Found {
        points: points.unwrap_or_default(),
        units: of_units.into_iter().map(|(unit, _)| unit).collect(),
    })
}

fn several_units(units: &[String]) -> Option<Vec<MessageData>> {
    (units.len() > 1).then(|| {
        vec![MessageData {
            code: Some("MultipleUnits".into()),
            value: Some(format!("Multiple units returned: '[{}]'", units.join(", "))),
        }]
    })
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
