//! Circuit breakers and outlier detection of target groups. An extension, asked for by tags of a group.

use std::time::Duration;

use lath_control::{Cell, Mode};
use lath_model::balancing::{CircuitBreakers, LoadBalancing, OutlierDetection, SuccessRate};
use lath_model::traffic::PolicyError;
use lath_store::Tx;
use lath_wire::ApiError;
use serde::Deserialize;

use crate::ident::Kind;
use crate::long_tag::{FEW_PARTS, LongTag};
use crate::policy_text::{self, Object, Span};
use crate::record::{Tags, TargetGroup};

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: "lath:load-balancing",
    what: "a load balancing policy",
    parts: FEW_PARTS,
};

/// The defaults of Envoy's outlier detection.
const INTERVAL: Duration = Duration::from_secs(10);
const BASE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);
const PERCENT: u8 = 10;
const HOSTS: u32 = 5;
const VOLUME: u32 = 100;
const FACTOR: u32 = 1900;

/// As users write it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    circuit_breakers: Object<WrittenBreakers>,
    outlier_detection: Option<Object<WrittenOutliers>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenBreakers {
    max_connections: Option<u32>,
    max_pending_requests: Option<u32>,
    max_requests: Option<u32>,
    max_retries: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenOutliers {
    #[serde(rename = "consecutive5xx")]
    consecutive_5xx: Option<u32>,
    consecutive_gateway_failure: Option<u32>,
    success_rate: Option<Object<WrittenRate>>,
    interval: Option<Span>,
    base_ejection_time: Option<Span>,
    max_ejection_time: Option<Span>,
    max_ejection_percent: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenRate {
    minimum_hosts: Option<u32>,
    request_volume: Option<u32>,
    stdev_factor: Option<u32>,
}

impl Written {
    fn policy(self) -> Result<LoadBalancing, PolicyError> {
        let WrittenBreakers {
            max_connections,
            max_pending_requests,
            max_requests,
            max_retries,
        } = self.circuit_breakers.0;
        let policy = LoadBalancing {
            circuit_breakers: CircuitBreakers {
                max_connections,
                max_pending_requests,
                max_requests,
                max_retries,
            },
            outlier_detection: self.outlier_detection.map(|it| it.0.detection()),
        };
        policy.check()?;
        if policy.is_empty() {
            return Err(PolicyError {
                at: "{}".to_owned(),
                message:
                    "it says nothing; remove the tag, or give circuitBreakers or outlierDetection"
                        .to_owned(),
            });
        }
        Ok(policy)
    }
}

impl WrittenOutliers {
    fn detection(self) -> OutlierDetection {
        let base = self.base_ejection_time.map_or(BASE, |it| it.0);
        OutlierDetection {
            consecutive_5xx: self.consecutive_5xx,
            consecutive_gateway_failure: self.consecutive_gateway_failure,
            success_rate: self.success_rate.map(|Object(it)| SuccessRate {
                minimum_hosts: it.minimum_hosts.unwrap_or(HOSTS),
                request_volume: it.request_volume.unwrap_or(VOLUME),
                stdev_factor: it.stdev_factor.unwrap_or(FACTOR),
            }),
            interval: self.interval.map_or(INTERVAL, |it| it.0),
            base_ejection_time: base,
            max_ejection_time: self
                .max_ejection_time
                .map_or_else(|| LONGEST.max(base), |it| it.0),
            max_ejection_percent: self.max_ejection_percent.unwrap_or(PERCENT),
        }
    }
}

/// The policy that a text says.
fn parse(text: &str) -> Result<LoadBalancing, String> {
    let written: Written = policy_text::read(text)?;
    written.policy().map_err(|error| error.to_string())
}

/// The policy that a group's tags ask for.
///
/// # Errors
/// It is malformed, or the mode is strict.
pub(crate) fn of(cell: &Cell, tags: &Tags) -> Result<Option<Box<LoadBalancing>>, ApiError> {
    TAG.check_mode(cell, tags)?;
    // What an earlier run in extended mode left is not obeyed.
    if cell.mode == Mode::Strict {
        return Ok(None);
    }
    let text = TAG.text(tags)?;
    let policy = text.map(|text| parse(&text).map_err(|error| TAG.wrong(error)));
    Ok(policy.transpose()?.map(Box::new))
}

/// Refuses tags that are being set where there is no policy, or that are a part of one.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_given(kind: Kind, given: &Tags) -> Result<(), ApiError> {
    TAG.check_place(kind == Kind::TargetGroup, "target groups", given)
}

/// The tags of a group are about to be these: it has the policy that they ask for.
///
/// # Errors
/// As [`of`].
pub(crate) fn retag(
    cell: &Cell,
    tx: &mut Tx,
    kind: Kind,
    place: &str,
    tags: &Tags,
) -> Result<(), ApiError> {
    if kind != Kind::TargetGroup {
        return Ok(());
    }
    let Some(group) = tx.view().get::<TargetGroup>(place) else {
        return Ok(());
    };
    // In strict mode what an earlier run left stays.
    if TAG.is_same(&group.tags, tags) {
        return Ok(());
    }
    let balancing = of(cell, tags)?;
    tx.put(TargetGroup {
        balancing,
        ..TargetGroup::clone(&group)
    });
    Ok(())
}

/// A door for the target in `fuzz/`.
pub(crate) fn read(text: &str) -> Option<LoadBalancing> {
    parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_members_are_read_and_have_envoys_defaults() {
        let text = r#"{"circuitBreakers": {"maxConnections": 4, "maxPendingRequests": 3, "maxRequests": 2, "maxRetries": 0},
            "outlierDetection": {"consecutive5xx": 5, "successRate": {"requestVolume": 10}}}"#;
        let policy = parse(text).unwrap();
        let breakers = CircuitBreakers {
            max_connections: Some(4),
            max_pending_requests: Some(3),
            max_requests: Some(2),
            max_retries: Some(0),
        };
        assert_eq!(policy.circuit_breakers, breakers);
        let outliers = policy.outlier_detection.unwrap();
        assert_eq!(outliers.consecutive_5xx, Some(5));
        assert_eq!(
            (outliers.interval, outliers.base_ejection_time),
            (INTERVAL, BASE)
        );
        let rate = outliers.success_rate.unwrap();
        assert_eq!(
            (rate.minimum_hosts, rate.request_volume, rate.stdev_factor),
            (HOSTS, 10, FACTOR)
        );
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (text, want) in [
            ("{}", "it says nothing"),
            (
                "{\"circuitBreaker\":{}}",
                "unknown field `circuitBreaker`, expected `circuitBreakers`",
            ),
            (
                "{\"circuitBreakers\":{\"maxRequests\":0}}",
                "circuitBreakers.maxRequests: give 1 to",
            ),
            ("{\"circuitBreakers\":{\"maxRequests\":-1}}", "expected u32"),
            (
                "{\"outlierDetection\":{}}",
                "outlierDetection: nothing would eject a target",
            ),
            (
                "{\"outlierDetection\":{\"consecutive5xx\":3,\"interval\":5}}",
                "expected a string",
            ),
            (
                "{\"outlierDetection\":{\"consecutive5xx\":3,\"baseEjectionTime\":\"25h\"}}",
                "outlierDetection.baseEjectionTime",
            ),
        ] {
            let got = parse(text).expect_err(text);
            assert!(got.contains(want), "{text}: {got}");
        }
    }
}
