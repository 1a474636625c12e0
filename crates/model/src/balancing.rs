//! How requests are spread over a group's targets, and what keeps a group from being overrun: an extension to VPC Lattice,
//! in Envoy's words.
//!
//! As with [`crate::traffic`], the control plane asks [`LoadBalancing::check`] before it stores a policy, and the data
//! plane before it obeys one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::traffic::PolicyError;
use crate::traffic::check::wrong;

/// The policy of a target group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadBalancing {
    /// What the group takes at once.
    pub circuit_breakers: CircuitBreakers,
    /// When targets are left out because of what they answer.
    pub outlier_detection: Option<OutlierDetection>,
}

/// Limits of what goes to a group at once, of one node. Absent: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CircuitBreakers {
    /// Open connections, idle ones included.
    pub max_connections: Option<u32>,
    /// Requests that have no connection yet.
    pub max_pending_requests: Option<u32>,
    /// Requests under way.
    pub max_requests: Option<u32>,
    /// Retries under way, of rules that retry.
    pub max_retries: Option<u32>,
}

/// When a target is left out (ejected), and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlierDetection {
    /// After so many answers with 5xx, or failures to answer, one after another.
    pub consecutive_5xx: Option<u32>,
    /// After so many of 502, 503, 504, or failures to answer, one after another.
    pub consecutive_gateway_failure: Option<u32>,
    /// When its share of good answers is far below the others'.
    pub success_rate: Option<SuccessRate>,
    /// How often success rates are compared, and how long a target has to stay in before its next ejection is one step
    /// shorter.
    pub interval: Duration,
    /// How long the first ejection takes; the n-th takes n times as long.
    pub base_ejection_time: Duration,
    /// How long an ejection takes at most.
    pub max_ejection_time: Duration,
    /// Of the group's targets, how many may be ejected at once, in percent; one may be, unless it is 0.
    pub max_ejection_percent: u8,
}

/// Comparing targets by their share of answers other than 5xx in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessRate {
    /// With fewer comparable targets, none is compared.
    pub minimum_hosts: u32,
    /// A target with fewer answers in the interval is not compared.
    pub request_volume: u32,
    /// Thousandths of a standard deviation below the mean, beyond which a target is ejected.
    pub stdev_factor: u32,
}

/// Of each limit of circuit breakers.
pub const HIGHEST_LIMIT: u32 = 1_000_000;
/// Of answers one after another.
pub const MOST_CONSECUTIVE: u32 = 1000;
/// Of the interval.
pub const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// Of ejections.
pub const EJECTIONS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(86_400));

impl LoadBalancing {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a group may be treated so.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.circuit_breakers.check()?;
        self.outlier_detection
            .as_ref()
            .map_or(Ok(()), OutlierDetection::check)
    }
}

fn within(at: &str, given: u32, least: u32, most: u32) -> Result<(), PolicyError> {
    match (least..=most).contains(&given) {
        true => Ok(()),
        false => wrong(
            format!("outlierDetection.{at}"),
            format!("give {least} to {most}"),
        ),
    }
}

impl CircuitBreakers {
    fn check(&self) -> Result<(), PolicyError> {
        // Without a connection or a request nothing would ever reach the group. A group may well have no retries.
        for (name, limit, least) in [
            ("maxConnections", self.max_connections, 1),
            ("maxPendingRequests", self.max_pending_requests, 1),
            ("maxRequests", self.max_requests, 1),
            ("maxRetries", self.max_retries, 0),
        ] {
            if limit.is_some_and(|it| !(least..=HIGHEST_LIMIT).contains(&it)) {
                return wrong(
                    format!("circuitBreakers.{name}"),
                    format!("give {least} to {HIGHEST_LIMIT}"),
                );
            }
        }
        Ok(())
    }
}

impl OutlierDetection {
    fn check(&self) -> Result<(), PolicyError> {
        for (name, count) in [
            ("consecutive5xx", self.consecutive_5xx),
            (
                "consecutiveGatewayFailure",
                self.consecutive_gateway_failure,
            ),
        ] {
            if let Some(count) = count {
                within(name, count, 1, MOST_CONSECUTIVE)?;
            }
        }
        if let Some(rate) = &self.success_rate {
            within("successRate.minimumHosts", rate.minimum_hosts, 2, 10_000)?;
            within(
                "successRate.requestVolume",
                rate.request_volume,
                1,
                1_000_000,
            )?;
            within("successRate.stdevFactor", rate.stdev_factor, 0, 100_000)?;
        }
        let is_asked = self.consecutive_5xx.is_some()
            || self.consecutive_gateway_failure.is_some()
            || self.success_rate.is_some();
        if !is_asked {
            return wrong(
                "outlierDetection",
                "nothing would eject a target; give consecutive5xx, consecutiveGatewayFailure or successRate",
            );
        }
        if self.interval < INTERVALS.0 || self.interval > INTERVALS.1 {
            return wrong("outlierDetection.interval", "give a duration from 1s to 1h");
        }
        for (at, time) in [
            ("baseEjectionTime", self.base_ejection_time),
            ("maxEjectionTime", self.max_ejection_time),
        ] {
            if time < EJECTIONS.0 || time > EJECTIONS.1 {
                return wrong(
                    format!("outlierDetection.{at}"),
                    "give a duration from 100ms to 24h",
                );
            }
        }
        if self.max_ejection_time < self.base_ejection_time {
            return wrong(
                "outlierDetection.maxEjectionTime",
                "it is shorter than baseEjectionTime",
            );
        }
        within(
            "maxEjectionPercent",
            self.max_ejection_percent.into(),
            0,
            100,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outliers() -> OutlierDetection {
        OutlierDetection {
            consecutive_5xx: Some(5),
            consecutive_gateway_failure: None,
            success_rate: None,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
        }
    }

    #[test]
    fn bounds_are_kept() {
        let of = |it: OutlierDetection| it.check().err().map(|it| it.at);
        let base = outliers();
        assert_eq!(of(base), None);
        let second = Duration::from_secs(1);
        for (wrong, at) in [
            (
                OutlierDetection {
                    consecutive_5xx: Some(0),
                    ..base
                },
                "outlierDetection.consecutive5xx",
            ),
            (
                OutlierDetection {
                    consecutive_5xx: None,
                    ..base
                },
                "outlierDetection",
            ),
            (
                OutlierDetection {
                    interval: Duration::ZERO,
                    ..base
                },
                "outlierDetection.interval",
            ),
            (
                OutlierDetection {
                    max_ejection_time: second,
                    ..base
                },
                "outlierDetection.maxEjectionTime",
            ),
            (
                OutlierDetection {
                    max_ejection_percent: 101,
                    ..base
                },
                "outlierDetection.maxEjectionPercent",
            ),
        ] {
            assert_eq!(of(wrong).as_deref(), Some(at));
        }
        for (limit, good) in [
            (Some(0), false),
            (Some(1), true),
            (Some(HIGHEST_LIMIT + 1), false),
        ] {
            let breakers = CircuitBreakers {
                max_requests: limit,
                ..CircuitBreakers::default()
            };
            assert_eq!(breakers.check().is_ok(), good, "{limit:?}");
        }
    }
}
