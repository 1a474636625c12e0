//! The metrics that AWS publishes about health checks, once a minute.

use lath_feed::CheckObserved;
use lath_feed::telemetry::{MetricSample, Sink};
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;

use crate::checks::ObservedChecks;

/// Reports every check's status.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-health-checks.html>
pub(crate) fn report(sink: &dyn Sink, observed: &ObservedChecks, at: Timestamp) {
    for (id, check) in observed {
        let status = f64::from(u8::from(check.healthy));
        sink.metric(sample(id, "HealthCheckStatus", "None", status, at));
        if let Some(percent) = percentage(check) {
            let name = "HealthCheckPercentageHealthy";
            sink.metric(sample(id, name, "Percent", percent, at));
        }
    }
}

fn percentage(check: &CheckObserved) -> Option<f64> {
    let healthy = check.observers.values().filter(|report| report.healthy);
    let healthy = u32::try_from(healthy.count()).ok()?;
    let all = u32::try_from(check.observers.len()).ok()?;
    (all > 0).then(|| 100.0 * f64::from(healthy) / f64::from(all))
}

fn sample(
    id: &HealthCheckId,
    name: &str,
    unit: &'static str,
    value: f64,
    at: Timestamp,
) -> MetricSample {
    MetricSample {
        namespace: "AWS/Route53".into(),
        name: name.into(),
        dimensions: vec![("HealthCheckId".into(), id.to_string())],
        unit,
        at,
        count: 1.0,
        sum: value,
        min: value,
        max: value,
        values: vec![(value, 1.0)],
    }
}
