//! One task for each endpoint check, all on one thread.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lath_feed::Route53HealthCheck;
use lath_model::id::HealthCheckId;
use rand::Rng as _;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::board::{CheckMap, probed};
use crate::directory::Directory;
use crate::probe::{Outcome, Tools, USUAL, probe};

/// A new check is looked at for the first time within this time (and within its interval).
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// A probe that is over.
pub(crate) struct Finished {
    pub(crate) check: Arc<Route53HealthCheck>,
    pub(crate) threshold: u32,
    pub(crate) outcome: Outcome,
}

/// Probes what it is told to.
pub(crate) struct Engine {
    tools: Rc<Tools>,
    room: Rc<Semaphore>,
    directory: watch::Sender<Arc<Directory>>,
    say: mpsc::UnboundedSender<Finished>,
    running: BTreeMap<HealthCheckId, Running>,
}

struct Running {
    check: Arc<Route53HealthCheck>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Engine {
    /// An engine of at most `most` probes at once, and where their outcomes arrive.
    pub(crate) fn new(
        tools: Tools,
        directory: Directory,
        most: usize,
    ) -> (Self, mpsc::UnboundedReceiver<Finished>) {
        let (say, finished) = mpsc::unbounded_channel();
        let engine = Self {
            tools: Rc::new(tools),
            room: Rc::new(Semaphore::new(most)),
            directory: watch::Sender::new(Arc::new(directory)),
            say,
            running: BTreeMap::new(),
        };
        (engine, finished)
    }

    /// The next probes find their way by this.
    pub(crate) fn follow(&self, directory: Arc<Directory>) {
        self.directory.send_replace(directory);
    }

    /// Probes these from now on, and nothing else. One that is the same as before is not disturbed.
    pub(crate) fn obey(&mut self, checks: &CheckMap) {
        self.running.retain(|id, running| {
            let check = checks.get(id).filter(|check| probed(check).is_some());
            check.is_some_and(|check| *check == running.check)
        });
        for (id, check) in checks.iter().filter(|(_, check)| probed(check).is_some()) {
            if !self.running.contains_key(id) {
                let running = self.start(check);
                self.running.insert(id.clone(), running);
            }
        }
    }

    fn start(&self, check: &Arc<Route53HealthCheck>) -> Running {
        let beat = Beat {
            tools: Rc::clone(&self.tools),
            room: Rc::clone(&self.room),
            directory: self.directory.subscribe(),
            say: self.say.clone(),
            check: Arc::clone(check),
        };
        Running {
            check: Arc::clone(check),
            task: tokio::task::spawn_local(beat.run()).abort_handle(),
        }
    }
}

/// One check's probes, one after the other.
struct Beat {
    tools: Rc<Tools>,
    room: Rc<Semaphore>,
    directory: watch::Receiver<Arc<Directory>>,
    say: mpsc::UnboundedSender<Finished>,
    check: Arc<Route53HealthCheck>,
}

impl Beat {
    async fn run(self) {
        let Some(endpoint) = probed(&self.check) else {
            return;
        };
        let span = FIRST_WITHIN.min(endpoint.interval);
        sleep(span.mul_f64(rand::rng().random_range(0.0..1.0))).await;
        loop {
            let Ok(room) = self.room.acquire().await else {
                return;
            };
            let started = Instant::now();
            let directory = Arc::clone(&self.directory.borrow());
            let outcome = probe(&self.tools, &directory, &self.check.id, endpoint).await;
            drop(room);
            let finished = Finished {
                check: Arc::clone(&self.check),
                threshold: endpoint.threshold,
                outcome,
            };
            if self.say.send(finished).is_err() {
                return;
            }
            // AWS counts from the response; below what AWS has, the beat does not wait for it.
            if endpoint.interval < USUAL {
                sleep_until(started + endpoint.interval).await;
            } else {
                sleep(endpoint.interval).await;
            }
        }
    }
}

/// A thread with a runtime of its own, which ends when this is dropped.
pub(crate) struct Thread {
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    /// Runs what `main` makes of the stop signal.
    ///
    /// # Errors
    /// The thread or its runtime could not be made.
    pub(crate) fn start<F>(
        name: &str,
        main: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async move { main(stopped).await });
                drop(local);
                // A name that the host's resolvers are still asked for holds up nothing.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends it and waits until it is gone; probes that run are given up.
    pub(crate) async fn shutdown(&self) {
        fn take<T>(of: &Mutex<Option<T>>) -> Option<T> {
            of.lock().unwrap_or_else(PoisonError::into_inner).take()
        }
        drop(take(&self.stop));
        let thread = take(&self.thread);
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }
}
