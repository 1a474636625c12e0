//! Keeps the host's network as the newest snapshot wants it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_fabric::plan::LinkKind;
use lath_fabric::{ApplyReport, Fabric, HostFacts, HostPlan};
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

/// How often the kernel is compared with the plan although nothing changed: others may change it.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon an apply that was not complete is repeated.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    fabric: Arc<Fabric>,
    facts: HostFacts,
    mut leaving: Leaving,
    mut snapshots: SnapshotReceiver,
    say: watch::Sender<NetworkObserved>,
    stop: CancellationToken,
) {
    let mut said = String::new();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let mut plan = lath_fabric::plan(&snapshot, &facts);
        let gone = leaving.keep(&mut plan, Instant::now());
        let report = fabric.apply(&plan).await;
        tell(&report, &mut said);
        let settled = report.is_complete() && !has_guests(&plan);
        let pause = if settled { PERIOD } else { RETRY };
        let gone = gone.map_or(pause, |end| end.saturating_duration_since(Instant::now()));
        say.send_replace(NetworkObserved {
            version: snapshot.version,
            report: Arc::new(report),
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.min(gone)) => {}
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether there are links that others make and remove, such as tunnels': they come and go at any time.
fn has_guests(plan: &HostPlan) -> bool {
    let mut links = plan.spaces.values().flat_map(|space| space.links.values());
    links.any(|link| link.kind == LinkKind::Guest)
}

/// Logs what was done, and what does not work once as long as it stays the same.
fn tell(report: &ApplyReport, said: &mut String) {
    if !report.done.is_empty() {
        tracing::debug!(operations = report.done.len(), done = ?report.done, "the network was changed");
    }
    let failed = |(id, outcome): (&dyn std::fmt::Display, &Result<(), String>)| {
        outcome
            .as_ref()
            .err()
            .map(|reason| format!("{id}: {reason}"))
    };
    let vpcs = report
        .vpcs
        .iter()
        .map(|(id, outcome)| failed((id, outcome)));
    let interfaces = report
        .interfaces
        .iter()
        .map(|(id, outcome)| failed((id, outcome)));
    let spaces = report
        .spaces
        .iter()
        .map(|(name, outcome)| failed((name, outcome)));
    let attachments = report
        .transit_attachments
        .iter()
        .map(|(id, outcome)| failed((id, outcome)));
    let networks = vpcs.chain(interfaces).chain(spaces).chain(attachments);
    let mut broken: Vec<String> = networks.flatten().collect();
    broken.extend(
        report
            .host
            .iter()
            .map(|reason| format!("the host: {reason}")),
    );
    broken.extend(
        report
            .leftovers
            .iter()
            .map(|(name, reason)| format!("removing {name}: {reason}")),
    );
    broken.extend(
        report
            .refused
            .iter()
            .map(|(id, reasons)| format!("{id}: {}", reasons.join("; "))),
    );
    let text = broken.join(" | ");
    if text != *said && !text.is_empty() {
        tracing::warn!(reasons = %text, "parts of the network do not work");
    }
    *said = text;
}
