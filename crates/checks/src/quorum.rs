//! Verdicts on endpoints, from own and others' reports.

use std::collections::BTreeMap;

use lath_feed::PeerState;
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;

use crate::board::{Board, CheckMap, probed};
use crate::judge::judge;
use crate::told::{HEALTH_TOPIC, Health, Verdict, read};

/// What the other observers told, read once for each time they told something.
#[derive(Debug, Default)]
pub(crate) struct Others {
    read: BTreeMap<String, (bytes::Bytes, Health)>,
    connected: Vec<String>,
}

impl Others {
    /// Takes in what peers told. One that does not answer is heard no more.
    pub(crate) fn obey(&mut self, peers: &BTreeMap<String, PeerState>) {
        self.connected.clear();
        for (region, peer) in peers.iter().filter(|(_, peer)| peer.connected) {
            self.connected.push(region.clone());
            let Some(told) = peer.values.get(HEALTH_TOPIC) else {
                continue;
            };
            let known = self
                .read
                .get(region)
                .is_some_and(|(bytes, _)| bytes == told);
            if !known {
                let health = (told.clone(), read(Some(told)));
                self.read.insert(region.clone(), health);
            }
        }
    }

    pub(crate) fn heard(&self) -> impl Iterator<Item = (&str, &Health)> {
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
    /// Brings verdicts in line with reports. True when any changed.
    pub(crate) fn settle(
        &mut self,
        checks: &CheckMap,
        board: &Board,
        others: &Others,
        observers: usize,
        now: Timestamp,
    ) -> bool {
        let before = self.clone();
        self.verdicts
            .retain(|id, _| checks.get(id).is_some_and(|check| probed(check).is_some()));
        for check in checks.values().filter(|check| probed(check).is_some()) {
            let votes = votes(&check.id, check.version, board, others);
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

/// What can be heard of this version of a check, our own voice included.
pub(crate) fn votes(id: &HealthCheckId, version: u64, board: &Board, others: &Others) -> Vec<bool> {
    let own = board
        .report(id)
        .filter(|report| report.version == version)
        .and_then(|_| board.vote(id));
    let theirs = others.heard().filter_map(|(_, health)| {
        let report = health.reports.get(id)?;
        let votes = report.version == version && !health.undecided.contains(id);
        votes.then_some(report.healthy)
    });
    own.into_iter().chain(theirs).collect()
}

/// Of our verdict and the others', the one that was decided last: each was decided by a majority.
fn newest(own: Option<Verdict>, id: &HealthCheckId, others: &Others) -> Option<Verdict> {
    let theirs = others
        .heard()
        .filter_map(|(_, health)| health.verdicts.get(id).copied());
    own.into_iter().chain(theirs).reduce(|best, other| {
        if other.decided > best.decided {
            other
        } else {
            best
        }
    })
}
