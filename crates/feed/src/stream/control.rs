//! Control's end: takes the node's connection, tells it snapshots, and hears what is so.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lath_model::id::InstanceId;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::frame;
use super::message::{Answer, Event, Question};
use super::{Delta, Down, Up};
use crate::telemetry::Sink;
use crate::{ConsoleOutput, NodeQueries, Observed, SnapshotReceiver};

/// How long an answer of the node, or its first word, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that have not said whose they are; further ones wait.
const GREETINGS: usize = 8;
/// After a failure to accept.
const PAUSE: Duration = Duration::from_secs(1);
/// Questions on their way; further ones are answered with nothing.
const QUESTIONS: usize = 256;

/// The node at the other end of the stream.
#[derive(Debug, Clone)]
pub struct RemoteNode {
    asks: mpsc::Sender<Ask>,
    connected: Arc<watch::Sender<bool>>,
}

/// What [`serve`] needs to answer a [`RemoteNode`]'s questions.
#[derive(Debug)]
pub struct Asks {
    queue: mpsc::Receiver<Ask>,
    connected: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
struct Ask {
    question: Question,
    answer: oneshot::Sender<Answer>,
}

impl RemoteNode {
    /// A node that is not there yet, and what [`serve`] needs to reach it.
    pub fn new() -> (Self, Asks) {
        let (asks, queue) = mpsc::channel(QUESTIONS);
        let connected = Arc::new(watch::Sender::new(false));
        let other = Arc::clone(&connected);
        let this = Self { asks, connected };
        (
            this,
            Asks {
                queue,
                connected: other,
            },
        )
    }

    /// Whether a node is connected.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// The data plane's counters as Prometheus text; `None` when the node does not answer.
    pub async fn metrics(&self) -> Option<String> {
        match self.ask(Question::Metrics).await? {
            Answer::Metrics(text) => Some(text),
            Answer::Console(_) => None,
        }
    }

    async fn ask(&self, question: Question) -> Option<Answer> {
        if !self.is_connected() {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask { question, answer }).ok()?;
        tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()
    }
}

#[async_trait]
impl NodeQueries for RemoteNode {
    async fn console_output(&self, instance: &InstanceId) -> Option<ConsoleOutput> {
        match self.ask(Question::Console(instance.clone())).await? {
            Answer::Console(output) => output,
            Answer::Metrics(_) => None,
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

/// Serves the node of `region` until `stop`. A newer connection takes an older one's place.
pub async fn serve(
    listener: UnixListener,
    asks: Asks,
    snapshots: SnapshotReceiver,
    observed: watch::Sender<Arc<Observed>>,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) {
    let Asks { queue, connected } = asks;
    let end = Arc::new(End {
        queue: tokio::sync::Mutex::new(queue),
        connected,
        snapshots,
        observed,
        sink,
    });
    let (mut connections, mut greeting) = (JoinSet::new(), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(greeted) = greeting.join_next() => {
                // Only who says that it is the node takes the old connection's place.
                if let Ok(Some(stream)) = greeted {
                    connections.shutdown().await;
                    connections.spawn(Arc::clone(&end).connection(stream));
                }
                continue;
            }
            accepted = listener.accept(), if greeting.len() < GREETINGS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                greeting.spawn(Arc::clone(&end).greeted(stream));
            }
            Err(error) => {
                tracing::warn!(%error, "the node's connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

struct End {
    /// Locked by the one connection there is.
    queue: tokio::sync::Mutex<mpsc::Receiver<Ask>>,
    connected: Arc<watch::Sender<bool>>,
    snapshots: SnapshotReceiver,
    observed: watch::Sender<Arc<Observed>>,
    sink: Arc<dyn Sink>,
}

/// Questions that the node has not answered yet.
type Pending = Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>;

/// Whatever way a connection ends.
struct Connected<'a>(&'a watch::Sender<bool>);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl End {
    /// The connection of who says in time that it is the region's node.
    async fn greeted(self: Arc<Self>, mut stream: UnixStream) -> Option<UnixStream> {
        let region = self.snapshots.borrow().region.clone();
        let hello = tokio::time::timeout(PATIENCE, frame::read::<Up>(&mut stream));
        match hello.await {
            Ok(Ok(Up::Hello { region: its })) if its == region => return Some(stream),
            Ok(Ok(other)) => {
                tracing::error!(region, said = ?other, "somebody else than the region's node connected");
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection ended before it said whose it is");
            }
            Err(_) => tracing::warn!(region, "a connection did not say whose it is"),
        }
        None
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let (reader, writer) = stream.into_split();
        let region = self.snapshots.borrow().region.clone();
        let _connected = Connected(&self.connected);
        self.connected.send_replace(true);
        tracing::debug!(region, "the node is connected");
        let pending = Pending::default();
        let taken = Notify::new();
        let ended = tokio::select! {
            ended = self.tell(writer, &pending, &taken) => ended,
            ended = self.hear(reader, &pending, &taken) => ended,
        };
        if let Err(error) = ended {
            tracing::info!(region, %error, "the node's connection ended");
        }
    }

    async fn tell(
        &self,
        mut writer: OwnedWriteHalf,
        pending: &Pending,
        taken: &Notify,
    ) -> io::Result<()> {
        let mut queue = self.queue.lock().await;
        let mut snapshots = self.snapshots.clone();
        let mut told = Arc::clone(&snapshots.borrow_and_update());
        let whole = Delta::between(None, &told);
        frame::write(&mut writer, &Down::Snapshot(Box::new(whole))).await?;
        let mut numbers = 0;
        loop {
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let next = Arc::clone(&snapshots.borrow_and_update());
                    let delta = Delta::between(Some(&told), &next);
                    told = next;
                    frame::write(&mut writer, &Down::Snapshot(Box::new(delta))).await?;
                }
                () = taken.notified() => frame::write(&mut writer, &Down::Taken).await?,
                Some(Ask { question, answer }) = queue.recv() => {
                    // Whoever asked may have lost patience before the node came.
                    if answer.is_closed() {
                        continue;
                    }
                    numbers += 1;
                    lock(pending).insert(numbers, answer);
                    let ask = Down::Ask { number: numbers, question };
                    frame::write(&mut writer, &ask).await?;
                }
            }
        }
    }

    async fn hear(
        &self,
        mut reader: OwnedReadHalf,
        pending: &Pending,
        taken: &Notify,
    ) -> io::Result<()> {
        loop {
            match frame::read::<Up>(&mut reader).await? {
                Up::Hello { .. } => {}
                Up::Observed(observed) => drop(self.observed.send_replace(observed)),
                Up::Telemetry(events) => {
                    events.into_iter().for_each(|event| self.sink(event));
                    // One batch at a time is on its way: no notice is lost to another.
                    taken.notify_one();
                }
                Up::Answer { number, answer } => {
                    let asked = lock(pending).remove(&number);
                    // Whoever asked may have lost patience.
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

fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Answer>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}
