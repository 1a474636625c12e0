//! The processes of a cell: each role holds a lock and leaves a record while it lives, so that a supervisor
//! finds those that outlived its predecessor, and never starts a second one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use lath_model::Timestamp;
use nix::sys::signal::{SigSet, Signal as Asking};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::layout::Layout;

/// What a process of a cell does.
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

/// What a process says of itself, in a file beside its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pid: i32,
    /// In ticks since the machine was started: a pid that was given again has another.
    started: u64,
    /// What it was told, and of which build it is.
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

/// Makes this process the one with that role, until it ends. What is returned must be kept.
///
/// # Errors
/// When another process has it.
pub(crate) fn take_role(run_dir: &Path, role: Role, cell: &Path) -> anyhow::Result<File> {
    let lock = open_lock(run_dir, role)?;
    lock.try_lock()
        .with_context(|| format!("there is a {} already", role.name()))?;
    let pid = i32::try_from(std::process::id())?;
    let record = Record {
        pid,
        started: start_time(pid)?,
        fingerprint: fingerprint(Path::new("/proc/self/exe"), cell)?,
        since: Timestamp::now(),
    };
    crate::private_file::write_anyway(&record_path(run_dir, role), &serde_json::to_vec(&record)?)?;
    Ok(lock)
}

/// Of the executable and of what it is told.
fn fingerprint(executable: &Path, cell: &Path) -> anyhow::Result<String> {
    let told = fs::read(cell).with_context(|| format!("cannot read {}", cell.display()))?;
    let hash = told.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let build = fs::metadata(executable)?;
    Ok(format!("{:x}-{:x}-{hash:016x}", build.dev(), build.ino()))
}

/// Field 22 of `/proc/PID/stat`; the second one, a name in parentheses, may hold anything.
fn start_time(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    fields
        .and_then(|fields| fields.split(' ').nth(19)?.parse().ok())
        .ok_or_else(|| io::Error::other("/proc shows no start time"))
}

/// A process that is watched.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) since: Timestamp,
    /// Whether it outlived a former supervisor.
    pub(crate) adopted: bool,
    pidfd: AsyncFd<OwnedFd>,
    /// To be reaped, when it is a child of this process.
    child: Option<Child>,
}

/// Who has a role.
pub(crate) enum Found {
    Nobody,
    /// Of this build, and told the same.
    Ours(Process),
    /// Of another build, or told otherwise.
    Outdated(Process),
}

/// How often somebody who holds a lock but has not said who it is yet is looked at.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(50);

/// Looks who has a role.
///
/// # Errors
/// When somebody holds the lock who cannot be found.
pub(crate) async fn find(layout: &Layout, name: &str, role: Role) -> anyhow::Result<Found> {
    let run_dir = layout.run_dir(name);
    for _ in 0..LOOKS {
        match open_lock(&run_dir, role)?.try_lock() {
            Ok(()) => return Ok(Found::Nobody),
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
                Found::Ours(process)
            } else {
                Found::Outdated(process)
            });
        }
        tokio::time::sleep(LOOK).await;
    }
    anyhow::bail!(
        "{} is locked by a process that does not say who it is",
        lock_path(&run_dir, role).display()
    )
}

/// The process of which a record tells, when that very process lives.
fn recorded(run_dir: &Path, role: Role) -> Option<(Record, Process)> {
    let record = read_record(run_dir, role)?;
    let pidfd = pidfd_open(Pid::from_raw(record.pid)?, PidfdFlags::NONBLOCK).ok()?;
    // Looked at after the pidfd was opened: it is of the process that is looked at.
    if start_time(record.pid).ok()? != record.started {
        return None;
    }
    let process = Process {
        pid: record.pid,
        since: record.since,
        adopted: true,
        pidfd: watch(pidfd).ok()?,
        child: None,
    };
    Some((record, process))
}

fn read_record(run_dir: &Path, role: Role) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_path(run_dir, role)).ok()?).ok()
}

/// A process with a role in any cell of an installation, found without a runtime.
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

/// Starts this program again in a role. It outlives this process, and is in no terminal's foreground.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn spawn(layout: &Layout, name: &str, role: Role) -> io::Result<Process> {
    let mut command = Command::new("/proc/self/exe");
    lath_net::descriptors::hand_down(&mut command);
    let child = hold_signals(&mut command)
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
    // A child is a zombie at least until it is reaped: its pid is not given again.
    let pidfd = pidfd_open(number, PidfdFlags::NONBLOCK)?;
    Ok(Process {
        pid,
        since: Timestamp::now(),
        adopted: false,
        pidfd: watch(pidfd)?,
        child: Some(child),
    })
}

/// The signals that ask a process with a role to end.
fn asking() -> SigSet {
    [Asking::SIGTERM, Asking::SIGINT, Asking::SIGUSR2]
        .into_iter()
        .collect()
}

/// A signal that comes before the new process listens for it waits there, instead of ending it in the middle
/// of whatever it begins with. [`let_signals_through`] ends that.
#[expect(
    unsafe_code,
    reason = "the standard library runs it between fork and exec"
)]
fn hold_signals(command: &mut Command) -> &mut Command {
    // SAFETY: changing the calling thread's signal mask is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(|| Ok(asking().thread_block()?)) }
}

/// To be called by a process with a role as soon as it listens for signals, on its first thread.
pub(crate) fn let_signals_through() -> io::Result<()> {
    Ok(asking().thread_unblock()?)
}

#[expect(
    unsafe_code,
    reason = "tokio cannot know that a type keeps its descriptor open"
)]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps the same descriptor open until it is dropped, here with the AsyncFd.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}

impl Process {
    /// Returns when it has ended; its exit status, where it was a child of this process.
    pub(crate) async fn ended(&mut self) -> Option<std::process::ExitStatus> {
        // The descriptor stays readable: a second call returns at once.
        if self.pidfd.readable().await.is_err() {
            tracing::error!(pid = self.pid, "a process cannot be watched");
        }
        self.child.as_mut()?.wait().ok()
    }

    /// Sends a signal; to one that has ended, nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        // What has ended needs no signal.
        let _ = pidfd_send_signal(self.pidfd.get_ref(), signal);
    }

    /// Asks it to end by `signal`, and makes it when it takes longer than `patience`. Its exit status, or
    /// none where it was killed or is not known.
    pub(crate) async fn end(
        &mut self,
        signal: Signal,
        patience: Duration,
    ) -> Option<std::process::ExitStatus> {
        self.signal(signal);
        if let Ok(status) = tokio::time::timeout(patience, self.ended()).await {
            return status;
        }
        tracing::error!(pid = self.pid, "a process does not end: it is killed");
        self.signal(Signal::KILL);
        self.ended().await
    }
}
