//! Control's end: takes the nodes' connections, sends them snapshots, and receives their observations.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lath_model::id::InstanceId;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::address::{Caller, Listener, Proof, Wire};
use super::frame::{self, FrameError, MAX_FRAME};
use super::message::{Answer, Event, Question};
use super::report::MOST_CHANGED;
use super::{Delta, Down, Up};
use crate::slice::Slicer;
use crate::telemetry::Sink;
use crate::{
    ConsoleOutput, Invocation, Invoked, Merged, NodeId, NodeQueries, Observed, Placement,
    SnapshotReceiver,
};

/// How long an answer of the node, or its first word, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the answer to an invocation is waited for: the longest timeout, and what it takes to begin.
const LONGEST_INVOCATION: Duration = Duration::from_secs(900 + 60);
/// Connections that have not said whose they are; further ones wait.
const GREETINGS: usize = 8;
/// Those of one address; further ones are closed.
const GREETINGS_OF_ONE: usize = 2;
/// After a failure to accept.
const PAUSE: Duration = Duration::from_secs(1);
/// The most bytes of the first word.
const LONGEST_HELLO: usize = 1024;
/// Questions on their way, and those that wait for an answer; further ones are answered with nothing.
pub(super) const QUESTIONS: usize = 256;

/// The nodes at the other ends of the stream.
#[derive(Debug, Clone, Default)]
pub struct RemoteNodes {
    connected: Arc<watch::Sender<Connections>>,
}

/// By node: the newest connection's number, and its questions.
type Connections = BTreeMap<NodeId, (u64, mpsc::Sender<Ask>)>;

#[derive(Debug)]
struct Ask {
    question: Question,
    answer: oneshot::Sender<Answer>,
}

impl RemoteNodes {
    /// Whether a node is connected.
    pub fn is_connected(&self) -> bool {
        !self.connected.borrow().is_empty()
    }

    /// The nodes that are connected.
    pub fn names(&self) -> Vec<NodeId> {
        self.connected.borrow().keys().cloned().collect()
    }

    /// The data plane's counters as Prometheus text, of each node that answers.
    pub async fn metrics(&self) -> Vec<(NodeId, String)> {
        let mut all = Vec::new();
        for (node, answer) in self.ask(Question::Metrics).await {
            if let Answer::Metrics(text) = answer {
                all.push((node, text));
            }
        }
        all
    }

    /// The same as one text; `None` when no node answers. Where there are several, their samples say whose they are.
    pub async fn metrics_text(&self) -> Option<String> {
        let mut all = self.metrics().await;
        match all.len() {
            0 => None,
            1 => all.pop().map(|(_, text)| text),
            _ => Some(labelled(&all)),
        }
    }

    /// Asks every node at once.
    async fn ask(&self, question: Question) -> Vec<(NodeId, Answer)> {
        let connected = self.connected.borrow().clone();
        let ask = |(node, (_, asks)): (NodeId, (u64, mpsc::Sender<Ask>))| {
            let (answer, answered) = oneshot::channel();
            let question = question.clone();
            let sent = asks.try_send(Ask { question, answer }).is_ok();
            async move {
                let answered = tokio::time::timeout(PATIENCE, answered);
                let answer = if sent {
                    answered.await.ok()?.ok()?
                } else {
                    return None;
                };
                Some((node, answer))
            }
        };
        let answers = futures::future::join_all(connected.into_iter().map(ask)).await;
        answers.into_iter().flatten().collect()
    }
}

/// Prometheus text of several nodes: what describes a metric stands there once, and each sample has a label.
fn labelled(all: &[(NodeId, String)]) -> String {
    let mut described = BTreeSet::new();
    let mut text = String::new();
    for (node, lines) in all {
        for line in lines.lines() {
            if line.starts_with('#') {
                if described.insert(line) {
                    text.push_str(line);
                    text.push('\n');
                }
                continue;
            }
            let label = format!("node=\"{node}\"");
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
            let line = match rest.strip_prefix('{') {
                Some(rest) => format!("{name}{{{label},{rest}\n"),
                None => format!("{name}{{{label}}}{rest}\n"),
            };
            text.push_str(&line);
        }
    }
    text
}

#[async_trait]
impl NodeQueries for RemoteNodes {
    async fn console_output(&self, instance: &InstanceId) -> Option<ConsoleOutput> {
        let answers = self.ask(Question::Console(instance.clone())).await;
        let outputs = answers.into_iter().filter_map(|(_, answer)| match answer {
            Answer::Console(output) => output,
            Answer::Metrics(_) | Answer::Invoked(_) => None,
        });
        // An instance that moved has left something on its former node.
        outputs.max_by_key(|output| output.at)
    }

    /// Functions run on the node that has what no VPC places.
    async fn invoke(&self, invocation: Invocation) -> Option<Invoked> {
        let connected = self.connected.borrow().get(&NodeId::default()).cloned();
        let (_, asks) = connected?;
        let (answer, answered) = oneshot::channel();
        let question = Question::Invoke(Box::new(invocation));
        asks.try_send(Ask { question, answer }).ok()?;
        match tokio::time::timeout(LONGEST_INVOCATION, answered).await {
            Ok(Ok(Answer::Invoked(invoked))) => invoked,
            _ => None,
        }
    }
}

/// Listens at `path`, only for this user. What is there is replaced: it is a dead predecessor's.
///
/// # Errors
/// When the socket cannot be made, such as where its path is longer than a socket's may be.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves a region's nodes until `stop`, each with what the placement says is its. A node's newer connection takes its older
/// one's place.
pub async fn serve(
    listeners: Vec<Listener>,
    nodes: RemoteNodes,
    snapshots: SnapshotReceiver,
    placement: watch::Receiver<Placement>,
    observed: watch::Sender<Arc<Observed>>,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) {
    let end = Arc::new(End {
        nodes,
        snapshots,
        placement,
        said: Mutex::default(),
        said_more: Notify::new(),
        sink,
    });
    let mut connections: BTreeMap<NodeId, JoinSet<()>> = BTreeMap::new();
    let (greeted_tx, mut greeted) = mpsc::channel(1);
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(Arc::clone(&end).accept(listener, greeted_tx.clone()));
    }
    doors.spawn(merge(Arc::clone(&end), observed));
    let mut number = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(greeted) = greeted.recv() => {
                let greeted: Greeted = greeted;
                // What is left of nodes that have gone.
                connections.retain(|_, its| {
                    while its.try_join_next().is_some() {}
                    !its.is_empty()
                });
                // Only who says that it is the node takes the old connection's place.
                let of_node = connections.entry(greeted.node.clone()).or_default();
                of_node.shutdown().await;
                number += 1;
                of_node.spawn(Arc::clone(&end).connection(number, greeted));
            }
        }
    }
}

/// Says what the nodes say together, whenever one says something else.
async fn merge(end: Arc<End>, observed: watch::Sender<Arc<Observed>>) {
    let mut placement = end.placement.clone();
    let mut expected = placement.borrow_and_update().nodes();
    loop {
        let (merged, next) = {
            let (mut said, now) = (lock(&end.said), Instant::now());
            for node in std::mem::take(&mut expected) {
                said.expect(&node, now);
            }
            (said.observed(now), said.next())
        };
        observed.send_if_modified(|known| {
            let differs = !Arc::ptr_eq(known, &merged);
            *known = merged;
            differs
        });
        let expiry = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = end.said_more.notified() => {}
            () = expiry => {}
            Ok(()) = placement.changed() => expected = placement.borrow_and_update().nodes(),
        }
    }
}

/// A connection of a node of this region.
struct Greeted {
    node: NodeId,
    stream: Wire,
    proof: Option<Proof>,
}

struct End {
    nodes: RemoteNodes,
    snapshots: SnapshotReceiver,
    placement: watch::Receiver<Placement>,
    said: Mutex<Merged>,
    said_more: Notify,
    sink: Arc<dyn Sink>,
}

/// Questions that the node has not answered yet.
type Pending = Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>;

/// Notes who waits for an answer; whether there was a place. A node that never answers must not hold its callers for ever.
fn await_answer(
    pending: &mut BTreeMap<u64, oneshot::Sender<Answer>>,
    number: u64,
    asked: oneshot::Sender<Answer>,
) -> bool {
    pending.retain(|_, asked| !asked.is_closed());
    if pending.len() >= QUESTIONS {
        return false;
    }
    pending.insert(number, asked);
    true
}

/// Whatever way a connection ends, its node is not connected any more, unless by a newer one.
struct Connected<'a> {
    end: &'a End,
    node: &'a NodeId,
    number: u64,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let gone = self.end.nodes.connected.send_if_modified(|connected| {
            let own = connected.get(self.node);
            let own = own.is_some_and(|(number, _)| *number == self.number);
            own && connected.remove(self.node).is_some()
        });
        if gone {
            lock(&self.end.said).go(self.node, Instant::now());
            self.end.said_more.notify_one();
        }
    }
}

impl End {
    /// Takes connections. Each door has its own places for those that have not proven anything, and each source few of
    /// them: strangers keep neither the nodes of this machine out nor those of others.
    async fn accept(self: Arc<Self>, listener: Listener, greeted: mpsc::Sender<Greeted>) {
        let mut greeting = JoinSet::new();
        let mut sources: BTreeMap<Option<IpAddr>, usize> = BTreeMap::new();
        loop {
            let caller = tokio::select! {
                Some(done) = greeting.join_next() => {
                    let Ok((source, node)) = done else { continue };
                    match sources.get_mut(&source) {
                        Some(open) if *open > 1 => *open -= 1,
                        _ => drop(sources.remove(&source)),
                    }
                    if let Some(node) = node && greeted.send(node).await.is_err() {
                        return;
                    }
                    continue;
                }
                accepted = listener.accept(), if greeting.len() < GREETINGS => accepted,
            };
            let caller = match caller {
                Ok(caller) => caller,
                Err(error) => {
                    tracing::warn!(%error, "a node's connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let source = caller.source();
            let open = sources.entry(source).or_default();
            if source.is_some() && *open >= GREETINGS_OF_ONE {
                continue;
            }
            *open += 1;
            let end = Arc::clone(&self);
            greeting.spawn(async move { (source, end.greeted(caller).await) });
        }
    }

    /// The connection of who proves in time what it must, and says that it is a node of this region.
    async fn greeted(self: Arc<Self>, caller: Caller) -> Option<Greeted> {
        let region = self.snapshots.borrow().region.clone();
        let hello = async {
            let (mut stream, proof) = caller.proven().await?;
            let hello = frame::read_body(&mut stream, LONGEST_HELLO).await?;
            io::Result::Ok((frame::decode::<Up>(&hello)?, stream, proof))
        };
        match tokio::time::timeout(PATIENCE, hello).await {
            Ok(Ok((Up::Hello { region: its, node }, stream, proof)))
                if its == region
                    && node.is_valid()
                    && proof.as_ref().is_none_or(|proof| proof.node == node) =>
            {
                let greeted = Greeted {
                    node,
                    stream,
                    proof,
                };
                return Some(greeted);
            }
            Ok(Ok((other, ..))) => {
                tracing::error!(region, said = ?other, "somebody else than the region's node connected");
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection ended before it said whose it is");
            }
            Err(_) => tracing::warn!(region, "a connection did not say whose it is"),
        }
        None
    }

    async fn connection(self: Arc<Self>, number: u64, greeted: Greeted) {
        let Greeted {
            node,
            stream,
            mut proof,
        } = greeted;
        let revoked = async {
            match &mut proof {
                Some(proof) => proof.revoked().await,
                None => std::future::pending().await,
            }
        };
        let (reader, writer) = split(stream);
        let region = self.snapshots.borrow().region.clone();
        let (asks, queue) = mpsc::channel(QUESTIONS);
        let _connected = Connected {
            end: &self,
            node: &node,
            number,
        };
        self.nodes.connected.send_modify(|connected| {
            connected.insert(node.clone(), (number, asks));
        });
        lock(&self.said).come(&node);
        tracing::debug!(region, node.id = %node, "a node is connected");
        let pending = Pending::default();
        let taken = Notify::new();
        let ended = tokio::select! {
            ended = self.send_snapshots(&node, writer, queue, &pending, &taken) => ended,
            ended = self.hear(&node, reader, &pending, &taken) => ended,
            () = revoked => Err(io::Error::other("its key is not known any more")),
        };
        match ended {
            Err(error) if is_too_long(&error) => {
                tracing::error!(region, node.id = %node, %error, "a message between control and a node is too long to be sent");
            }
            Err(error) => {
                tracing::info!(region, node.id = %node, %error, "a node's connection ended")
            }
            Ok(()) => {}
        }
    }

    async fn send_snapshots(
        &self,
        node: &NodeId,
        mut writer: WriteHalf<Wire>,
        mut queue: mpsc::Receiver<Ask>,
        pending: &Pending,
        taken: &Notify,
    ) -> io::Result<()> {
        let mut snapshots = self.snapshots.clone();
        let mut placement = self.placement.clone();
        let placed = placement.borrow_and_update().clone();
        let mut slicer = Slicer::new(node.clone(), placed);
        let first = Arc::clone(&snapshots.borrow_and_update());
        let mut sent = slicer.follow(&first);
        let whole = Delta::between(None, &sent);
        frame::write(&mut writer, &Down::Snapshot(Box::new(whole))).await?;
        let mut numbers = 0;
        loop {
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() {
                    return Ok(());
                },
                Ok(()) = placement.changed() => {
                    let placed = placement.borrow_and_update().clone();
                    slicer.place(placed);
                }
                () = taken.notified() => {
                    frame::write(&mut writer, &Down::Taken).await?;
                    continue;
                }
                Some(Ask { question, answer }) = queue.recv() => {
                    // The caller may have given up before the node came.
                    if answer.is_closed() {
                        continue;
                    }
                    numbers += 1;
                    if !await_answer(&mut lock(pending), numbers, answer) {
                        continue;
                    }
                    let ask = Down::Ask { number: numbers, question };
                    frame::write(&mut writer, &ask).await?;
                    continue;
                }
            }
            let whole = Arc::clone(&snapshots.borrow_and_update());
            let next = slicer.follow(&whole);
            let delta = Delta::between(Some(&sent), &next);
            sent = next;
            frame::write(&mut writer, &Down::Snapshot(Box::new(delta))).await?;
        }
    }

    async fn hear(
        &self,
        node: &NodeId,
        mut reader: ReadHalf<Wire>,
        pending: &Pending,
        taken: &Notify,
    ) -> io::Result<()> {
        let (mut has_said, mut changed_bytes) = (false, 0);
        loop {
            let body = frame::read_body(&mut reader, MAX_FRAME).await?;
            match frame::decode::<Up>(&body)? {
                Up::Hello { .. } => {}
                // What a node said over another connection is nothing that changes could follow.
                Up::Changed(_) if !has_said => {
                    let text = "the first observation of a connection is not whole";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                Up::Changed(report) => {
                    changed_bytes += body.len();
                    if changed_bytes > MOST_CHANGED {
                        let text = "too many changes since the last whole observation";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                    }
                    lock(&self.said).change(node, *report);
                    self.said_more.notify_one();
                }
                Up::Observed(observed) => {
                    (has_said, changed_bytes) = (true, 0);
                    lock(&self.said).observe(node, observed);
                    self.said_more.notify_one();
                }
                Up::Telemetry(events) => {
                    events.into_iter().for_each(|event| self.sink(event));
                    // One batch at a time is on its way: no notice is lost to another.
                    taken.notify_one();
                }
                Up::Answer { number, answer } => {
                    let asked = lock(pending).remove(&number);
                    // The caller may have given up.
                    asked.map(|asked| asked.send(answer));
                }
            }
            lock(pending).retain(|_, asked| !asked.is_closed());
        }
    }

    fn sink(&self, event: Event) {
        match event {
            Event::AccessLog(record) => self.sink.access_log(*record),
            Event::LogLines(lines) => self.sink.log_lines(*lines),
            Event::Metric(sample) => self.sink.metric(*sample),
        }
    }
}

fn is_too_long(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    matches!(inner, Some(FrameError::TooLong(_)))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
