//! Probes every target of every group in use, each at its own interval, on one thread.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::{HealthCheck, Snapshot, SnapshotReceiver, TargetGroup, TargetHealth, TargetKey};
use lath_model::Timestamp;
use lath_model::id::TargetGroupId;
use lath_net::Network;
use rand::Rng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::dial::{Dial, Reach, Regions};
use crate::probe::{Probe, ProbeError};
use crate::state::{Machine, Thresholds};
use crate::verify::Verified;
use crate::view::{GroupHealth, HealthReceiver, HealthView, TargetState};

/// After a link comes up again, a target's next probe starts within this time.
const SOON: Duration = Duration::from_millis(100);

/// The engine's configuration.
#[derive(Debug, Clone)]
pub struct HealthConfig {
    /// The source address of probes, which must be on `lo` of every VPC. `None`: the kernel picks one.
    pub lattice_source: Option<IpAddr>,
    /// Concurrent probes at most; others wait.
    pub max_running: usize,
    /// A new target's first probe starts within this time (and within its interval).
    pub first_within: Duration,
    /// The other regions, if there are any.
    pub regions: Option<Regions>,
    /// The wall clock: since when a target is in its state. The default is the machine's.
    pub clock: Clock,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            lattice_source: None,
            max_running: 1024,
            first_within: Duration::from_secs(1),
            regions: None,
            clock: Clock::system(),
        }
    }
}

/// A running engine. Dropping it ends it at once.
pub struct HealthHandle {
    view: HealthReceiver,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl HealthHandle {
    /// A receiver of the newest view.
    pub fn view(&self) -> HealthReceiver {
        self.view.clone()
    }

    /// Ends the thread and cancels running probes.
    pub async fn shutdown(&self) {
        drop(
            self.stop
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }
}

impl std::fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthHandle")
            .field("version", &self.view.borrow().version)
            .finish()
    }
}

/// The probe engine.
#[derive(Debug)]
pub struct HealthEngine;

impl HealthEngine {
    /// Starts the engine's thread, which follows the snapshots.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        config: HealthConfig,
    ) -> io::Result<HealthHandle> {
        let (view_tx, view) = watch::channel(Arc::new(HealthView::default()));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let (started, start) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("lath-health".to_owned())
            .spawn(move || {
                let mut builder = runtime;
                match builder
                    .enable_all()
                    .build_local(tokio::runtime::LocalOptions::default())
                {
                    Ok(runtime) => {
                        let _ = started.send(Ok(()));
                        runtime.block_on(
                            Engine::new(network, snapshots, config, view_tx).run(stopped),
                        );
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            })?;
        start.recv().map_err(io::Error::other)??;
        Ok(HealthHandle {
            view,
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }
}

/// The unique key of a target in a group.
type Key = (TargetGroupId, TargetKey);

struct Engine {
    dial: Dial,
    regions: Option<Regions>,
    /// The regions that are not connected.
    lost: BTreeSet<String>,
    snapshots: SnapshotReceiver,
    config: HealthConfig,
    view_tx: watch::Sender<Arc<HealthView>>,
    snapshot: Arc<Snapshot>,
    groups: BTreeMap<TargetGroupId, Known>,
    /// The schedule of probes. An entry whose turn is not the target's current one is outdated and skipped.
    due: BinaryHeap<Reverse<(Instant, u64, Key)>>,
    turns: u64,
    running: usize,
    changed: bool,
    finished: (
        mpsc::UnboundedSender<Finished>,
        mpsc::UnboundedReceiver<Finished>,
    ),
}

struct Known {
    group: Arc<TargetGroup>,
    check: Option<Arc<HealthCheck>>,
    verified: Option<Arc<Verified>>,
    targets: BTreeMap<TargetKey, Tracked>,
    /// The published health; replaced when a target's state changes.
    published: Arc<GroupHealth>,
}

struct Tracked {
    machine: Machine,
    address: Option<SocketAddr>,
    state: TargetState,
    /// The turn of the target's valid entry in `due`; 0 while it is not probed.
    turn: u64,
    /// The turn of the newest probe whose result was used: results of earlier probes are outdated.
    counted: u64,
    next: Instant,
}

struct Finished {
    key: Key,
    turn: u64,
    result: Result<(), ProbeError>,
}

impl Engine {
    fn new(
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        config: HealthConfig,
        view_tx: watch::Sender<Arc<HealthView>>,
    ) -> Self {
        let mut config = config;
        let regions = config.regions.take();
        let dial = Dial {
            network,
            source: config.lattice_source,
            gateways: regions.as_ref().map(|known| Arc::clone(&known.gateways)),
        };
        Self {
            dial,
            regions,
            lost: BTreeSet::new(),
            snapshots,
            config,
            view_tx,
            snapshot: Arc::default(),
            groups: BTreeMap::new(),
            due: BinaryHeap::new(),
            turns: 0,
            running: 0,
            changed: true,
            finished: mpsc::unbounded_channel(),
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            self.follow_snapshot();
            self.apply_link_states();
            self.start_due();
            self.publish();
            let next = self.due.peek().map(|Reverse((at, ..))| *at);
            let may_start = self.running < self.config.max_running;
            tokio::select! {
                _ = &mut stopped => return,
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = Regions::changed(self.regions.as_mut()) => {}
                Some(finished) = self.finished.1.recv() => self.push(finished),
                () = sleep_until(next), if may_start && next.is_some() => {}
            }
        }
    }

    /// Follows the snapshot. Health outlives changes of the configuration; a target with a new address starts over.
    fn follow_snapshot(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        if Arc::ptr_eq(&snapshot, &self.snapshot) {
            return;
        }
        self.snapshot = Arc::clone(&snapshot);
        self.changed = true;
        self.groups
            .retain(|id, _| snapshot.target_groups.contains_key(id));
        for (id, group) in &snapshot.target_groups {
            let unchanged = self.groups.get(id).is_some_and(|known| {
                let verified = known.verified.as_ref();
                Arc::ptr_eq(&known.group, group) && verified.is_none_or(|it| it.is_current())
            });
            if !unchanged {
                self.follow_group(group);
            }
        }
    }

    /// Makes the targets of a disconnected region unhealthy at once. When the region is back, the next probe decides.
    fn apply_link_states(&mut self) {
        let lost = Regions::lost(self.regions.as_mut(), &self.snapshot);
        if lost == self.lost {
            return;
        }
        for region in lost.difference(&self.lost) {
            tracing::warn!(%region, "the link to the region is down: its targets are left out");
        }
        let before = std::mem::replace(&mut self.lost, lost);
        let ids: Vec<TargetGroupId> = self
            .groups
            .iter()
            .filter(|(_, known)| {
                let region = known.group.region.as_ref();
                region.is_some_and(|it| self.lost.contains(it) != before.contains(it))
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.relink(&id);
        }
        self.changed = true;
    }

    fn relink(&mut self, id: &TargetGroupId) {
        let Some(mut known) = self.groups.remove(id) else {
            return;
        };
        let is_lost = self.is_lost(&known.group);
        for (key, tracked) in &mut known.targets {
            if tracked.turn == 0 {
                continue;
            }
            tracked.machine = Machine::default();
            if is_lost {
                tracked.mark_link_down(&known.group, self.config.clock.now());
            } else {
                let soon = Instant::now() + jittered(SOON);
                self.schedule(tracked, (id.clone(), key.clone()), soon);
            }
        }
        known.show();
        self.groups.insert(id.clone(), known);
    }

    fn is_lost(&self, group: &TargetGroup) -> bool {
        let region = group.region.as_ref();
        region.is_some_and(|region| self.lost.contains(region))
    }

    fn follow_group(&mut self, group: &Arc<TargetGroup>) {
        let mut before = self.groups.remove(&group.id);
        let check = group.health_check.clone().map(Arc::new);
        let known = before.as_ref().and_then(|known| known.verified.as_ref());
        let verified = Verified::again(group.tls.as_ref(), known);
        let now = Instant::now();
        let mut targets = BTreeMap::new();
        for key in group.targets.keys() {
            let tracked = before.as_mut().and_then(|known| known.targets.remove(key));
            let tracked = self.follow_target(group, key, tracked, now);
            targets.insert(key.clone(), tracked);
        }
        let mut known = Known {
            group: Arc::clone(group),
            check,
            verified,
            targets,
            published: Arc::default(),
        };
        if let Some(before) = before {
            known.published = before.published;
        }
        known.show();
        self.groups.insert(group.id.clone(), known);
    }

    fn follow_target(
        &mut self,
        group: &TargetGroup,
        key: &TargetKey,
        before: Option<Tracked>,
        now: Instant,
    ) -> Tracked {
        let rest = crate::view::initial(group, key);
        let ip = group.targets.get(key).and_then(|target| target.address);
        let port = group
            .health_check
            .as_ref()
            .and_then(|check| check.port)
            .unwrap_or(key.port);
        let address = ip.map(|ip| SocketAddr::new(ip, port));
        let same_place = |tracked: &Tracked| tracked.address.map(|at| at.ip()) == ip;
        let mut tracked = before.filter(same_place).unwrap_or_else(|| Tracked {
            machine: Machine::default(),
            address,
            state: TargetState::new(rest, self.config.clock.now()),
            turn: 0,
            counted: 0,
            next: now,
        });
        tracked.address = address;
        let Some(check) = group
            .health_check
            .as_ref()
            .filter(|_| rest == TargetHealth::Initial)
        else {
            tracked.stop_probing(rest, self.config.clock.now());
            return tracked;
        };
        if self.is_lost(group) {
            tracked.mark_link_down(group, self.config.clock.now());
        } else {
            let now = self.config.clock.now();
            tracked.state.become_(tracked.machine.health(), None, now);
        }
        let within = if tracked.turn == 0 {
            self.config.first_within
        } else {
            check.interval
        };
        let latest = now + jittered(within.min(check.interval));
        if tracked.turn == 0 || tracked.next > latest {
            self.schedule(&mut tracked, (group.id.clone(), key.clone()), latest);
        }
        tracked
    }

    fn schedule(&mut self, tracked: &mut Tracked, key: Key, at: Instant) {
        self.turns += 1;
        tracked.turn = self.turns;
        tracked.counted = self.turns;
        tracked.next = at;
        self.due.push(Reverse((at, self.turns, key)));
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.running < self.config.max_running {
            match self.due.peek() {
                Some(Reverse((at, ..))) if *at <= now => {}
                _ => return,
            }
            if let Some(Reverse((at, turn, key))) = self.due.pop() {
                self.start(at, turn, key, now);
            }
        }
    }

    fn start(&mut self, at: Instant, turn: u64, key: Key, now: Instant) {
        let Some(known) = self.groups.get_mut(&key.0) else {
            return;
        };
        let Some(tracked) = known.targets.get_mut(&key.1) else {
            return;
        };
        let (Some(check), true) = (&known.check, tracked.turn == turn) else {
            return;
        };
        // The schedule does not shift with response times. A missed probe is skipped.
        let next = (at + check.interval).max(now);
        self.turns += 1;
        (tracked.turn, tracked.next) = (self.turns, next);
        self.due.push(Reverse((next, self.turns, key.clone())));
        let Some(address) = tracked.address else {
            return;
        };
        let probe = Probe {
            dial: self.dial.clone(),
            reach: Reach::of(&known.group),
            at: address,
            check: Arc::clone(check),
            verified: known.verified.clone(),
        };
        self.running += 1;
        let (finished, turn) = (self.finished.0.clone(), self.turns);
        tokio::task::spawn_local(async move {
            let result = probe.run().await;
            let _ = finished.send(Finished { key, turn, result });
        });
    }

    fn push(&mut self, finished: Finished) {
        self.running -= 1;
        let lost = &self.lost;
        let Some(known) = self.groups.get_mut(&finished.key.0) else {
            return;
        };
        let Some(tracked) = known.targets.get_mut(&finished.key.1) else {
            return;
        };
        // Ignore a result that arrives after its successor's or after probing ended, and one over a link that is
        // going down.
        let timely = tracked.turn != 0 && finished.turn > tracked.counted;
        let region = known.group.region.as_ref();
        let is_lost = region.is_some_and(|region| lost.contains(region));
        let (Some(check), true) = (&known.check, timely && !is_lost) else {
            return;
        };
        tracked.counted = finished.turn;
        let thresholds = Thresholds {
            healthy: check.healthy_threshold,
            unhealthy: check.unhealthy_threshold,
        };
        let changed = tracked.machine.probed(finished.result.is_ok(), thresholds);
        let detail = finished.result.err().map(|error| error.to_string());
        if changed {
            let health = tracked.machine.health();
            tracing::info!(
                target_group.id = %finished.key.0,
                target.id = %finished.key.1.id,
                target.port = finished.key.1.port,
                health = ?health,
                reason = detail.as_deref().unwrap_or(""),
                "a target's health changed"
            );
            tracked
                .state
                .become_(health, detail, self.config.clock.now());
            known.show();
            self.changed = true;
        }
    }

    fn publish(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let groups = self
            .groups
            .iter()
            .map(|(id, known)| (id.clone(), Arc::clone(&known.published)))
            .collect();
        let view = HealthView {
            version: self.snapshot.version,
            groups,
        };
        self.view_tx.send_replace(Arc::new(view));
    }
}

impl Known {
    fn show(&mut self) {
        let states: GroupHealth = self
            .targets
            .iter()
            .map(|(key, tracked)| (key.clone(), tracked.state.clone()))
            .collect();
        if states != *self.published {
            self.published = Arc::new(states);
        }
    }
}

impl Tracked {
    /// Marks the target unhealthy because the link to its region is down.
    fn mark_link_down(&mut self, group: &TargetGroup, now: Timestamp) {
        let region = group.region.as_deref().unwrap_or_default();
        let detail = format!("the link to region {region} is down");
        self.machine = Machine::default();
        self.state
            .become_(TargetHealth::Unhealthy, Some(detail), now);
    }

    /// Stops probing. The machine starts over when probing resumes.
    fn stop_probing(&mut self, health: TargetHealth, now: Timestamp) {
        self.machine = Machine::default();
        self.turn = 0;
        self.state.become_(health, None, now);
    }
}

impl TargetState {
    fn new(health: TargetHealth, since: Timestamp) -> Self {
        Self {
            health,
            reason: None,
            detail: None,
            since,
        }
    }

    fn become_(&mut self, health: TargetHealth, detail: Option<String>, now: Timestamp) {
        if self.health != health {
            let reason = (health == TargetHealth::Unhealthy).then_some("HealthCheckFailed");
            *self = Self {
                reason,
                detail,
                ..Self::new(health, now)
            };
        }
    }
}

/// A random time in the span, so that targets registered together are not probed together.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(rand::rng().random_range(0.0..1.0))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
