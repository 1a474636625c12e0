use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lath_model::Timestamp;
use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{Dimension, ENTITIES, Empty, MetricDatum, PutMetricData, StatisticSet};
use super::{error, invalid_combination, invalid_value};
use crate::CloudWatch;
use crate::metrics::{Bucket, Datum, Series, WriteError};

operations! {
    for CloudWatch as "cloudwatch";
    asynchronous PutMetricData -> Empty = put
        => any()
            .with("cloudwatch:namespace", |op, _| op.namespace.clone())
        => refusing ["" PutMetricData];
}

/// Values beyond 2^360 are refused.
const LARGEST: f64 = 2.348_542_582_773_833_2e108;
/// Most values of one datum.
const MAX_VALUES: usize = 150;
const OLDEST: Duration = Duration::from_secs(14 * 24 * 3600);
const NEWEST: Duration = Duration::from_secs(2 * 3600);

async fn put(app: &CloudWatch, _caller: &Caller, op: PutMetricData) -> Result<Empty, ApiError> {
    let data = check(op, app.cell.now())?;
    let archive = Arc::clone(&app.archive);
    tokio::task::spawn_blocking(move || archive.put_metrics(data))
        .await
        .map_err(ApiError::internal)?
        .map_err(refused)?;
    Ok(Empty {})
}

fn refused(failure: WriteError) -> ApiError {
    match failure {
        WriteError::TooManySeries(limit) => error(
            "LimitExceededFault",
            "LimitExceeded",
            400,
            format!("This region keeps at most {limit} metrics; wait for old ones to expire."),
        ),
        WriteError::Archive(failure) => failure.into(),
    }
}

fn check(op: PutMetricData, now: Timestamp) -> Result<Vec<Datum>, ApiError> {
    if !op.entity_metric_data.is_empty() {
        return Err(invalid_combination(format!(
            "{ENTITIES} is not supported: send MetricData."
        )));
    }
    if op.metric_data.is_empty() {
        return Err(error(
            "MissingRequiredParameterException",
            "MissingParameter",
            400,
            "The parameter MetricData is required.",
        ));
    }
    check_namespace(&op.namespace)?;
    if op.metric_data.len() > 1000 {
        return Err(invalid_value(
            "The collection MetricData must not have a size greater than 1000.",
        ));
    }
    op.metric_data
        .into_iter()
        .enumerate()
        .map(|(index, datum)| check_datum(&op.namespace, index + 1, datum, now))
        .collect()
}

fn check_namespace(namespace: &str) -> Result<(), ApiError> {
    if namespace.starts_with("AWS/") {
        return Err(invalid_value(
            "The value AWS/ for parameter Namespace is invalid.",
        ));
    }
    if namespace.is_empty() || namespace.len() > 255 || namespace.starts_with(':') {
        return Err(invalid_value(format!(
            "The value {namespace} for parameter Namespace is invalid."
        )));
    }
    Ok(())
}

fn check_datum(
    namespace: &str,
    index: usize,
    datum: MetricDatum,
    now: Timestamp,
) -> Result<Datum, ApiError> {
    let member = format!("MetricData.member.{index}");
    if datum.metric_name.is_empty() || datum.metric_name.len() > 255 {
        return Err(invalid_value(format!(
            "The parameter {member}.MetricName must have between 1 and 255 characters."
        )));
    }
    let resolution = match datum.storage_resolution {
        None | Some(60) => 60,
        Some(1) => 1,
        Some(_) => {
            return Err(invalid_value(format!(
                "The parameter {member}.StorageResolution must be 1 or 60."
            )));
        }
    };
    let at = check_time(&member, datum.timestamp.unwrap_or(now), now)?;
    let unit = datum.unit.unwrap_or_default().name();
    let bucket = check_values(&member, &datum, &unit)?;
    let dimensions = check_dimensions(&member, datum.dimensions)?;
    let series = Series {
        namespace: namespace.to_owned(),
        name: datum.metric_name,
        dimensions,
        unit,
        last: at,
    };
    let at_seconds = u64::try_from(at.as_millis() / 1000).unwrap_or(0);
    Ok(Datum {
        series,
        resolution,
        at_seconds,
        bucket,
    })
}

fn check_time(member: &str, at: Timestamp, now: Timestamp) -> Result<Timestamp, ApiError> {
    if now.since(at) > OLDEST || at.since(now) > NEWEST {
        return Err(invalid_value(format!(
            "The parameter {member}.Timestamp must specify a time within the past two weeks."
        )));
    }
    Ok(at)
}

fn check_dimensions(
    member: &str,
    dimensions: Vec<Dimension>,
) -> Result<Vec<(String, String)>, ApiError> {
    if dimensions.len() > 30 {
        return Err(invalid_value(format!(
            "The collection {member}.Dimensions must not have a size greater than 30."
        )));
    }
    let names: BTreeSet<&str> = dimensions.iter().map(|d| d.name.as_str()).collect();
    if names.len() != dimensions.len() {
        return Err(invalid_value(format!(
            "{member}.Dimensions names a dimension twice."
        )));
    }
    for Dimension { name, value } in &dimensions {
        let fits = (1..=255).contains(&name.len())
            && !name.starts_with(':')
            && (1..=1024).contains(&value.len());
        if !fits {
            return Err(invalid_value(format!(
                "{member}.Dimensions: a name has 1 to 255 characters and a value 1 to 1024."
            )));
        }
    }
    let mut pairs: Vec<_> = dimensions.into_iter().map(|d| (d.name, d.value)).collect();
    pairs.sort();
    Ok(pairs)
}

/// What a datum says of its period. Values may come with the statistic set that sums them up, as CloudWatch's own agent
/// sends them; a single value comes alone.
fn check_values(member: &str, datum: &MetricDatum, unit: &str) -> Result<Bucket, ApiError> {
    let mut bucket = Bucket::empty(unit);
    let values = datum.values.as_slice();
    match (datum.value, datum.statistic_values, values) {
        (Some(_), _, [_, ..]) => return Err(exclusive(member, "Value", "Values")),
        (Some(_), Some(_), []) => return Err(exclusive(member, "Value", "StatisticValues")),
        (Some(value), None, []) => bucket.add(number(&format!("{member}.Value"), value)?, 1.0),
        (None, Some(set), []) => {
            let (count, sum, min, max) = check_set(member, set)?;
            bucket.add_set(count, sum, min, max);
        }
        (None, Some(set), values) => {
            let set = check_set(member, set)?;
            bucket.add_values(set, &check_list(member, values, &datum.counts)?);
        }
        (None, None, values @ [_, ..]) => {
            for (value, count) in check_list(member, values, &datum.counts)? {
                bucket.add(value, count);
            }
        }
        (None, None, []) => {
            return Err(error(
                "MissingRequiredParameterException",
                "MissingParameter",
                400,
                format!(
                    "At least one of the parameters {member}.Value, {member}.Values or {member}.StatisticValues must be specified."
                ),
            ));
        }
    }
    Ok(bucket)
}

fn exclusive(member: &str, one: &str, other: &str) -> ApiError {
    invalid_combination(format!(
        "The parameters {member}.{one} and {member}.{other} are mutually exclusive and you have specified both."
    ))
}

fn number(member: &str, value: f64) -> Result<f64, ApiError> {
    if value.is_finite() && value.abs() <= LARGEST {
        return Ok(value);
    }
    Err(invalid_value(format!(
        "The value {value} for parameter {member} is invalid."
    )))
}

/// Count, sum, least and greatest value.
fn check_set(member: &str, set: StatisticSet) -> Result<(f64, f64, f64, f64), ApiError> {
    let member = format!("{member}.StatisticValues");
    let checked = |name: &str, value| number(&format!("{member}.{name}"), value);
    let count = checked("SampleCount", set.sample_count)?;
    let sum = checked("Sum", set.sum)?;
    let (min, max) = (
        checked("Minimum", set.minimum)?,
        checked("Maximum", set.maximum)?,
    );
    let wrong = if max < min {
        "Maximum must be greater than "
    } else if count < 0.0 {
        "SampleCount must be greater than 0."
    } else if count == 0.0 {
        "SampleCount must not equal 0."
    } else {
        return Ok((count, sum, min, max));
    };
    let rest = if max < min {
        format!("{member}.Minimum.")
    } else {
        String::new()
    };
    Err(invalid_value(format!(
        "The parameter {member}.{wrong}{rest}"
    )))
}

/// The values that occurred, and how often each did.
fn check_list(member: &str, values: &[f64], counts: &[f64]) -> Result<Vec<(f64, f64)>, ApiError> {
    for (name, list) in [("Values", values), ("Counts", counts)] {
        if list.len() > MAX_VALUES {
            return Err(invalid_value(format!(
                "The collection {member}.{name} must not have a size greater than {MAX_VALUES}."
            )));
        }
    }
    if !counts.is_empty() && counts.len() != values.len() {
        return Err(invalid_value(format!(
            "The parameters {member}.Values and {member}.Counts must be of the same size."
        )));
    }
    let mut occurred = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let at = index + 1;
        let value = number(&format!("{member}.Values.member.{at}"), *value)?;
        let place = format!("{member}.Counts.member.{at}");
        let count = number(&place, counts.get(index).copied().unwrap_or(1.0))?;
        if count < 0.0 {
            return Err(invalid_value(format!(
                "The value {count} for parameter {place} is invalid."
            )));
        }
        if count > 0.0 {
            occurred.push((value, count));
        }
    }
    // A period without an observation has no extremes, and cannot be kept.
    if occurred.is_empty() {
        return Err(invalid_value(format!(
            "The parameter {member}.Counts must have a value that is greater than 0."
        )));
    }
    Ok(occurred)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datum() -> MetricDatum {
        MetricDatum {
            metric_name: "M".into(),
            dimensions: Vec::new(),
            timestamp: None,
            value: None,
            statistic_values: None,
            values: Vec::new(),
            counts: Vec::new(),
            unit: None,
            storage_resolution: None,
        }
    }

    #[test]
    fn an_observation_occurs_at_least_once() {
        for (counts, want) in [
            (vec![], Ok((2.0, 3.0))),
            (vec![3.0, 1.0], Ok((4.0, 5.0))),
            (vec![0.0, 1.0], Ok((1.0, 2.0))),
            (vec![0.0, 0.0], Err("InvalidParameterValueException")),
            (vec![1.0, -1.0], Err("InvalidParameterValueException")),
        ] {
            let datum = MetricDatum {
                values: vec![1.0, 2.0],
                counts: counts.clone(),
                ..datum()
            };
            let bucket = check_values("MetricData.member.1", &datum, "None");
            let got = bucket.map(|bucket| (bucket.count, bucket.sum));
            let got = got.map_err(|error| error.code.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{counts:?}");
        }
    }

    fn set(count: f64, sum: f64, minimum: f64, maximum: f64) -> Option<StatisticSet> {
        Some(StatisticSet {
            sample_count: count,
            sum,
            minimum,
            maximum,
        })
    }

    #[test]
    fn data_are_refused_in_cloudwatchs_words() {
        let values = |values: &[f64], counts: &[f64]| MetricDatum {
            values: values.to_vec(),
            counts: counts.to_vec(),
            ..datum()
        };
        let summed = |statistic_values| MetricDatum {
            statistic_values,
            ..datum()
        };
        let one = |datum: MetricDatum| MetricDatum {
            value: Some(1.0),
            ..datum
        };
        for (datum, want) in [
            (
                one(values(&[1.0], &[])),
                "The parameters M.Value and M.Values are mutually exclusive and you have specified both.",
            ),
            (
                one(summed(set(1.0, 1.0, 1.0, 1.0))),
                "The parameters M.Value and M.StatisticValues are mutually exclusive and you have specified both.",
            ),
            (
                values(&[1.0, 2.0], &[1.0]),
                "The parameters M.Values and M.Counts must be of the same size.",
            ),
            (
                values(&[1.0; 151], &[]),
                "The collection M.Values must not have a size greater than 150.",
            ),
            (
                values(&[f64::NAN], &[]),
                "The value NaN for parameter M.Values.member.1 is invalid.",
            ),
            (
                summed(set(1.0, 1.0, 2.0, 1.0)),
                "The parameter M.StatisticValues.Maximum must be greater than M.StatisticValues.Minimum.",
            ),
            (
                summed(set(0.0, 1.0, 1.0, 1.0)),
                "The parameter M.StatisticValues.SampleCount must not equal 0.",
            ),
            (
                MetricDatum {
                    value: Some(f64::NAN),
                    ..datum()
                },
                "The value NaN for parameter M.Value is invalid.",
            ),
        ] {
            let error = check_values("M", &datum, "None").unwrap_err();
            assert_eq!(error.message, want);
        }
    }

    #[test]
    fn values_may_come_with_their_statistic_set() {
        let datum = MetricDatum {
            statistic_values: set(3.0, 7.0, 1.0, 5.0),
            values: vec![1.0, 5.0],
            counts: vec![2.0, 1.0],
            ..datum()
        };
        let bucket = check_values("M", &datum, "None").unwrap();
        assert_eq!(
            (bucket.count, bucket.sum, bucket.min, bucket.max),
            (3.0, 7.0, 1.0, 5.0)
        );
        assert_eq!(bucket.distribution().map(|bins| bins.len()), Some(2));
    }
}
