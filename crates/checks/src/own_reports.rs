//! What this observer itself found.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_feed::{EndpointCheck, Judge, ObserverReport, Route53HealthCheck, TargetHealth};
use lath_health::{Machine, Thresholds};
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;

use crate::probe::Outcome;

/// Checks by id.
pub(crate) type CheckMap = BTreeMap<HealthCheckId, Arc<Route53HealthCheck>>;

/// The endpoint of a check that is probed.
pub(crate) fn probed(check: &Route53HealthCheck) -> Option<&EndpointCheck> {
    match &check.judge {
        Judge::Endpoint(endpoint) if !check.disabled => Some(endpoint),
        Judge::Endpoint(_) | Judge::Calculated { .. } => None,
    }
}

/// Reports by check.
#[derive(Debug, Default)]
pub(crate) struct Board {
    entries: BTreeMap<HealthCheckId, Entry>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    machine: Machine,
    pub(crate) report: ObserverReport,
}

/// How much is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// Only when it was checked.
    Time,
    /// What the newest probe said, or what the observer thinks.
    Result,
}

impl Entry {
    /// What this observer votes; nothing before it has made up its mind.
    pub(crate) fn vote(&self) -> Option<bool> {
        match self.machine.health() {
            TargetHealth::Initial => None,
            health => Some(health == TargetHealth::Healthy),
        }
    }
}

impl Board {
    /// Forgets what is not probed any more, or was about another version.
    pub(crate) fn obey(&mut self, checks: &CheckMap) {
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

    /// Takes in a probe's outcome.
    pub(crate) fn take_in(
        &mut self,
        check: &Route53HealthCheck,
        threshold: u32,
        outcome: Outcome,
        now: Timestamp,
    ) -> News {
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
        if same { News::Time } else { News::Result }
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
            let mut board = Board::default();
            let found: String = results
                .chars()
                .map(|result| {
                    let outcome = Outcome {
                        success: result == '+',
                        status: result.to_string(),
                        address: None,
                    };
                    board.take_in(&check, threshold, outcome, Timestamp::from_millis(1));
                    match board.vote(&check.id) {
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
