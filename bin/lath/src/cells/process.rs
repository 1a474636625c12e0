//! The processes of a cell. Each role holds a lock and a record while it runs, so that a new supervisor finds the
//! processes of the former one and never starts a second.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use lath_clock::Clock;
use lath_model::Timestamp;
use nix::sys::signal::{SigSet, Signal as NixSignal};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::layout::Layout;

/// The role of a process in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Control,
    Node,
    Witness,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Node => "node",
            Self::Witness => "witness",
        }
    }
}

/// A process's description of itself, in a file beside its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pid: i32,
    /// Start time in ticks since boot. It distinguishes processes when the kernel reuses a pid.
    started: u64,
    /// Of its build and its configuration.
    fingerprint: String,
    since: Timestamp,
}

fn lock_path(run_dir: &Path, role: Role) -> PathBuf {
    run_dir.join(format!("{}.lock", role.name()))
}

fn record_path(run_dir: &Path, role: Role) -> PathBuf {
    run_dir.join(format!("{}.json", role.name()))
}

fn open_lock(run_dir: &Path, role: Role) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock_path(run_dir, role))
}

/// Takes the role for this process until the returned lock is dropped.
///
/// # Errors
/// When another process has it.
pub(crate) fn take_role(run_dir: &Path, role: Role, cell: &Path) -> anyhow::Result<File> {
    let lock = open_lock(run_dir, role)?;
    lock.try_lock()
        .with_context(|| format!("another {} process of this cell is running", role.name()))?;
    let pid = i32::try_from(std::process::id())?;
    let record = Record {
        pid,
        started: start_time(pid)?,
        fingerprint: fingerprint(Path::new("/proc/self/exe"), cell)?,
        since: Clock::system().now(),
    };
    crate::private_file::write_anyway(&record_path(run_dir, role), &serde_json::to_vec(&record)?)?;
    Ok(lock)
}

/// Identifies the executable and the cell file.
fn fingerprint(executable: &Path, cell: &Path) -> anyhow::Result<String> {
    let contents = fs::read(cell).with_context(|| format!("cannot read {}", cell.display()))?;
    let hash = contents
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let build = fs::metadata(executable)?;
    Ok(format!("{:x}-{:x}-{hash:016x}", build.dev(), build.ino()))
}

/// Field 22 of `/proc/PID/stat`. Field 2 is a name in parentheses that may contain any character, so the search
/// begins behind it.
fn start_time(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    fields
        .and_then(|fields| fields.split(' ').nth(19)?.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/PID/stat has no start time"))
}

/// A supervised process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) since: Timestamp,
    /// Whether it outlived a former supervisor.
    pub(crate) adopted: bool,
    pidfd: AsyncFd<OwnedFd>,
    /// Set when it is a child of this process, which must reap it.
    child: Option<Child>,
}

/// The process that holds a role.
pub(crate) enum Found {
    None,
    /// Of this build and configuration.
    Current(Process),
    /// Of another build or configuration.
    Outdated(Process),
}

/// A process may hold the lock before it has written its record: how often [`find`] looks again.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Finds the process that holds a role.
///
/// # Errors
/// When a process holds the lock but its record does not lead to it.
pub(crate) async fn find(layout: &Layout, name: &str, role: Role) -> anyhow::Result<Found> {
    let run_dir = layout.run_dir(name);
    for _ in 0..TRIES {
        match open_lock(&run_dir, role)?.try_lock() {
            Ok(()) => return Ok(Found::None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if let Some((record, process)) = recorded(&run_dir, role) {
            let executable = format!("/proc/{}/exe", record.pid);
            let cell = layout.cell_file(name);
            let same = fingerprint(Path::new("/proc/self/exe"), &cell)? == record.fingerprint
                && fingerprint(Path::new(&executable), &cell)
                    .is_ok_and(|its| its == record.fingerprint);
            return Ok(if same {
                Found::Current(process)
            } else {
                Found::Outdated(process)
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
    anyhow::bail!(
        "{} is locked by a process that has left no record of itself",
        lock_path(&run_dir, role).display()
    )
}

/// The recorded process, if that very process still runs.
fn recorded(run_dir: &Path, role: Role) -> Option<(Record, Process)> {
    let record = read_record(run_dir, role)?;
    let pidfd = pidfd_open(Pid::from_raw(record.pid)?, PidfdFlags::NONBLOCK).ok()?;
    // Read after the pidfd was opened, so that both are of the same process.
    if start_time(record.pid).ok()? != record.started {
        return None;
    }
    let process = Process {
        pid: record.pid,
        since: record.since,
        adopted: true,
        pidfd: register(pidfd).ok()?,
        child: None,
    };
    Some((record, process))
}

fn read_record(run_dir: &Path, role: Role) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_path(run_dir, role)).ok()?).ok()
}

/// A running process of any cell of the installation. Needs no async runtime.
pub(crate) fn any_survivor(installation: &Path) -> Option<OwnedFd> {
    let cells = fs::read_dir(installation).ok()?;
    cells.flatten().find_map(|cell| {
        let run_dir = crate::running::run_dir(&cell.path());
        [Role::Node, Role::Control, Role::Witness]
            .into_iter()
            .filter(|role| lock_path(&run_dir, *role).exists())
            .find_map(|role| {
                let free = open_lock(&run_dir, role).ok()?.try_lock().is_ok();
                let record = read_record(&run_dir, role).filter(|_| !free)?;
                let pidfd = pidfd_open(Pid::from_raw(record.pid)?, PidfdFlags::empty()).ok()?;
                (start_time(record.pid).ok()? == record.started).then_some(pidfd)
            })
    })
}

/// Starts this program in a role. It outlives this process and belongs to no terminal.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn spawn(layout: &Layout, name: &str, role: Role) -> io::Result<Process> {
    let mut command = Command::new("/proc/self/exe");
    lath_net::descriptors::hand_down(&mut command);
    let child = block_signals(&mut command)
        .arg0("lath")
        .arg(role.name())
        .arg("--region")
        .arg(name)
        .arg("--cell")
        .arg(layout.cell_file(name))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let number = Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child without a pid"))?;
    // The kernel does not reuse a child's pid before the child is reaped.
    let pidfd = pidfd_open(number, PidfdFlags::NONBLOCK)?;
    Ok(Process {
        pid,
        since: Clock::system().now(),
        adopted: false,
        pidfd: register(pidfd)?,
        child: Some(child),
    })
}

/// The signals that ask a process to end.
fn termination_signals() -> SigSet {
    [NixSignal::SIGTERM, NixSignal::SIGINT, NixSignal::SIGUSR2]
        .into_iter()
        .collect()
}

/// Starts the process with termination signals blocked, so that an early signal stays pending instead of killing the
/// process halfway through its start. The process calls [`unblock_signals`] once it has handlers.
#[expect(
    unsafe_code,
    reason = "the standard library runs it between fork and exec"
)]
fn block_signals(command: &mut Command) -> &mut Command {
    // SAFETY: changing the calling thread's signal mask is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(|| Ok(termination_signals().thread_block()?)) }
}

/// A process with a role calls this on its first thread once it handles signals.
pub(crate) fn unblock_signals() -> io::Result<()> {
    Ok(termination_signals().thread_unblock()?)
}

#[expect(
    unsafe_code,
    reason = "tokio cannot know that a type keeps its descriptor open"
)]
fn register(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps the same descriptor open until it is dropped, here with the AsyncFd.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}

impl Process {
    /// Waits for its end. Returns the exit status if it was a child of this process.
    pub(crate) async fn ended(&mut self) -> Option<std::process::ExitStatus> {
        // The descriptor stays readable: a second call returns at once.
        if self.pidfd.readable().await.is_err() {
            tracing::error!(process.id = self.pid, "waiting for a process failed");
        }
        self.child.as_mut()?.wait().ok()
    }

    /// Sends a signal. Does nothing when the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        // The only expected error: the process has ended.
        let _ = pidfd_send_signal(self.pidfd.get_ref(), signal);
    }

    /// Sends `signal`, and kills the process if it has not ended after `patience`. Returns the exit status;
    /// `None` when it had to be killed or the status is unknown.
    pub(crate) async fn end(
        &mut self,
        signal: Signal,
        patience: Duration,
    ) -> Option<std::process::ExitStatus> {
        self.signal(signal);
        if let Ok(status) = tokio::time::timeout(patience, self.ended()).await {
            return status;
        }
        tracing::error!(process.id = self.pid, "a process does not end: killing it");
        self.signal(Signal::KILL);
        self.ended().await
    }
}
