//! Keeps one process of a cell alive: adopts it, starts it, starts it again.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_model::Timestamp;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::hold;
use super::layout::{Layout, Reason};
use super::process::{self, Found, Process, Role};

/// Who lived shorter than this died of something that a restart may not mend.
const SHORT: Duration = Duration::from_secs(10);
/// The pause before the second restart in a row; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked whether a hold is over.
const HELD: Duration = Duration::from_millis(100);
/// How soon a region that does not start is tried again although its state is as it was.
const REFUSED: Duration = Duration::from_secs(60);
/// What a process may take for a clean end beyond its drain.
const END: Duration = Duration::from_secs(120);

/// How a process is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// How often it was started again after it had died.
    pub(crate) restarts: u64,
}

/// What a process does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    Starting,
    Running {
        pid: i32,
        since: Timestamp,
        adopted: bool,
    },
    /// A drill wants it dead.
    Held,
    /// It says why it does not start. It is tried again when the state changes.
    Refused(Reason),
    Stopped,
}

impl Phase {
    /// Whether it runs, or will in a moment.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::Starting | Self::Running { .. })
    }
}

/// Keeps one process.
pub(crate) struct Keeper {
    layout: Layout,
    name: String,
    role: Role,
    drain: Duration,
    say: Arc<watch::Sender<State>>,
}

impl Keeper {
    /// Of the cell `name`. `drain` is what a clean stop grants to requests in flight.
    pub(crate) fn new(layout: &Layout, name: &str, role: Role, drain: Duration) -> Self {
        let state = State {
            phase: Phase::Starting,
            restarts: 0,
        };
        Self {
            layout: layout.clone(),
            name: name.to_owned(),
            role,
            drain,
            say: Arc::new(watch::Sender::new(state)),
        }
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.say.subscribe()
    }

    /// Works until `stop`; then whether the process ended well.
    pub(crate) async fn run(self, stop: CancellationToken) -> bool {
        let mut pause = Duration::ZERO;
        loop {
            let Some(mut process) = self.have(&stop).await else {
                self.tell(Phase::Stopped);
                return true;
            };
            let began = Instant::now();
            let status = tokio::select! {
                () = stop.cancelled() => return self.end(process).await,
                status = self.watch(&mut process) => status,
            };
            self.say.send_modify(|state| state.restarts += 1);
            if let Some(reason) = self.refusal() {
                self.refused(reason, &stop).await;
                continue;
            }
            let how = status.map_or_else(|| "it was another's child".into(), |s| s.to_string());
            tracing::warn!(
                region = self.name,
                role = self.role.name(),
                pid = process.pid,
                how,
                "a process died: it is started again"
            );
            self.tell(Phase::Starting);
            pause = if began.elapsed() >= SHORT {
                Duration::ZERO
            } else {
                (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
            };
            // The first death in a while costs no pause.
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

    /// Says that the process runs, and waits for its end. One that was refused must have been accepted first.
    async fn watch(&self, process: &mut Process) -> Option<ExitStatus> {
        let accepted = async {
            while self.is_refused() && self.refusal().is_some() {
                tokio::time::sleep(HELD).await;
            }
        };
        tokio::select! {
            status = process.ended() => return status,
            () = accepted => {}
        }
        let (pid, since, adopted) = (process.pid, process.since, process.adopted);
        self.say.send_modify(|state| {
            state.phase = Phase::Running {
                pid,
                since,
                adopted,
            };
        });
        process.ended().await
    }

    /// Why the process did not start, when it said so.
    fn refusal(&self) -> Option<Reason> {
        let control = self.role == Role::Control;
        control.then(|| self.layout.refusal(&self.name).read())?
    }

    fn is_refused(&self) -> bool {
        matches!(self.say.borrow().phase, Phase::Refused(_))
    }

    /// Waits until what it was refused for may be mended.
    async fn refused(&self, reason: Reason, stop: &CancellationToken) {
        let phase = Phase::Refused(reason.clone());
        if self.say.borrow().phase != phase {
            tracing::error!(
                region = self.name,
                reason = reason.text,
                "a region does not start"
            );
        }
        self.say.send_modify(|state| state.phase = phase);
        let state = lath_store::state_file(&self.layout.cell(&self.name));
        let look = || {
            std::fs::metadata(&state)
                .and_then(|file| Ok((file.modified()?, file.len())))
                .ok()
        };
        let (seen, until) = (look(), Instant::now() + REFUSED);
        while look() == seen && Instant::now() < until {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(HELD) => {}
            }
        }
    }

    /// The process, found or started; nothing when stopped before.
    async fn have(&self, stop: &CancellationToken) -> Option<Process> {
        loop {
            match process::find(&self.layout, &self.name, self.role).await {
                Ok(Found::Ours(process)) => {
                    tracing::info!(
                        region = self.name,
                        role = self.role.name(),
                        pid = process.pid,
                        "a process is adopted"
                    );
                    return Some(process);
                }
                Ok(Found::Outdated(process)) => {
                    tracing::info!(
                        region = self.name,
                        role = self.role.name(),
                        pid = process.pid,
                        "a process of another build or configuration is replaced"
                    );
                    self.replace(process).await;
                }
                Ok(Found::Nobody) if stop.is_cancelled() => return None,
                Ok(Found::Nobody) if self.is_held() => {
                    self.tell(Phase::Held);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(HELD) => {}
                    }
                }
                Ok(Found::Nobody) => match self.start() {
                    Ok(process) => return Some(process),
                    Err(error) => self.complain(&error.into(), stop).await,
                },
                Err(_) if stop.is_cancelled() => return None,
                Err(error) => self.complain(&error, stop).await,
            }
        }
    }

    fn start(&self) -> std::io::Result<Process> {
        self.tell(Phase::Starting);
        process::spawn(&self.layout, &self.name, self.role)
    }

    fn is_held(&self) -> bool {
        hold::holds(&self.layout.orders(), &self.name, self.role)
    }

    async fn complain(&self, error: &anyhow::Error, stop: &CancellationToken) {
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

    /// A node leaves what it made to its successor.
    async fn replace(&self, mut process: Process) {
        let signal = match self.role {
            Role::Node => Signal::USR2,
            Role::Control | Role::Witness => Signal::TERM,
        };
        process.end(signal, self.drain + END).await;
    }

    async fn end(&self, mut process: Process) -> bool {
        let status = process.end(Signal::TERM, self.drain + END).await;
        self.tell(Phase::Stopped);
        // How one that was adopted ended is not known: it says so in the log.
        let well = status.map_or(process.adopted, |status| {
            status.success() || self.had_not_begun(status)
        });
        if !well {
            let how = status.map_or_else(|| "it was killed".into(), |s| s.to_string());
            tracing::error!(
                region = self.name,
                role = self.role.name(),
                how,
                "a process did not end well"
            );
        }
        well
    }

    /// Whether it died of the signal itself: it had not come to where it listens for it. A node's predecessor
    /// may have left something even so.
    fn had_not_begun(&self, status: ExitStatus) -> bool {
        self.role != Role::Node && status.signal() == Some(Signal::TERM.as_raw())
    }

    /// A region that was refused is no longer so when it runs, not when it is started.
    fn tell(&self, phase: Phase) {
        if phase == Phase::Starting && self.is_refused() {
            return;
        }
        self.say.send_modify(|state| state.phase = phase);
    }
}
