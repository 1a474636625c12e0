use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lath_model::Timestamp;
use lath_wire::{ApiError, Caller, Handle};

use super::api::{Dimension, Empty, MetricDatum, PutMetricData};
use super::{error, invalid_combination, invalid_value};
use crate::Observe;
use crate::metrics::{Bucket, Datum, Series, WriteError};

/// Values beyond 2^360 are refused.
const LARGEST: f64 = 2.348_542_582_773_833_2e108;
const OLDEST: Duration = Duration::from_secs(14 * 24 * 3600);
const NEWEST: Duration = Duration::from_secs(2 * 3600);

impl Handle<PutMetricData> for Observe {
    async fn handle(&self, _caller: &Caller, op: PutMetricData) -> Result<Empty, ApiError> {
        let data = check(op, Timestamp::now())?;
        let archive = Arc::clone(&self.archive);
        tokio::task::spawn_blocking(move || archive.put_metrics(data))
            .await
            .map_err(ApiError::internal)?
            .map_err(refused)?;
        Ok(Empty {})
    }
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
        return Err(invalid_combination(
            "EntityMetricData is not supported: send MetricData.",
        ));
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
            "The parameter {member}.Timestamp must be between two weeks ago and two hours from now."
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

fn check_values(member: &str, datum: &MetricDatum, unit: &str) -> Result<Bucket, ApiError> {
    let number = |value: f64| {
        if value.is_finite() && value.abs() <= LARGEST {
            Ok(value)
        } else {
            Err(invalid_value(format!(
                "{member}: {value} is not a value that can be kept."
            )))
        }
    };
    let mut bucket = Bucket::empty(unit);
    match (datum.value, datum.statistic_values, datum.values.as_slice()) {
        (Some(value), None, []) => bucket.add(number(value)?, 1.0),
        (None, Some(set), []) => {
            let (count, sum) = (number(set.sample_count)?, number(set.sum)?);
            let (min, max) = (number(set.minimum)?, number(set.maximum)?);
            if count <= 0.0 || min > max {
                return Err(invalid_value(format!(
                    "{member}.StatisticValues: SampleCount must be positive and Minimum at most Maximum."
                )));
            }
            bucket.add_set(count, sum, min, max);
        }
        (None, None, values @ [_, ..]) => {
            let counts = &datum.counts;
            if values.len() > 150 || !(counts.is_empty() || counts.len() == values.len()) {
                return Err(invalid_value(format!(
                    "{member}: at most 150 Values, and as many Counts as Values."
                )));
            }
            for (index, value) in values.iter().enumerate() {
                let count = number(counts.get(index).copied().unwrap_or(1.0))?;
                if count < 0.0 {
                    return Err(invalid_value(format!(
                        "{member}.Counts: {count} is less than 0."
                    )));
                }
                if count > 0.0 {
                    bucket.add(number(*value)?, count);
                }
            }
            // A period without an observation has no extremes, and cannot be kept.
            if bucket.count <= 0.0 {
                return Err(invalid_value(format!(
                    "{member}.Counts: at least one of them must be greater than 0."
                )));
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
        _ => {
            return Err(invalid_combination(format!(
                "The parameters {member}.Value, {member}.Values and {member}.StatisticValues are mutually exclusive."
            )));
        }
    }
    Ok(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

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
                metric_name: "M".into(),
                dimensions: Vec::new(),
                timestamp: None,
                value: None,
                statistic_values: None,
                values: vec![1.0, 2.0],
                counts: counts.clone(),
                unit: None,
                storage_resolution: None,
            };
            let bucket = check_values("MetricData.member.1", &datum, "None");
            let got = bucket.map(|bucket| (bucket.count, bucket.sum));
            let got = got.map_err(|error| error.code.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{counts:?}");
        }
    }
}
