//! What answers are made of besides the snapshot: compiled zones and the newest health.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lath_feed::{SnapshotReceiver, TargetHealth};
use lath_health::HealthReceiver;
use lath_model::id::{HealthCheckId, TargetGroupId};
use lath_zones::{HealthVerdicts, HealthView, Zones};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Zones and health, always the newest. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ZoneState {
    zones: Arc<ArcSwap<Zones>>,
    verdicts: Option<watch::Receiver<Arc<HealthVerdicts>>>,
    targets: Option<HealthReceiver>,
    version: Arc<watch::Sender<u64>>,
}

/// Health at one moment.
pub(crate) struct Health {
    verdicts: Option<Arc<HealthVerdicts>>,
    targets: Option<Arc<lath_health::HealthView>>,
}

impl ZoneState {
    /// Without health everything is healthy.
    pub(crate) fn new(snapshots: &SnapshotReceiver) -> Self {
        let zones = Zones::new(&snapshots.borrow());
        Self {
            version: Arc::new(watch::Sender::new(0)),
            zones: Arc::new(ArcSwap::from_pointee(zones)),
            verdicts: None,
            targets: None,
        }
    }

    pub(crate) fn with_health(
        mut self,
        verdicts: watch::Receiver<Arc<HealthVerdicts>>,
        targets: HealthReceiver,
    ) -> Self {
        self.verdicts = Some(verdicts);
        self.targets = Some(targets);
        self
    }

    pub(crate) fn zones(&self) -> Arc<Zones> {
        self.zones.load_full()
    }

    pub(crate) fn health(&self) -> Health {
        Health {
            verdicts: self
                .verdicts
                .as_ref()
                .map(|view| Arc::clone(&view.borrow())),
            targets: self.targets.as_ref().map(|view| Arc::clone(&view.borrow())),
        }
    }

    /// The newest snapshot version that is answered from.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Compiles every new snapshot's zones until `stop`.
    pub(crate) async fn follow(self, mut snapshots: SnapshotReceiver, stop: CancellationToken) {
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let version = snapshot.version;
            let before = self.zones();
            // Large zones take a while: not on a thread that answers.
            let compiled = tokio::task::spawn_blocking(move || before.renewed(&snapshot)).await;
            if let Ok(zones) = compiled {
                self.zones.store(Arc::new(zones));
                self.version.send_replace(version);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshots.changed() => if changed.is_err() {
                    return stop.cancelled().await; // the last one stays in force
                },
            }
        }
    }
}

impl HealthView for Health {
    fn check(&self, check: &HealthCheckId) -> bool {
        self.verdicts.as_ref().is_none_or(|view| view.check(check))
    }

    fn target_group(&self, group: &TargetGroupId) -> bool {
        let targets = self
            .targets
            .as_ref()
            .and_then(|view| view.groups.get(group));
        let usable = |health| {
            matches!(
                health,
                TargetHealth::Healthy | TargetHealth::Unavailable | TargetHealth::Initial
            )
        };
        targets.is_none_or(|targets| {
            targets.is_empty()
                || targets.values().any(|target| usable(target.health))
                || targets
                    .values()
                    .all(|target| target.health == TargetHealth::Unused)
        })
    }
}
