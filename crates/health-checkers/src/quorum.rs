//! Verdicts on endpoints, from this observer's reports and its peers'.

use std::collections::BTreeMap;

use lath_feed::PeerState;
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;

use crate::judge::judge;
use crate::messages::{HEALTH_TOPIC, Health, Verdict, read};
use crate::own_reports::{CheckMap, OwnReports, probed};

/// The reports of the other observers. Each message is parsed once.
#[derive(Debug, Default)]
pub(crate) struct PeerReports {
    read: BTreeMap<String, (bytes::Bytes, Health)>,
    connected: Vec<String>,
}

impl PeerReports {
    /// Takes the peers' messages. Drops the reports of peers that are not connected.
    pub(crate) fn update(&mut self, peers: &BTreeMap<String, PeerState>) {
        self.connected.clear();
        for (region, peer) in peers.iter().filter(|(_, peer)| peer.connected) {
            self.connected.push(region.clone());
            let Some(value) = peer.values.get(HEALTH_TOPIC) else {
                continue;
            };
            let known = self
                .read
                .get(region)
                .is_some_and(|(bytes, _)| bytes == value);
            if !known {
                let health = (value.clone(), read(Some(value)));
                self.read.insert(region.clone(), health);
            }
        }
    }

    pub(crate) fn reports(&self) -> impl Iterator<Item = (&str, &Health)> {
        self.connected.iter().filter_map(|region| {
            let (_, health) = self.read.get(region)?;
            Some((region.as_str(), health))
        })
    }
}

/// The verdicts of this cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Quorum {
    pub(crate) verdicts: BTreeMap<HealthCheckId, Verdict>,
}

impl Quorum {
    /// Updates verdicts from the reports. Returns whether any changed.
    pub(crate) fn settle(
        &mut self,
        checks: &CheckMap,
        own_reports: &OwnReports,
        others: &PeerReports,
        observers: usize,
        now: Timestamp,
    ) -> bool {
        let before = self.clone();
        self.verdicts
            .retain(|id, _| checks.get(id).is_some_and(|check| probed(check).is_some()));
        for check in checks.values().filter(|check| probed(check).is_some()) {
            let votes = votes(&check.id, check.version, own_reports, others);
            let mut verdict = self.verdicts.get(&check.id).copied();
            let previous = verdict.is_none_or(|verdict| verdict.healthy);
            let judged = judge(previous, votes, observers);
            let is_new = verdict.is_none_or(|verdict| {
                verdict.healthy != judged.healthy || verdict.version != check.version
            });
            if judged.decided && is_new {
                verdict = Some(Verdict {
                    healthy: judged.healthy,
                    decided: now,
                    version: check.version,
                });
            } else if !judged.decided {
                verdict = newest(verdict, &check.id, others);
            }
            if let Some(verdict) = verdict {
                self.verdicts.insert(check.id.clone(), verdict);
            }
        }
        *self != before
    }
}

/// The available votes on this version of a check, including our own.
pub(crate) fn votes(
    id: &HealthCheckId,
    version: u64,
    own_reports: &OwnReports,
    others: &PeerReports,
) -> Vec<bool> {
    let own = own_reports
        .report(id)
        .filter(|report| report.version == version)
        .and_then(|_| own_reports.vote(id));
    let theirs = others.reports().filter_map(|(_, health)| {
        let report = health.reports.get(id)?;
        let votes = report.version == version && !health.undecided.contains(id);
        votes.then_some(report.healthy)
    });
    own.into_iter().chain(theirs).collect()
}

/// The newest of our verdict and the peers'. Each was decided by a majority.
fn newest(own: Option<Verdict>, id: &HealthCheckId, others: &PeerReports) -> Option<Verdict> {
    let theirs = others
        .reports()
        .filter_map(|(_, health)| health.verdicts.get(id).copied());
    own.into_iter().chain(theirs).reduce(|best, other| {
        if other.decided > best.decided {
            other
        } else {
            best
        }
    })
}
