use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::telemetry::{Discard, Sink};
use lath_feed::{CheckObserved, Mesh, PeerState, Snapshot, SnapshotReceiver, Topology};
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;
use lath_net::Network;
use lath_zones::{HealthVerdicts, Zones};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::board::{Board, News, probed};
use crate::directory::{Directory, names};
use crate::engine::{Engine, Finished, Thread};
use crate::judge::combine;
use crate::keep::Keep;
use crate::metrics;
use crate::probe::Tools;
use crate::quorum::{Others, Quorum, votes};
use crate::tls::Tls;
use crate::told::{CHECKS_TOPIC, HEALTH_TOPIC, Health, NAMES_TOPIC, Names, ToProbe, read, write};

/// How soon others hear that nothing changed but the time of the newest probe.
const COARSE: Duration = Duration::from_secs(2);

/// Between two reports of metrics.
const MINUTE: Duration = Duration::from_secs(60);

/// Every check as control reads it.
pub type ObservedChecks = BTreeMap<HealthCheckId, CheckObserved>;

/// How checks work.
#[derive(Clone)]
pub struct ChecksConfig {
    /// The file in which verdicts are kept over a restart; `None`: only the others remember.
    pub state: Option<PathBuf>,
    /// Who takes the metrics (told by the home region only).
    pub sink: Arc<dyn Sink>,
    /// How many probes may run at the same time; others wait for their turn.
    pub most_running: usize,
}

impl Default for ChecksConfig {
    fn default() -> Self {
        Self {
            state: None,
            sink: Arc::new(Discard),
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

/// A node's observer and judge.
#[derive(Debug)]
pub struct Checks;

/// A running observer. Dropped, it ends at once.
pub struct ChecksHandle {
    view: watch::Receiver<Arc<HealthVerdicts>>,
    observed: watch::Receiver<Arc<ObservedChecks>>,
    thread: Thread,
}

impl ChecksHandle {
    /// The newest verdicts, now and later.
    pub fn view(&self) -> watch::Receiver<Arc<HealthVerdicts>> {
        self.view.clone()
    }

    /// What control is told.
    pub fn observed(&self) -> watch::Receiver<Arc<ObservedChecks>> {
        self.observed.clone()
    }

    /// Ends the thread; probes that run are given up.
    pub async fn shutdown(&self) {
        self.thread.shutdown().await;
    }
}

impl Checks {
    /// Probes the endpoint checks of the newest snapshot, and judges all of its checks with the other
    /// observers that `topology` names.
    ///
    /// # Errors
    /// The thread, its runtime or TLS could not be made.
    pub fn start(
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
        topology: Arc<Topology>,
        mesh: Mesh,
        config: ChecksConfig,
    ) -> io::Result<ChecksHandle> {
        let tls = Tls::new().map_err(io::Error::other)?;
        let (say_view, view) = watch::channel(Arc::default());
        let (say_observed, observed) = watch::channel(Arc::default());
        let keep = Keep(config.state.clone());
        let quorum = Quorum {
            verdicts: keep.load(),
        };
        let begin = move |stopped| async move {
            let node = Node::new(
                Tools { network, tls },
                snapshots,
                topology,
                mesh,
                config,
                (say_view, say_observed),
                (keep, quorum),
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
    say_view: watch::Sender<Arc<HealthVerdicts>>,
    say_observed: watch::Sender<Arc<ObservedChecks>>,
    keep: Keep,
    snapshot: Arc<Snapshot>,
    zones: Arc<Zones>,
    engine: Engine,
    finished: mpsc::UnboundedReceiver<Finished>,
    board: Board,
    others: Others,
    quorum: Quorum,
    /// Other regions' names by region, as they told them.
    elsewhere: BTreeMap<String, (bytes::Bytes, Names)>,
    /// Since when each check is as it is.
    since: HashMap<HealthCheckId, (bool, Timestamp)>,
    /// When what is only coarsely told is due.
    flush: Option<Instant>,
}

type Says = (
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
        says: Says,
        kept: (Keep, Quorum),
    ) -> Self {
        let directory = Directory::told(Arc::clone(&topology), BTreeMap::new(), BTreeMap::new());
        let (engine, finished) = Engine::new(tools, directory, config.most_running);
        Self {
            snapshots,
            topology,
            peers: mesh.peers(),
            mesh,
            config,
            say_view: says.0,
            say_observed: says.1,
            keep: kept.0,
            snapshot: Arc::default(),
            zones: Arc::new(Zones::new(&Snapshot::default())),
            engine,
            finished,
            board: Board::default(),
            others: Others::default(),
            quorum: kept.1,
            elsewhere: BTreeMap::new(),
            since: HashMap::new(),
            flush: None,
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut minute = interval_at(Instant::now() + MINUTE, MINUTE);
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.hear();
        self.obey();
        let (mut published, mut carried) = (true, true);
        loop {
            let flush = self.flush;
            tokio::select! {
                _ = &mut stopped => return,
                changed = self.snapshots.changed(), if published => {
                    published = changed.is_ok();
                    self.obey();
                }
                changed = self.peers.changed(), if carried => {
                    carried = changed.is_ok();
                    self.hear();
                }
                Some(finished) = self.finished.recv() => self.take_in(finished),
                () = sleep_until(flush.unwrap_or_else(Instant::now)), if flush.is_some() => self.tell(),
                _ = minute.tick() => self.report(),
            }
        }
    }

    fn obey(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        self.zones = Arc::new(self.zones.renewed(&snapshot));
        self.snapshot = snapshot;
        self.board.obey(&self.snapshot.health_checks);
        self.mesh.tell(NAMES_TOPIC, write(&names(&self.snapshot)));
        self.find_ways();
        self.engine.obey(&self.snapshot.health_checks);
        self.settle();
        self.tell();
    }

    /// Takes in what the peers tell.
    fn hear(&mut self) {
        let peers = Arc::clone(&self.peers.borrow_and_update());
        self.others.obey(&peers);
        let mut changed = false;
        for (region, peer) in &*peers {
            let told = peer.values.get(NAMES_TOPIC);
            let known = self.elsewhere.get(region).map(|(bytes, _)| bytes);
            if told != known
                && let Some(told) = told
            {
                let names = (told.clone(), read(Some(told)));
                self.elsewhere.insert(region.clone(), names);
                changed = true;
            }
        }
        if changed {
            self.find_ways();
        }
        self.settle();
        self.show();
    }

    /// Makes the directory anew.
    fn find_ways(&mut self) {
        let elsewhere = elsewhere(
            self.elsewhere
                .iter()
                .map(|(region, (_, names))| (region, names)),
        );
        let directory = Directory::new(
            Arc::clone(&self.topology),
            &self.snapshot,
            Arc::clone(&self.zones),
            Arc::clone(&self.say_view.borrow()),
            elsewhere,
        );
        if self.topology.witness.is_some() {
            let told = to_probe(&self.snapshot, &directory);
            self.mesh.tell(CHECKS_TOPIC, write(&told));
        }
        self.engine.follow(Arc::new(directory));
    }

    fn take_in(&mut self, finished: Finished) {
        let current = self.snapshot.health_checks.get(&finished.check.id);
        if current.is_none_or(|current| **current != *finished.check) {
            return; // it changed or went while the probe ran
        }
        let now = Timestamp::now();
        let Finished {
            check,
            threshold,
            outcome,
        } = finished;
        match self.board.take_in(&check, threshold, outcome, now) {
            News::Time => {
                self.flush.get_or_insert_with(|| Instant::now() + COARSE);
            }
            News::Result => {
                self.settle();
                self.tell();
            }
        }
    }

    /// Judges, and publishes what changed.
    fn settle(&mut self) {
        let now = Timestamp::now();
        let checks = &self.snapshot.health_checks;
        let observers = self.topology.observers();
        // Before the first snapshot nothing is known of what was kept.
        let begun = self.snapshot.version > 0 || !checks.is_empty();
        let changed = begun
            && self
                .quorum
                .settle(checks, &self.board, &self.others, observers, now);
        if changed {
            self.keep.save(&self.quorum.verdicts);
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
        if **self.say_view.borrow() != view {
            self.note(&view, now);
            self.say_view.send_replace(Arc::new(view));
            self.find_ways();
        }
        if changed {
            self.tell();
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

    /// Tells the peers and control.
    fn tell(&mut self) {
        self.flush = None;
        let health = told(&self.board, &self.quorum);
        self.mesh.tell(HEALTH_TOPIC, write(&health));
        self.show();
    }

    /// Tells control.
    fn show(&self) {
        let view = Arc::clone(&self.say_view.borrow());
        let observed: ObservedChecks = self
            .snapshot
            .health_checks
            .keys()
            .filter_map(|id| Some((id.clone(), self.observed(id, *view.checks.get(id)?)?)))
            .collect();
        self.say_observed.send_if_modified(|old| {
            let differs = **old != observed;
            if differs {
                *old = Arc::new(observed);
            }
            differs
        });
    }

    fn observed(&self, id: &HealthCheckId, healthy: bool) -> Option<CheckObserved> {
        let check = self.snapshot.health_checks.get(id)?;
        let own = self.board.report(id);
        let own = own.map(|report| (self.topology.region.clone(), report.clone()));
        let theirs = self.others.heard().filter_map(|(region, health)| {
            let report = health.reports.get(id)?;
            Some((region.to_owned(), report.clone()))
        });
        let votes = votes(id, check.version, &self.board, &self.others).len();
        Some(CheckObserved {
            healthy,
            since: self
                .since
                .get(id)
                .map_or_else(Timestamp::now, |(_, at)| *at),
            quorum: probed(check).is_none() || votes > self.topology.observers() / 2,
            observers: own.into_iter().chain(theirs).collect(),
        })
    }

    fn report(&self) {
        if self.topology.is_home() {
            let observed = Arc::clone(&self.say_observed.borrow());
            metrics::report(&*self.config.sink, &observed, Timestamp::now());
        }
    }
}

/// What peers' gateways reach, by name.
pub(crate) fn elsewhere<'a>(
    told: impl Iterator<Item = (&'a String, &'a Names)>,
) -> BTreeMap<String, (String, String)> {
    let entries = told.flat_map(|(region, names)| {
        names
            .iter()
            .map(move |(name, authority)| (name.clone(), (region.clone(), authority.clone())))
    });
    entries.collect()
}

pub(crate) fn told(board: &Board, quorum: &Quorum) -> Health {
    let undecided = board.iter().filter(|(_, entry)| entry.vote().is_none());
    Health {
        undecided: undecided.map(|(id, _)| id.clone()).collect(),
        reports: board
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
