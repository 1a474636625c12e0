//! The node's end: follows control's snapshots, and reports the actual state.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::address::{Address, Wire};
use super::frame;
use super::message::{Answer, Question, UpRef};
use super::outbox::Batch;
use super::report::MOST_CHANGED;
use super::{Down, Outbox, Report, SnapshotFile, Up};
use crate::{NodeId, NodeQueries, Observed, ObservedReceiver, Snapshot};

/// Between two tries to reach control, at first.
const RETRY: Duration = Duration::from_millis(50);
/// The longest pause after a connection that was made and ended soon: control refuses this node, or another one has its name.
/// Each costs a proof of keys and a whole snapshot.
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// The longest pause while no process listens on a socket of this machine: a try costs nothing.
const LONGEST_RETRY_HERE: Duration = Duration::from_millis(200);
/// A connection that lasted for so long has not been refused.
const STEADY: Duration = Duration::from_secs(5);
/// How long a starting node waits for control before it starts from what it kept: usually both start at the
/// same time, and what control says is newer.
const GRACE: Duration = Duration::from_secs(3);
/// How long a connection may take, and the proofs at its beginning.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that are being answered, and answers on their way.
const ANSWERS: usize = super::control::QUESTIONS;

/// Where the newest snapshot is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// There is none: nothing may be obeyed.
    Nothing,
    /// What was kept on disk. It may lack what control ordered last: nothing that it does not name may be
    /// destroyed for good.
    Disk,
    /// Control.
    Control,
}

/// Follows control, wherever it comes and goes.
pub struct Follower {
    /// Where control listens.
    pub control: Address,
    /// Whose node this is.
    pub region: String,
    /// Which of its nodes.
    pub node: NodeId,
    /// The last snapshot of a predecessor.
    pub kept: SnapshotFile,
    /// Gets the snapshots. What it holds before there is a source must not be obeyed.
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    /// Says where the newest snapshot is from.
    pub source: watch::Sender<Source>,
    /// What to tell.
    pub observed: ObservedReceiver,
    /// What was measured.
    pub outbox: Arc<Outbox>,
    /// Who answers control's questions about instances.
    pub queries: Arc<dyn NodeQueries>,
    /// The data plane's counters, once it runs.
    pub metrics: watch::Receiver<Option<Metrics>>,
}

/// A reader of counters as Prometheus text.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("control", &self.control)
            .field("region", &self.region)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// What is known of control over one connection.
#[derive(Default)]
struct OtherEnd {
    /// It has what was measured.
    taken: Notify,
    /// It takes what changed of observations.
    takes_reports: AtomicBool,
    /// Control has sent its desired state: observations from now on answer that.
    begun: Notify,
}

impl Follower {
    /// Follows until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let began = Instant::now();
        let looked_at_disk = AtomicBool::new(false);
        let mut said = false;
        let mut pause = RETRY;
        loop {
            let mut connected = None;
            let connection = async {
                let connect = tokio::time::timeout(PATIENCE, self.control.connect());
                let stream = connect.await.unwrap_or_else(|late| Err(late.into()))?;
                connected = Some(Instant::now());
                self.connection(stream).await
            };
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = connection => ended,
                () = self.start_from_disk(began, &looked_at_disk) => continue,
            };
            let longest = match (connected, &self.control) {
                (None, Address::Socket(_)) => LONGEST_RETRY_HERE,
                _ => LONGEST_RETRY,
            };
            if connected.is_some_and(|since| since.elapsed() >= STEADY) {
                (said, pause) = (false, RETRY);
            }
            // Once for each time that control goes away.
            if let Err(error) = ended
                && !std::mem::replace(&mut said, true)
            {
                tracing::info!(region = self.region, %error, "control is away: going on with what it said last");
            }
            pause = pause.min(longest);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.start_from_disk(began, &looked_at_disk) => {}
            }
            pause *= 2;
        }
    }

    /// Ends once, when control has not come in time and there is something to start from. Looks once: what cannot be used
    /// does not become usable, and control tells better.
    async fn start_from_disk(&self, began: Instant, looked: &AtomicBool) {
        let mut source = self.source.subscribe();
        if *source.borrow_and_update() == Source::Nothing {
            tokio::time::sleep_until(began + GRACE).await;
            if *source.borrow_and_update() == Source::Nothing
                && !looked.swap(true, Ordering::Relaxed)
                && let Some(snapshot) = self.kept.load(&self.region)
            {
                tracing::warn!(
                    region = self.region,
                    version = snapshot.version,
                    "control does not come: starting from the last snapshot"
                );
                self.snapshots.send_replace(Arc::new(snapshot));
                self.source.send_replace(Source::Disk);
                return;
            }
        }
        std::future::pending().await
    }

    async fn connection(&self, stream: Wire) -> io::Result<()> {
        let (reader, mut writer) = split(stream);
        let (region, node) = (self.region.clone(), self.node.clone());
        frame::write(&mut writer, &Up::Hello { region, node }).await?;
        let (answers, queue) = mpsc::channel(ANSWERS);
        let control = OtherEnd::default();
        tokio::select! {
            ended = self.hear(reader, answers, &control) => ended,
            ended = self.send_observed(writer, queue, &control) => ended,
        }
    }

    async fn hear(
        &self,
        mut reader: ReadHalf<Wire>,
        answers: mpsc::Sender<Up>,
        control: &OtherEnd,
    ) -> io::Result<()> {
        let mut first = true;
        let places = Arc::new(Semaphore::new(ANSWERS));
        loop {
            match frame::read::<Down>(&mut reader).await? {
                Down::Snapshot(delta) => {
                    let begins = std::mem::take(&mut first);
                    if begins && !delta.is_whole() {
                        let text = "the first snapshot of a connection is not whole";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                    }
                    if delta.takes_reports() {
                        control.takes_reports.store(true, Ordering::Relaxed);
                    }
                    let known = Arc::clone(&self.snapshots.borrow());
                    self.snapshots.send_replace(Arc::new(delta.apply(&known)));
                    self.source.send_if_modified(|source| {
                        std::mem::replace(source, Source::Control) != Source::Control
                    });
                    if begins {
                        control.begun.notify_one();
                    }
                }
                Down::Taken => control.taken.notify_one(),
                Down::Ask { number, question } => {
                    // Who asks more than that gets no answer to it: none waits without bound for a control that does not read.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        continue;
                    };
                    let (answers, answer) = (answers.clone(), self.answer(question));
                    tokio::spawn(async move {
                        let answer = answer.await;
                        // Without a connection the answer has no reader.
                        drop(answers.send(Up::Answer { number, answer }).await);
                        drop(place);
                    });
                }
            }
        }
    }

    fn answer(&self, question: Question) -> BoxFuture<'static, Answer> {
        match question {
            Question::Console(instance) => {
                let queries = Arc::clone(&self.queries);
                Box::pin(async move { Answer::Console(queries.console_output(&instance).await) })
            }
            Question::Invoke(invocation) => {
                let queries = Arc::clone(&self.queries);
                Box::pin(async move { Answer::Invoked(queries.invoke(*invocation).await) })
            }
            Question::Metrics => {
                let metrics = self.metrics.borrow().clone();
                let dropped = self.outbox.dropped();
                Box::pin(async move {
                    let text = metrics.map(|metrics| metrics()).unwrap_or_default();
                    Answer::Metrics(format!(
                        "{text}# HELP lath_telemetry_dropped_total Access log records and samples dropped while control was away.\n# TYPE lath_telemetry_dropped_total counter\nlath_telemetry_dropped_total {dropped}\n"
                    ))
                })
            }
        }
    }

    async fn send_observed(
        &self,
        mut writer: WriteHalf<Wire>,
        mut answers: mpsc::Receiver<Up>,
        control: &OtherEnd,
    ) -> io::Result<()> {
        let mut observed = self.observed.clone();
        observed.mark_changed();
        let (mut begun, mut observing) = (false, true);
        let mut said: Option<Arc<Observed>> = None;
        let mut changed_bytes = 0;
        // Goes back to the outbox when the connection ends before control has it.
        let mut sent: Option<Batch<'_>> = None;
        loop {
            let message = tokio::select! {
                () = control.begun.notified(), if !begun => {
                    begun = true;
                    continue;
                }
                changed = observed.changed(), if observing && begun => {
                    // The node is being taken apart; what it measured last still goes.
                    observing = changed.is_ok();
                    let newest = Arc::clone(&observed.borrow_and_update());
                    // Nothing is known yet: what control heard from a predecessor is nearer the truth.
                    if !observing || *newest == Observed::default() {
                        continue;
                    }
                    // Control may have an older state than before, such as one from a backup. What the network and the names
                    // made of the newer one is no answer to it. Versions of single services are not compared here.
                    let wanted = self.snapshots.borrow().version;
                    if newest.applied_version.max(newest.dns_version) > wanted {
                        continue;
                    }
                    let takes_reports = control.takes_reports.load(Ordering::Relaxed);
                    if let Some(known) = said.replace(Arc::clone(&newest))
                        && takes_reports
                    {
                        let report = Box::new(Report::between(&known, &newest));
                        let frame = frame::encode(&Up::Changed(report))?;
                        changed_bytes += frame.len();
                        if changed_bytes <= MOST_CHANGED {
                            frame::send(&mut writer, &frame).await?;
                            continue;
                        }
                    }
                    changed_bytes = 0;
                    Up::Observed(newest)
                }
                Some(answer) = answers.recv() => answer,
                () = control.taken.notified() => {
                    if let Some(batch) = sent.take() {
                        batch.taken();
                    }
                    continue;
                }
                batch = self.outbox.next(), if sent.is_none() => {
                    let batch = sent.insert(batch);
                    frame::write(&mut writer, &UpRef::Telemetry(&batch.events)).await?;
                    continue;
                }
            };
            frame::write(&mut writer, &message).await?;
        }
    }
}
