//! Runs one task per endpoint check, all on one thread.

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

use crate::directory::Directory;
use crate::own_reports::{CheckMap, probed};
use crate::probe::{Outcome, Tools, USUAL, probe};

/// A new check is probed within this time (and within its interval).
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// A finished probe.
pub(crate) struct Finished {
    pub(crate) check: Arc<Route53HealthCheck>,
    pub(crate) threshold: u32,
    pub(crate) outcome: Outcome,
}

/// Probes a set of checks.
pub(crate) struct Engine {
    tools: Rc<Tools>,
    permits: Rc<Semaphore>,
    directory: watch::Sender<Arc<Directory>>,
    finished_tx: mpsc::UnboundedSender<Finished>,
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
    /// An engine with at most `most` concurrent probes, and the receiver of their outcomes.
    pub(crate) fn new(
        tools: Tools,
        directory: Directory,
        most: usize,
    ) -> (Self, mpsc::UnboundedReceiver<Finished>) {
        let (finished_tx, finished) = mpsc::unbounded_channel();
        let engine = Self {
            tools: Rc::new(tools),
            permits: Rc::new(Semaphore::new(most)),
            directory: watch::Sender::new(Arc::new(directory)),
            finished_tx,
            running: BTreeMap::new(),
        };
        (engine, finished)
    }

    /// Sets the directory for the next probes.
    pub(crate) fn follow(&self, directory: Arc<Directory>) {
        self.directory.send_replace(directory);
    }

    /// Sets the checks to probe. Unchanged checks continue undisturbed.
    pub(crate) fn set_checks(&mut self, checks: &CheckMap) {
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
        let check_loop = CheckLoop {
            tools: Rc::clone(&self.tools),
            permits: Rc::clone(&self.permits),
            directory: self.directory.subscribe(),
            finished_tx: self.finished_tx.clone(),
            check: Arc::clone(check),
        };
        Running {
            check: Arc::clone(check),
            task: tokio::task::spawn_local(check_loop.run()).abort_handle(),
        }
    }
}

/// The sequence of one check's probes.
struct CheckLoop {
    tools: Rc<Tools>,
    permits: Rc<Semaphore>,
    directory: watch::Receiver<Arc<Directory>>,
    finished_tx: mpsc::UnboundedSender<Finished>,
    check: Arc<Route53HealthCheck>,
}

impl CheckLoop {
    async fn run(self) {
        let Some(endpoint) = probed(&self.check) else {
            return;
        };
        let span = FIRST_WITHIN.min(endpoint.interval);
        sleep(span.mul_f64(rand::rng().random_range(0.0..1.0))).await;
        loop {
            let Ok(permit) = self.permits.acquire().await else {
                return;
            };
            let started = Instant::now();
            let directory = Arc::clone(&self.directory.borrow());
            let outcome = probe(&self.tools, &directory, &self.check.id, endpoint).await;
            drop(permit);
            let finished = Finished {
                check: Arc::clone(&self.check),
                threshold: endpoint.threshold,
                outcome,
            };
            if self.finished_tx.send(finished).is_err() {
                return;
            }
            // AWS counts the interval from the response. Intervals shorter than AWS's are counted from the start.
            if endpoint.interval < USUAL {
                sleep_until(started + endpoint.interval).await;
            } else {
                sleep(endpoint.interval).await;
            }
        }
    }
}

/// A thread with its own runtime. Dropping this ends it.
pub(crate) struct Thread {
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    /// Runs the future that `main` makes from the stop signal.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
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
                // Do not wait for lookups that still block in the host's resolver.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread, waits for its end, and cancels running probes.
    pub(crate) async fn shutdown(&self) {
        fn take<T>(of: &Mutex<Option<T>>) -> Option<T> {
            of.lock().unwrap_or_else(PoisonError::into_inner).take()
        }
        drop(take(&self.stop));
        let thread = take(&self.thread);
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }
}
