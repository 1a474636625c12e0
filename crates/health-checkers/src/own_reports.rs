//! The results of this observer's own probes.

use std::collections::BTreeMap;

use lath_feed::{EndpointCheck, Judge, ObserverReport, Route53HealthCheck, TargetHealth};
use lath_health::{Machine, Thresholds};
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;

use crate::probe::Outcome;

/// Checks by id.
pub(crate) type CheckMap = lath_feed::Items<HealthCheckId, Route53HealthCheck>;

/// The endpoint of a check, if this check is probed.
pub(crate) fn probed(check: &Route53HealthCheck) -> Option<&EndpointCheck> {
    match &check.judge {
        Judge::Endpoint(endpoint) if !check.disabled => Some(endpoint),
        Judge::Endpoint(_) | Judge::Calculated { .. } => None,
    }
}

/// Reports by check.
#[derive(Debug, Default)]
pub(crate) struct OwnReports {
    entries: BTreeMap<HealthCheckId, Entry>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    machine: Machine,
    pub(crate) report: ObserverReport,
}

/// What a probe's outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// Only the time of the check.
    Time,
    /// The status of the newest probe, or the observer's opinion.
    Result,
}

impl Entry {
    /// This observer's vote; `None` while it has no opinion.
    pub(crate) fn vote(&self) -> Option<bool> {
        match self.machine.health() {
            TargetHealth::Initial => None,
            health => Some(health == TargetHealth::Healthy),
        }
    }
}

impl OwnReports {
    /// Drops reports of checks that are not probed any more or have another version.
    pub(crate) fn retain(&mut self, checks: &CheckMap) {
        self.entries.retain(|id, entry| {
            let check = checks.get(id).filter(|check| probed(check).is_some());
            check.is_some_and(|check| check.version == entry.report.version)
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HealthCheckId, &Entry)> {
        self.entries.iter()
    }

    pub(crate) fn vote(&self, id: &HealthCheckId) -> Option<bool> {
        self.entries.get(id)?.vote()
    }

    pub(crate) fn report(&self, id: &HealthCheckId) -> Option<&ObserverReport> {
        self.entries.get(id).map(|entry| &entry.report)
    }

    /// Records a probe's outcome.
    pub(crate) fn record(
        &mut self,
        check: &Route53HealthCheck,
        threshold: u32,
        outcome: Outcome,
        now: Timestamp,
    ) -> Change {
        let mut machine = Machine::default();
        let mut last_failure = None;
        let mut before = None;
        if let Some(entry) = self.entries.remove(&check.id) {
            machine = entry.machine;
            last_failure.clone_from(&entry.report.last_failure);
            before = Some((entry.vote(), entry.report));
        }
        machine.probed(
            outcome.success,
            Thresholds {
                healthy: threshold,
                unhealthy: threshold,
            },
        );
        if !outcome.success {
            last_failure = Some((outcome.status.clone(), now));
        }
        let entry = Entry {
            machine,
            report: ObserverReport {
                healthy: machine.health() != TargetHealth::Unhealthy,
                success: outcome.success,
                status: outcome.status,
                checked: now,
                last_failure,
                address: outcome.address,
                version: check.version,
            },
        };
        let same = before.is_some_and(|(vote, report)| {
            vote == entry.vote() && report.status == entry.report.status
        });
        self.entries.insert(check.id.clone(), entry);
        if same { Change::Time } else { Change::Result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opinion_needs_as_many_results_as_the_threshold_says() {
        let check = Route53HealthCheck {
            id: HealthCheckId::random(),
            version: 1,
            judge: Judge::Calculated {
                threshold: 0,
                children: Default::default(),
            },
            inverted: false,
            disabled: false,
        };
        for (name, threshold, results, want) in [
            ("first success", 3, "+", "h"),
            ("failures at first", 3, "---", "  u"),
            ("down after three", 3, "+---", "hhhu"),
            ("flapping", 3, "+--+--", "hhhhhh"),
            ("up after three", 3, "---+++", "  uuuh"),
            ("threshold of one", 1, "-+-", "uhu"),
        ] {
            let mut own_reports = OwnReports::default();
            let found: String = results
                .chars()
                .map(|result| {
                    let outcome = Outcome {
                        success: result == '+',
                        status: result.to_string(),
                        address: None,
                    };
                    own_reports.record(&check, threshold, outcome, Timestamp::from_millis(1));
                    match own_reports.vote(&check.id) {
                        None => ' ',
                        Some(true) => 'h',
                        Some(false) => 'u',
                    }
                })
                .collect();
            assert_eq!(found, want, "{name}");
        }
    }
}
