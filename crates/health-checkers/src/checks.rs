use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::telemetry::{Discard, Sink};
use lath_feed::{CheckObserved, Mesh, PeerState, Snapshot, SnapshotReceiver, Topology};
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;
use lath_net::Network;
use lath_zones::{HealthVerdicts, Zones};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::directory::{Directory, names};
use crate::engine::{Engine, Finished, Thread};
use crate::judge::combine;
use crate::messages::{
    CHECKS_TOPIC, HEALTH_TOPIC, Health, NAMES_TOPIC, Names, ToProbe, read, write,
};
use crate::metrics;
use crate::own_reports::{Change, OwnReports, probed};
use crate::probe::Tools;
use crate::quorum::{PeerReports, Quorum, votes};
use crate::tls::Tls;
use crate::verdict_file::VerdictFile;

/// How long peers wait for a change of the probe time alone.
const COARSE: Duration = Duration::from_secs(2);

/// The interval between reports of metrics.
const MINUTE: Duration = Duration::from_secs(60);

/// All checks, as control reads them.
pub type ObservedChecks = BTreeMap<HealthCheckId, CheckObserved>;

/// The configuration of [`Checks`].
#[derive(Clone)]
pub struct ChecksConfig {
    /// The file that keeps verdicts over a restart. `None`: only the peers remember them.
    pub state: Option<PathBuf>,
    /// The receiver of metrics. Only the home region reports them.
    pub sink: Arc<dyn Sink>,
    /// When reports and verdicts are of. The default is the machine's.
    pub clock: Clock,
    /// Concurrent probes at most; others wait.
    pub most_running: usize,
}

impl Default for ChecksConfig {
    fn default() -> Self {
        Self {
            state: None,
            sink: Arc::new(Discard),
            clock: Clock::system(),
            most_running: 1024,
        }
    }
}

impl std::fmt::Debug for ChecksConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChecksConfig")
            .field("state", &self.state)
            .field("most_running", &self.most_running)
            .finish_non_exhaustive()
    }
}

/// A node's observer, which also computes verdicts.
#[derive(Debug)]
pub struct Checks;

/// A running observer. Dropping it ends it at once.
pub struct ChecksHandle {
    view: watch::Receiver<Arc<HealthVerdicts>>,
    observed: watch::Receiver<Arc<ObservedChecks>>,
    thread: Thread,
}

impl ChecksHandle {
    /// A receiver of the newest verdicts.
    pub fn view(&self) -> watch::Receiver<Arc<HealthVerdicts>> {
        self.view.clone()
    }

    /// A receiver of the checks as control reads them.
    pub fn observed(&self) -> watch::Receiver<Arc<ObservedChecks>> {
        self.observed.clone()
    }

    /// Ends the thread and cancels running probes.
    pub async fn shutdown(&self) {
        self.thread.shutdown().await;
    }
}

impl Checks {
    /// Probes the endpoint checks of the newest snapshot and decides the status of all checks together with the other
    /// observers in `topology`.
    ///
    /// # Errors
    /// When the thread, its runtime or TLS cannot be set up.
    pub fn start(
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        topology: Arc<Topology>,
        mesh: Mesh,
        config: ChecksConfig,
    ) -> io::Result<ChecksHandle> {
        let tls = Tls::new().map_err(io::Error::other)?;
        let (view_tx, view) = watch::channel(Arc::default());
        let (observed_tx, observed) = watch::channel(Arc::default());
        let verdict_file = VerdictFile(config.state.clone());
        let quorum = Quorum {
            verdicts: verdict_file.load(),
        };
        let begin = move |stopped| async move {
            let node = Node::new(
                Tools { network, tls },
                snapshots,
                topology,
                mesh,
                config,
                (view_tx, observed_tx),
                (verdict_file, quorum),
            );
            node.run(stopped).await;
        };
        let thread = Thread::start("lath-checks", begin)?;
        Ok(ChecksHandle {
            view,
            observed,
            thread,
        })
    }
}

struct Node {
    snapshots: SnapshotReceiver,
    topology: Arc<Topology>,
    mesh: Mesh,
    peers: watch::Receiver<Arc<BTreeMap<String, PeerState>>>,
    config: ChecksConfig,
    view_tx: watch::Sender<Arc<HealthVerdicts>>,
    observed_tx: watch::Sender<Arc<ObservedChecks>>,
    verdict_file: VerdictFile,
    snapshot: Arc<Snapshot>,
    zones: Arc<Zones>,
    engine: Engine,
    finished: mpsc::UnboundedReceiver<Finished>,
    own_reports: OwnReports,
    others: PeerReports,
    quorum: Quorum,
    /// The names of other regions by region, with the message they were read from.
    elsewhere: BTreeMap<String, (bytes::Bytes, Names)>,
    /// The status of each check and the time of its last change.
    since: HashMap<HealthCheckId, (bool, Timestamp)>,
    /// When a change of probe times alone is sent.
    flush: Option<Instant>,
}

type Senders = (
    watch::Sender<Arc<HealthVerdicts>>,
    watch::Sender<Arc<ObservedChecks>>,
);

impl Node {
    fn new(
        tools: Tools,
        snapshots: SnapshotReceiver,
        topology: Arc<Topology>,
        mesh: Mesh,
        config: ChecksConfig,
        senders: Senders,
        restored: (VerdictFile, Quorum),
    ) -> Self {
        let directory =
            Directory::for_witness(Arc::clone(&topology), BTreeMap::new(), BTreeMap::new());
        let (engine, finished) = Engine::new(tools, directory, config.most_running);
        Self {
            snapshots,
            topology,
            peers: mesh.peers(),
            mesh,
            config,
            view_tx: senders.0,
            observed_tx: senders.1,
            verdict_file: restored.0,
            snapshot: Arc::default(),
            zones: Arc::new(Zones::new(&Snapshot::default())),
            engine,
            finished,
            own_reports: OwnReports::default(),
            others: PeerReports::default(),
            quorum: restored.1,
            elsewhere: BTreeMap::new(),
            since: HashMap::new(),
            flush: None,
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut minute = interval_at(Instant::now() + MINUTE, MINUTE);
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.receive();
        self.follow_snapshot();
        let (mut published, mut carried) = (true, true);
        loop {
            let flush = self.flush;
            tokio::select! {
                _ = &mut stopped => return,
                changed = self.snapshots.changed(), if published => {
                    published = changed.is_ok();
                    self.follow_snapshot();
                }
                changed = self.peers.changed(), if carried => {
                    carried = changed.is_ok();
                    self.receive();
                }
                Some(finished) = self.finished.recv() => self.record(finished),
                () = sleep_until(flush.unwrap_or_else(Instant::now)), if flush.is_some() => self.send(),
                _ = minute.tick() => self.report(),
            }
        }
    }

    fn follow_snapshot(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        self.zones = Arc::new(self.zones.renewed(&snapshot));
        self.snapshot = snapshot;
        self.own_reports.retain(&self.snapshot.health_checks);
        self.mesh
            .publish(NAMES_TOPIC, write(&names(&self.snapshot)));
        self.rebuild_directory();
        self.engine.set_checks(&self.snapshot.health_checks);
        self.settle();
        self.send();
    }

    /// Reads the peers' messages.
    fn receive(&mut self) {
        let peers = Arc::clone(&self.peers.borrow_and_update());
        self.others.update(&peers);
        let mut changed = false;
        for (region, peer) in &*peers {
            let value = peer.values.get(NAMES_TOPIC);
            let known = self.elsewhere.get(region).map(|(bytes, _)| bytes);
            if value != known
                && let Some(value) = value
            {
                let names = (value.clone(), read(Some(value)));
                self.elsewhere.insert(region.clone(), names);
                changed = true;
            }
        }
        if changed {
            self.rebuild_directory();
        }
        self.settle();
        self.publish_observed();
    }

    /// Rebuilds the directory.
    fn rebuild_directory(&mut self) {
        let elsewhere = elsewhere(
            self.elsewhere
                .iter()
                .map(|(region, (_, names))| (region, names)),
        );
        let directory = Directory::new(
            Arc::clone(&self.topology),
            &self.snapshot,
            Arc::clone(&self.zones),
            Arc::clone(&self.view_tx.borrow()),
            elsewhere,
        );
        if self.topology.witness.is_some() {
            let to_probe = to_probe(&self.snapshot, &directory);
            self.mesh.publish(CHECKS_TOPIC, write(&to_probe));
        }
        self.engine.follow(Arc::new(directory));
    }

    fn record(&mut self, finished: Finished) {
        let current = self.snapshot.health_checks.get(&finished.check.id);
        if current.is_none_or(|current| **current != *finished.check) {
            return; // the check changed or was deleted while the probe ran
        }
        let now = self.config.clock.now();
        let Finished {
            check,
            threshold,
            outcome,
        } = finished;
        match self.own_reports.record(&check, threshold, outcome, now) {
            Change::Time => {
                self.flush.get_or_insert_with(|| Instant::now() + COARSE);
            }
            Change::Result => {
                self.settle();
                self.send();
            }
        }
    }

    /// Computes the verdicts and publishes changes.
    fn settle(&mut self) {
        let now = self.config.clock.now();
        let checks = &self.snapshot.health_checks;
        let observers = self.topology.observers();
        // Before the first snapshot no check is known: settling would drop the restored verdicts.
        let begun = self.snapshot.version > 0 || !checks.is_empty();
        let changed = begun
            && self
                .quorum
                .settle(checks, &self.own_reports, &self.others, observers, now);
        if changed {
            self.verdict_file.save(&self.quorum.verdicts);
        }
        let endpoints: HashMap<_, _> = self
            .quorum
            .verdicts
            .iter()
            .map(|(id, verdict)| (id.clone(), verdict.healthy))
            .collect();
        let view = HealthVerdicts {
            checks: checks
                .keys()
                .map(|id| (id.clone(), combine(id, checks, &endpoints)))
                .collect(),
        };
        if **self.view_tx.borrow() != view {
            self.note(&view, now);
            self.view_tx.send_replace(Arc::new(view));
            self.rebuild_directory();
        }
        if changed {
            self.send();
        }
    }

    fn note(&mut self, view: &HealthVerdicts, now: Timestamp) {
        self.since.retain(|id, _| view.checks.contains_key(id));
        for (id, healthy) in &view.checks {
            let before = self.since.get(id).map(|(healthy, _)| *healthy);
            if before != Some(*healthy) {
                self.since.insert(id.clone(), (*healthy, now));
                if before.is_some() {
                    tracing::info!(health_check.id = %id, healthy, "a health check's status changed");
                }
            }
        }
    }

    /// Sends this observer's reports to the peers and to control.
    fn send(&mut self) {
        self.flush = None;
        let health = health_message(&self.own_reports, &self.quorum);
        self.mesh.publish(HEALTH_TOPIC, write(&health));
        self.publish_observed();
    }

    /// Publishes the checks for control.
    fn publish_observed(&self) {
        let view = Arc::clone(&self.view_tx.borrow());
        let observed: ObservedChecks = self
            .snapshot
            .health_checks
            .keys()
            .filter_map(|id| Some((id.clone(), self.observed(id, *view.checks.get(id)?)?)))
            .collect();
        self.observed_tx.send_if_modified(|old| {
            let differs = **old != observed;
            if differs {
                *old = Arc::new(observed);
            }
            differs
        });
    }

    fn observed(&self, id: &HealthCheckId, healthy: bool) -> Option<CheckObserved> {
        let check = self.snapshot.health_checks.get(id)?;
        let own = self.own_reports.report(id);
        let own = own.map(|report| (self.topology.region.clone(), report.clone()));
        let theirs = self.others.reports().filter_map(|(region, health)| {
            let report = health.reports.get(id)?;
            Some((region.to_owned(), report.clone()))
        });
        let votes = votes(id, check.version, &self.own_reports, &self.others).len();
        Some(CheckObserved {
            healthy,
            since: self
                .since
                .get(id)
                .map_or_else(|| self.config.clock.now(), |(_, at)| *at),
            quorum: probed(check).is_none() || votes > self.topology.observers() / 2,
            observers: own.into_iter().chain(theirs).collect(),
        })
    }

    fn report(&self) {
        if self.topology.is_home() {
            let observed = Arc::clone(&self.observed_tx.borrow());
            metrics::report(&*self.config.sink, &observed, self.config.clock.now());
        }
    }
}

/// The names that peers' gateways reach.
pub(crate) fn elsewhere<'a>(
    sent: impl Iterator<Item = (&'a String, &'a Names)>,
) -> BTreeMap<String, (String, String)> {
    let entries = sent.flat_map(|(region, names)| {
        names
            .iter()
            .map(move |(name, authority)| (name.clone(), (region.clone(), authority.clone())))
    });
    entries.collect()
}

pub(crate) fn health_message(own_reports: &OwnReports, quorum: &Quorum) -> Health {
    let undecided = own_reports
        .iter()
        .filter(|(_, entry)| entry.vote().is_none());
    Health {
        undecided: undecided.map(|(id, _)| id.clone()).collect(),
        reports: own_reports
            .iter()
            .map(|(id, entry)| (id.clone(), entry.report.clone()))
            .collect(),
        verdicts: quorum.verdicts.clone(),
    }
}

fn to_probe(snapshot: &Snapshot, directory: &Directory) -> ToProbe {
    let checks: Vec<_> = snapshot
        .health_checks
        .values()
        .filter(|check| probed(check).is_some())
        .map(|check| (**check).clone())
        .collect();
    let addresses = checks
        .iter()
        .filter_map(|check| probed(check)?.name.as_ref())
        .filter_map(|name| {
            let key = name.trim_end_matches('.').to_ascii_lowercase();
            Some((key, directory.public_addresses(name)?))
        });
    ToProbe {
        addresses: addresses.collect(),
        checks,
    }
}
