//! Keeps one process of a cell running: adopts, starts and restarts it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_model::Timestamp;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::layout::{Layout, Reason};
use super::process::{self, Found, Process, Role};
use super::suppress;

/// A process that ran shorter than this may die again at once: the next restart waits longer.
const SHORT: Duration = Duration::from_secs(10);
/// The pause before the second restart in a row; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The interval between looks at files: drill orders, a refused region's state.
const POLL: Duration = Duration::from_millis(100);
/// When a refused region is tried again although its state file has not changed.
const RETRY_REFUSED: Duration = Duration::from_secs(60);
/// The time that a process has for a clean end, beyond its drain.
const END: Duration = Duration::from_secs(120);

/// The state of a supervised process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Restarts after unexpected deaths.
    pub(crate) restarts: u64,
    /// The error that ended it last, until it has run for a while again.
    pub(crate) failure: Option<String>,
}

/// The phase of a supervised process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    Starting,
    Running {
        pid: i32,
        since: Timestamp,
        adopted: bool,
    },
    /// A drill keeps it from being started.
    Suppressed,
    /// It refused to start. It is tried again when the region's state file changes.
    Refused(Reason),
    Stopped,
}

impl Phase {
    /// Whether it runs or is about to.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::Starting | Self::Running { .. })
    }
}

/// Supervises one process.
pub(crate) struct ProcessSupervisor {
    layout: Layout,
    name: String,
    role: Role,
    drain: Duration,
    state_tx: Arc<watch::Sender<State>>,
}

impl ProcessSupervisor {
    /// For a process of the cell `name`. `drain` is how long a clean stop waits for requests in flight.
    pub(crate) fn new(layout: &Layout, name: &str, role: Role, drain: Duration) -> Self {
        let state = State {
            phase: Phase::Starting,
            restarts: 0,
            failure: None,
        };
        Self {
            layout: layout.clone(),
            name: name.to_owned(),
            role,
            drain,
            state_tx: Arc::new(watch::Sender::new(state)),
        }
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state_tx.subscribe()
    }

    /// Runs until `stop`. Returns whether the process then ended cleanly.
    pub(crate) async fn run(self, stop: CancellationToken) -> bool {
        let mut pause = Duration::ZERO;
        loop {
            let Some(mut process) = self.find_or_start(&stop).await else {
                self.set_phase(Phase::Stopped);
                return true;
            };
            let began = Instant::now();
            let status = tokio::select! {
                () = stop.cancelled() => return self.end(process).await,
                status = self.watch(&mut process) => status,
            };
            let failure = self.layout.failure(&self.name, self.role).take();
            self.state_tx.send_modify(|state| {
                state.restarts += 1;
                state.failure.clone_from(&failure);
            });
            if let Some(reason) = self.refusal() {
                self.wait_while_refused(reason, &stop).await;
                continue;
            }
            let how = status.map_or_else(
                || "unknown: a former supervisor started it".into(),
                |s| s.to_string(),
            );
            tracing::warn!(
                region = self.name,
                role = self.role.name(),
                process.id = process.pid,
                reason = how,
                error = failure,
                "a process died: restarting it"
            );
            self.set_phase(Phase::Starting);
            pause = if began.elapsed() >= SHORT {
                Duration::ZERO
            } else {
                (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
            };
            // The first restart after a long run is immediate.
            let pause = if pause == FIRST_PAUSE {
                Duration::ZERO
            } else {
                pause
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reports the process as running and waits for its end. After a refusal it counts as running only once it has
    /// removed the refusal.
    async fn watch(&self, process: &mut Process) -> Option<ExitStatus> {
        let accepted = async {
            while self.is_refused() && self.refusal().is_some() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            status = process.ended() => return status,
            () = accepted => {}
        }
        let (pid, since, adopted) = (process.pid, process.since, process.adopted);
        self.state_tx.send_modify(|state| {
            state.phase = Phase::Running {
                pid,
                since,
                adopted,
            };
        });
        tokio::select! {
            status = process.ended() => return status,
            () = tokio::time::sleep(SHORT) => {}
        }
        self.state_tx
            .send_if_modified(|state| state.failure.take().is_some());
        process.ended().await
    }

    /// The reason that the process gave for not starting, if any.
    fn refusal(&self) -> Option<Reason> {
        let control = self.role == Role::Control;
        control.then(|| self.layout.refusal(&self.name).read())?
    }

    fn is_refused(&self) -> bool {
        matches!(self.state_tx.borrow().phase, Phase::Refused(_))
    }

    /// Waits until the cause of the refusal may be repaired.
    async fn wait_while_refused(&self, reason: Reason, stop: &CancellationToken) {
        let phase = Phase::Refused(reason.clone());
        if self.state_tx.borrow().phase != phase {
            tracing::error!(
                region = self.name,
                reason = reason.text,
                "a region does not start"
            );
        }
        self.state_tx.send_modify(|state| state.phase = phase);
        let state = lath_store::state_file(&self.layout.cell(&self.name));
        let look = || {
            std::fs::metadata(&state)
                .and_then(|file| Ok((file.modified()?, file.len())))
                .ok()
        };
        let (seen, until) = (look(), Instant::now() + RETRY_REFUSED);
        while look() == seen && Instant::now() < until {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Finds the process or starts it; `None` when stopped first.
    async fn find_or_start(&self, stop: &CancellationToken) -> Option<Process> {
        loop {
            match process::find(&self.layout, &self.name, self.role).await {
                Ok(Found::Current(process)) => {
                    tracing::info!(
                        region = self.name,
                        role = self.role.name(),
                        process.id = process.pid,
                        "adopted a running process"
                    );
                    return Some(process);
                }
                Ok(Found::Outdated(process)) => {
                    tracing::info!(
                        region = self.name,
                        role = self.role.name(),
                        process.id = process.pid,
                        "replacing a process of another build or configuration"
                    );
                    self.replace(process).await;
                }
                Ok(Found::None) if stop.is_cancelled() => return None,
                Ok(Found::None) if self.is_suppressed() => {
                    self.set_phase(Phase::Suppressed);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
                Ok(Found::None) => match self.start() {
                    Ok(process) => return Some(process),
                    Err(error) => self.report_and_pause(&error.into(), stop).await,
                },
                Err(_) if stop.is_cancelled() => return None,
                Err(error) => self.report_and_pause(&error, stop).await,
            }
        }
    }

    fn start(&self) -> std::io::Result<Process> {
        self.set_phase(Phase::Starting);
        process::spawn(&self.layout, &self.name, self.role)
    }

    fn is_suppressed(&self) -> bool {
        suppress::is_suppressed(&self.layout.orders(), &self.name, self.role)
    }

    async fn report_and_pause(&self, error: &anyhow::Error, stop: &CancellationToken) {
        let error = format!("{error:#}");
        tracing::error!(
            region = self.name,
            role = self.role.name(),
            error,
            "a process cannot be started"
        );
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LONGEST_PAUSE) => {}
        }
    }

    /// Ends an outdated process. A node leaves its networks and instances to its successor.
    async fn replace(&self, mut process: Process) {
        let signal = match self.role {
            Role::Node => Signal::USR2,
            Role::Control | Role::Witness => Signal::TERM,
        };
        process.end(signal, self.drain + END).await;
    }

    async fn end(&self, mut process: Process) -> bool {
        let status = process.end(Signal::TERM, self.drain + END).await;
        self.set_phase(Phase::Stopped);
        // The exit status of an adopted process is unknown; its own log has it.
        let clean = status.map_or(process.adopted, |status| {
            status.success() || self.had_not_begun(status)
        });
        if !clean {
            let how = status.map_or_else(|| "it was killed".into(), |s| s.to_string());
            tracing::error!(
                region = self.name,
                role = self.role.name(),
                reason = how,
                "a process did not end cleanly"
            );
        }
        clean
    }

    /// Whether the signal killed it before it handled signals, so that it had made nothing. Not true of a node:
    /// it may have adopted what its predecessor left.
    fn had_not_begun(&self, status: ExitStatus) -> bool {
        self.role != Role::Node && status.signal() == Some(Signal::TERM.as_raw())
    }

    /// A refused process stays refused until it runs, not only until it is started.
    fn set_phase(&self, phase: Phase) {
        if phase == Phase::Starting && self.is_refused() {
            return;
        }
        self.state_tx.send_modify(|state| state.phase = phase);
    }
}
