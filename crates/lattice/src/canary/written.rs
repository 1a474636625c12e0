//! A canary as users write it.

use std::time::Duration;

use lath_model::id::TargetGroupId;
use lath_model::traffic::PolicyError;
use serde::Deserialize;

use super::{Analysis, Latency, Plan, Step};
use crate::policy_text::{self, Object, Span};

/// Of steps.
const MOST_STEPS: usize = 20;
/// Of a pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 86_400);
/// Of the time that is looked at.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    target_group_identifier: String,
    steps: Vec<Object<WrittenStep>>,
    analysis: Option<Object<WrittenAnalysis>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    weight: u8,
    pause: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenAnalysis {
    error_percent: Option<f64>,
    latency: Option<Span>,
    latency_percentile: Option<u8>,
    minimum_requests: Option<u32>,
    interval: Option<Span>,
}

fn wrong<T>(at: impl Into<String>, message: impl Into<String>) -> Result<T, PolicyError> {
    let (at, message) = (at.into(), message.into());
    Err(PolicyError { at, message })
}

impl Written {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        policy_text::read(text)
    }

    /// The new group, as it is named.
    pub(super) fn group(&self) -> &str {
        &self.target_group_identifier
    }

    /// As it is meant. `group` is the new one.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn plan(self, group: TargetGroupId) -> Result<Plan, PolicyError> {
        if !(1..=MOST_STEPS).contains(&self.steps.len()) {
            return wrong("steps", format!("give 1 to {MOST_STEPS}"));
        }
        let mut steps: Vec<Step> = Vec::new();
        for (index, Object(step)) in self.steps.into_iter().enumerate() {
            let at = format!("steps.{index}");
            let pause = step.pause.map_or(Duration::ZERO, |it| it.0);
            if step.weight > 100 {
                return wrong(format!("{at}.weight"), "give 0 to 100");
            }
            if steps.last().is_some_and(|it| it.weight >= step.weight) {
                return wrong(
                    format!("{at}.weight"),
                    "give more than in the step before; what answers badly goes back to 0 by itself",
                );
            }
            if pause > LONGEST_PAUSE {
                return wrong(format!("{at}.pause"), "give a duration up to 168h");
            }
            steps.push(Step {
                weight: step.weight,
                pause,
            });
        }
        let analysis = self.analysis.map(|it| it.0.analysis());
        Ok(Plan {
            group,
            steps,
            analysis: analysis.transpose()?,
        })
    }
}

impl WrittenAnalysis {
    fn analysis(self) -> Result<Analysis, PolicyError> {
        let errors = match self.error_percent {
            None => None,
            Some(percent) if (0.0..=100.0).contains(&percent) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is between 0 and 10000"
                )]
                let hundredths = (percent * 100.0).round() as u32;
                Some(hundredths)
            }
            Some(_) => return wrong("analysis.errorPercent", "give 0 to 100"),
        };
        let percentile = self.latency_percentile.unwrap_or(99);
        if !(1..=100).contains(&percentile) {
            return wrong("analysis.latencyPercentile", "give 1 to 100");
        }
        if self.latency_percentile.is_some() && self.latency.is_none() {
            return wrong("analysis.latencyPercentile", "give latency, too");
        }
        if errors.is_none() && self.latency.is_none() {
            return wrong("analysis", "give errorPercent or latency");
        }
        let interval = self.interval.map_or(Duration::from_secs(60), |it| it.0);
        if interval < INTERVALS.0 || interval > INTERVALS.1 {
            return wrong("analysis.interval", "give a duration from 1s to 10m");
        }
        let minimum_requests = self.minimum_requests.unwrap_or(20);
        if !(1..=1_000_000).contains(&minimum_requests) {
            return wrong("analysis.minimumRequests", "give 1 to 1000000");
        }
        Ok(Analysis {
            errors,
            latency: self.latency.map(|it| Latency {
                percentile,
                most: it.0,
            }),
            minimum_requests,
            interval,
        })
    }
}
