//! Keeps the host's network as the newest snapshot wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_fabric::plan::LinkKind;
use lath_fabric::{ApplyReport, Fabric, HostFacts, HostPlan, Netns};
use lath_feed::SnapshotReceiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::leaving::Leaving;

/// What came of the newest apply.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetworkObserved {
    /// The snapshot's version.
    pub(crate) version: u64,
    pub(crate) report: Arc<ApplyReport>,
}

/// How often the kernel is compared with the plan although nothing changed: others may change it unheard.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon an apply that was not complete is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// How soon at the latest, when it fails the same way each time: every repetition compares whole VPCs.
const LONGEST_RETRY: Duration = Duration::from_secs(8);
/// What does not work for less than this is still being made: one end of a link waits for the other.
const SETTLING: Duration = Duration::from_secs(3);

/// The host's network, or the underlay that stands for it.
pub(crate) struct Outside {
    pub(crate) facts: HostFacts,
    pub(crate) underlay: Option<Netns>,
}

impl Outside {
    fn look(&mut self) -> &HostFacts {
        self.facts.refresh(self.underlay.as_ref());
        &self.facts
    }
}

pub(crate) async fn run(
    fabric: Arc<Fabric>,
    mut outside: Outside,
    mut leaving: Leaving,
    mut snapshots: SnapshotReceiver,
    observed_tx: watch::Sender<NetworkObserved>,
    stop: CancellationToken,
) {
    let mut trouble = Trouble::default();
    let mut pauses = Pauses::default();
    let mut repairs = fabric.repairs();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        repairs.borrow_and_update();
        let mut plan = lath_fabric::plan(&snapshot, outside.look());
        let gone = leaving.keep(&mut plan, Instant::now());
        let report = fabric.apply(&plan).await;
        trouble.log(&report, Instant::now());
        let pause = pauses.after(&report, has_guests(&plan));
        let gone = gone.map_or(pause, |end| end.saturating_duration_since(Instant::now()));
        observed_tx.send_replace(NetworkObserved {
            version: snapshot.version,
            report: Arc::new(report),
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.min(gone)) => {}
            // Others have disturbed the network: the node reports what there is now.
            Ok(()) = repairs.changed() => {}
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether there are links that others make and remove, such as tunnels': they come and go at any time.
fn has_guests(plan: &HostPlan) -> bool {
    let mut links = plan.spaces.values().flat_map(|space| space.links.values());
    links.any(|link| link.kind == LinkKind::Guest)
}

/// How long to wait until the next apply, if nothing changes before.
#[derive(Debug, Default)]
struct Pauses {
    reasons: BTreeSet<String>,
    last: Option<Duration>,
}

impl Pauses {
    fn after(&mut self, report: &ApplyReport, guests: bool) -> Duration {
        if report.is_complete() {
            *self = Self::default();
            return if guests { RETRY } else { PERIOD };
        }
        let reasons = broken(report);
        let same = reasons == self.reasons && report.done.is_empty() && !guests;
        let last = self.last.filter(|_| same);
        let next = last.map_or(RETRY, |last| (last * 2).min(LONGEST_RETRY));
        (self.reasons, self.last) = (reasons, Some(next));
        next
    }
}

/// What does not work: told once it has lasted, and again when it is over.
#[derive(Debug, Default)]
struct Trouble {
    reasons: BTreeSet<String>,
    since: Option<Instant>,
    logged: BTreeSet<String>,
}

/// What the log is to say.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Nothing,
    Broken,
    Over,
}

impl Trouble {
    fn log(&mut self, report: &ApplyReport, now: Instant) {
        if !report.done.is_empty() {
            tracing::debug!(operations = report.done.len(), done = ?report.done, "the network was changed");
        }
        match self.word(broken(report), now) {
            Word::Nothing => {}
            Word::Broken => {
                let text = Vec::from_iter(self.reasons.iter().map(String::as_str)).join(" | ");
                tracing::warn!(reason = %text, "parts of the network do not work");
            }
            Word::Over => tracing::info!("all parts of the network work again"),
        }
    }

    fn word(&mut self, reasons: BTreeSet<String>, now: Instant) -> Word {
        self.reasons = reasons;
        if self.reasons.is_empty() {
            self.since = None;
            let logged = std::mem::take(&mut self.logged);
            return if logged.is_empty() {
                Word::Nothing
            } else {
                Word::Over
            };
        }
        let since = *self.since.get_or_insert(now);
        if self.reasons == self.logged || now.saturating_duration_since(since) < SETTLING {
            return Word::Nothing;
        }
        self.logged = self.reasons.clone();
        Word::Broken
    }
}

/// What does not work, and why. A namespace that is not handed over yet is no failure.
fn broken(report: &ApplyReport) -> BTreeSet<String> {
    fn failed<'a, K: std::fmt::Display + 'a>(
        all: &'a BTreeMap<K, Result<(), String>>,
    ) -> impl Iterator<Item = String> + 'a {
        let failed = all
            .iter()
            .filter_map(|(id, it)| Some((id, it.as_ref().err()?)));
        failed.map(|(id, reason)| format!("{id}: {reason}"))
    }
    let mut interfaces = report.interfaces.clone();
    interfaces.retain(|id, _| !report.awaited.contains_key(id));
    let host = report.host.iter().map(|it| format!("the host: {it}"));
    let left = report.leftovers.iter();
    let left = left.map(|(name, reason)| format!("removing {name}: {reason}"));
    let refused = report.refused.iter();
    let refused = refused.map(|(id, reasons)| format!("{id}: {}", reasons.join("; ")));
    failed(&report.vpcs)
        .chain(failed(&interfaces))
        .chain(failed(&report.spaces))
        .chain(failed(&report.transit_attachments))
        .chain(host)
        .chain(left)
        .chain(refused)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apply_that_fails_the_same_way_is_repeated_ever_later() {
        let fails = |reason: &str| ApplyReport {
            host: Some(reason.to_owned()),
            ..ApplyReport::default()
        };
        let changed = ApplyReport {
            done: vec!["host: set".into()],
            ..fails("a")
        };
        let interface = lath_model::id::NetworkInterfaceId::random();
        let pod = lath_model::ManagedId::new(lath_model::ManagedKind::Pod, "web");
        let awaited = ApplyReport {
            interfaces: [(interface.clone(), Err("not yet".into()))].into(),
            awaited: [(interface, pod.unwrap().into())].into(),
            ..ApplyReport::default()
        };
        assert!(broken(&awaited).is_empty());
        let mut pauses = Pauses::default();
        for (name, report, guests, want) in [
            ("once", fails("a"), false, 1),
            ("again", fails("a"), false, 2),
            ("again", fails("a"), false, 4),
            ("again", fails("a"), false, 8),
            ("never later", fails("a"), false, 8),
            ("for another reason", fails("b"), false, 1),
            ("something was done", changed, false, 1),
            ("all is well", ApplyReport::default(), false, 30),
            ("guests come and go", ApplyReport::default(), true, 1),
            ("a namespace is awaited", awaited, false, 30),
        ] {
            let pause = pauses.after(&report, guests);
            assert_eq!(pause, Duration::from_secs(want), "{name}");
        }
    }

    #[test]
    fn trouble_is_told_when_it_lasts_and_when_it_is_over() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        for (name, seconds, reasons, want) in [
            ("all is well", 0, "", Word::Nothing),
            ("one end waits for the other", 1, "a", Word::Nothing),
            ("it was there in time", 2, "", Word::Nothing),
            ("another", 3, "b", Word::Nothing),
            ("it lasts", 6, "b", Word::Broken),
            ("it is told once", 20, "b", Word::Nothing),
            ("more of it", 21, "b c", Word::Broken),
            ("it is over", 30, "", Word::Over),
            ("and stays so", 31, "", Word::Nothing),
        ] {
            let reasons = reasons.split_whitespace().map(str::to_owned).collect();
            let now = start + Duration::from_secs(seconds);
            assert_eq!(trouble.word(reasons, now), want, "{name}");
        }
    }
}
