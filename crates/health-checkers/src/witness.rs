use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::{Mesh, PeerState, Topology};
use lath_net::Network;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::checks::{elsewhere, health_message};
use crate::directory::Directory;
use crate::engine::{Engine, Finished, Thread};
use crate::messages::{CHECKS_TOPIC, HEALTH_TOPIC, NAMES_TOPIC, Names, ToProbe, read, write};
use crate::own_reports::{Change, CheckMap, OwnReports};
use crate::probe::Tools;
use crate::quorum::Quorum;
use crate::tls::Tls;

const COARSE: Duration = Duration::from_secs(2);

/// An observer without a region. It probes the checks that nodes send and reports the results, but decides nothing.
#[derive(Debug)]
pub struct Witness;

/// A running witness. Dropping it ends it at once.
pub struct WitnessHandle {
    thread: Thread,
}

impl WitnessHandle {
    /// Ends the thread and cancels running probes.
    pub async fn shutdown(&self) {
        self.thread.shutdown().await;
    }
}

impl Witness {
    /// Probes the checks that the nodes on `mesh` send, at most `most_running` at once.
    ///
    /// # Errors
    /// When the thread, its runtime or TLS cannot be set up.
    pub fn start(
        network: Arc<dyn Network>,
        topology: Arc<Topology>,
        mesh: Mesh,
        most_running: usize,
        clock: Clock,
    ) -> io::Result<WitnessHandle> {
        let tls = Tls::new().map_err(io::Error::other)?;
        let begin = move |stopped| async move {
            let tools = Tools { network, tls };
            Observer::new(tools, topology, mesh, (most_running, clock))
                .run(stopped)
                .await;
        };
        let thread = Thread::start("lath-witness", begin)?;
        Ok(WitnessHandle { thread })
    }
}

struct Observer {
    topology: Arc<Topology>,
    mesh: Mesh,
    peers: watch::Receiver<Arc<BTreeMap<String, PeerState>>>,
    checks: CheckMap,
    engine: Engine,
    finished: mpsc::UnboundedReceiver<Finished>,
    own_reports: OwnReports,
    clock: Clock,
    /// The newest messages by region.
    received: BTreeMap<String, Received>,
    flush: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
struct Received {
    bytes: [Option<bytes::Bytes>; 2],
    to_probe: ToProbe,
    names: Names,
}

impl Observer {
    fn new(
        tools: Tools,
        topology: Arc<Topology>,
        mesh: Mesh,
        (most, clock): (usize, Clock),
    ) -> Self {
        let directory =
            Directory::for_witness(Arc::clone(&topology), BTreeMap::new(), BTreeMap::new());
        let (engine, finished) = Engine::new(tools, directory, most);
        Self {
            topology,
            peers: mesh.peers(),
            mesh,
            checks: CheckMap::new(),
            engine,
            finished,
            own_reports: OwnReports::default(),
            clock,
            received: BTreeMap::new(),
            flush: None,
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        self.receive();
        let mut carried = true;
        loop {
            let flush = self.flush;
            tokio::select! {
                _ = &mut stopped => return,
                changed = self.peers.changed(), if carried => {
                    carried = changed.is_ok();
                    self.receive();
                }
                Some(finished) = self.finished.recv() => self.record(finished),
                () = sleep_until(flush.unwrap_or_else(Instant::now)), if flush.is_some() => self.send(),
            }
        }
    }

    /// Reads the nodes' messages. The checks of a node that is not connected any more still count: the others
    /// may need a second vote on exactly its endpoints.
    fn receive(&mut self) {
        let peers = Arc::clone(&self.peers.borrow_and_update());
        let mut changed = false;
        for (region, peer) in &*peers {
            let bytes = [CHECKS_TOPIC, NAMES_TOPIC].map(|topic| peer.values.get(topic).cloned());
            let received = self.received.entry(region.clone()).or_default();
            if received.bytes != bytes {
                received.to_probe = read(bytes[0].as_ref());
                received.names = read(bytes[1].as_ref());
                received.bytes = bytes;
                changed = true;
            }
        }
        if changed || self.checks.is_empty() {
            self.update(&peers);
        }
    }

    fn update(&mut self, peers: &BTreeMap<String, PeerState>) {
        let is_connected = |region: &String| peers.get(region).is_some_and(|peer| peer.connected);
        let anyone = self.received.keys().any(is_connected);
        let trusted = |region: &String| !anyone || is_connected(region);
        let received = self.received.iter().filter(|(region, _)| trusted(region));
        self.checks = checks(
            received.map(|(_, received)| &received.to_probe),
            &self.checks,
        );
        let addresses = self
            .received
            .values()
            .flat_map(|received| received.to_probe.addresses.clone());
        let names = self
            .received
            .iter()
            .map(|(region, received)| (region, &received.names));
        let directory = Directory::for_witness(
            Arc::clone(&self.topology),
            addresses.collect(),
            elsewhere(names),
        );
        self.engine.follow(Arc::new(directory));
        self.own_reports.retain(&self.checks);
        self.engine.set_checks(&self.checks);
        self.send();
    }

    fn record(&mut self, finished: Finished) {
        let current = self.checks.get(&finished.check.id);
        if current.is_none_or(|current| **current != *finished.check) {
            return;
        }
        let Finished {
            check,
            threshold,
            outcome,
        } = finished;
        match self
            .own_reports
            .record(&check, threshold, outcome, self.clock.now())
        {
            Change::Time => {
                self.flush.get_or_insert_with(|| Instant::now() + COARSE);
            }
            Change::Result => self.send(),
        }
    }

    fn send(&mut self) {
        self.flush = None;
        let health = health_message(&self.own_reports, &Quorum::default());
        self.mesh.publish(HEALTH_TOPIC, write(&health));
    }
}

/// The newest version of each check in the nodes' messages.
fn checks<'a>(sent: impl Iterator<Item = &'a ToProbe>, before: &CheckMap) -> CheckMap {
    let mut checks = CheckMap::new();
    for check in sent.flat_map(|sent| &sent.checks) {
        let newer = checks
            .get(&check.id)
            .is_none_or(|known: &Arc<_>| known.version < check.version);
        if newer {
            let same = before.get(&check.id).filter(|known| ***known == *check);
            let check = same.map_or_else(|| Arc::new(check.clone()), Arc::clone);
            checks.insert(check.id.clone(), check);
        }
    }
    checks
}
