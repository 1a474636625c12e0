use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::{Mesh, PeerState, Topology};
use lath_model::Timestamp;
use lath_net::Network;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::board::{Board, CheckMap, News};
use crate::checks::{elsewhere, told};
use crate::directory::Directory;
use crate::engine::{Engine, Finished, Thread};
use crate::probe::Tools;
use crate::quorum::Quorum;
use crate::tls::Tls;
use crate::told::{CHECKS_TOPIC, HEALTH_TOPIC, NAMES_TOPIC, Names, ToProbe, read, write};

const COARSE: Duration = Duration::from_secs(2);

/// An observer without a region: it probes what nodes tell it to, and reports. It judges nothing.
#[derive(Debug)]
pub struct Witness;

/// A running witness. Dropped, it ends at once.
pub struct WitnessHandle {
    thread: Thread,
}

impl WitnessHandle {
    /// Ends the thread; probes that run are given up.
    pub async fn shutdown(&self) {
        self.thread.shutdown().await;
    }
}

impl Witness {
    /// Probes what the nodes behind `mesh` tell, at most `most_running` at once.
    ///
    /// # Errors
    /// The thread, its runtime or TLS could not be made.
    pub fn start(
        network: Arc<dyn Network>,
        topology: Arc<Topology>,
        mesh: Mesh,
        most_running: usize,
    ) -> io::Result<WitnessHandle> {
        let tls = Tls::new().map_err(io::Error::other)?;
        let begin = move |stopped| async move {
            let tools = Tools { network, tls };
            Observer::new(tools, topology, mesh, most_running)
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
    board: Board,
    /// What was read last.
    heard: BTreeMap<String, Heard>,
    flush: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
struct Heard {
    bytes: [Option<bytes::Bytes>; 2],
    to_probe: ToProbe,
    names: Names,
}

impl Observer {
    fn new(tools: Tools, topology: Arc<Topology>, mesh: Mesh, most: usize) -> Self {
        let directory = Directory::told(Arc::clone(&topology), BTreeMap::new(), BTreeMap::new());
        let (engine, finished) = Engine::new(tools, directory, most);
        Self {
            topology,
            peers: mesh.peers(),
            mesh,
            checks: CheckMap::new(),
            engine,
            finished,
            board: Board::default(),
            heard: BTreeMap::new(),
            flush: None,
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        self.hear();
        let mut carried = true;
        loop {
            let flush = self.flush;
            tokio::select! {
                _ = &mut stopped => return,
                changed = self.peers.changed(), if carried => {
                    carried = changed.is_ok();
                    self.hear();
                }
                Some(finished) = self.finished.recv() => self.take_in(finished),
                () = sleep_until(flush.unwrap_or_else(Instant::now)), if flush.is_some() => self.tell(),
            }
        }
    }

    /// Takes in what nodes tell. What a node told that does not answer now still holds: the others may be
    /// waiting for a second opinion on exactly its endpoints.
    fn hear(&mut self) {
        let peers = Arc::clone(&self.peers.borrow_and_update());
        let mut changed = false;
        for (region, peer) in &*peers {
            let bytes = [CHECKS_TOPIC, NAMES_TOPIC].map(|topic| peer.values.get(topic).cloned());
            let heard = self.heard.entry(region.clone()).or_default();
            if heard.bytes != bytes {
                heard.to_probe = read(bytes[0].as_ref());
                heard.names = read(bytes[1].as_ref());
                heard.bytes = bytes;
                changed = true;
            }
        }
        if changed || self.checks.is_empty() {
            self.obey(&peers);
        }
    }

    fn obey(&mut self, peers: &BTreeMap<String, PeerState>) {
        let is_connected = |region: &String| peers.get(region).is_some_and(|peer| peer.connected);
        let anyone = self.heard.keys().any(is_connected);
        let trusted = |region: &String| !anyone || is_connected(region);
        let heard = self.heard.iter().filter(|(region, _)| trusted(region));
        self.checks = checks(heard.map(|(_, heard)| &heard.to_probe), &self.checks);
        let addresses = self
            .heard
            .values()
            .flat_map(|heard| heard.to_probe.addresses.clone());
        let names = self
            .heard
            .iter()
            .map(|(region, heard)| (region, &heard.names));
        let directory = Directory::told(
            Arc::clone(&self.topology),
            addresses.collect(),
            elsewhere(names),
        );
        self.engine.follow(Arc::new(directory));
        self.board.obey(&self.checks);
        self.engine.obey(&self.checks);
        self.tell();
    }

    fn take_in(&mut self, finished: Finished) {
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
            .board
            .take_in(&check, threshold, outcome, Timestamp::now())
        {
            News::Time => {
                self.flush.get_or_insert_with(|| Instant::now() + COARSE);
            }
            News::Result => self.tell(),
        }
    }

    fn tell(&mut self) {
        self.flush = None;
        let health = told(&self.board, &Quorum::default());
        self.mesh.tell(HEALTH_TOPIC, write(&health));
    }
}

/// The newest version of each check that anybody told.
fn checks<'a>(told: impl Iterator<Item = &'a ToProbe>, before: &CheckMap) -> CheckMap {
    let mut checks = CheckMap::new();
    for check in told.flat_map(|told| &told.checks) {
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
