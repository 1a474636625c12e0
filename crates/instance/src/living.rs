//! Which instances live, by their records, and how they end.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use lath_clock::Clock;
use lath_model::Timestamp;
use lath_model::WorkloadId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::layout::{self, Layout};
use crate::record::{EndReason, Ended, NamespaceName, Running, load, save};

/// How long a supervisor may take beyond the grace it gives.
pub(crate) const STOP_SLACK: Duration = Duration::from_secs(4);

/// The running instance and its supervisor, if the record is true: the process is the recorded one, and it
/// runs on these very files, which it holds locked.
pub(crate) fn alive(layout: &Layout) -> Option<(Running, OwnedFd)> {
    let running: Running = load(&layout.running())?;
    let supervisor = running.supervisor.open()?;
    is_locked(&layout.lock()).then_some((running, supervisor))
}

/// Whether a process that has let go of its lock is not just ending. May wait for a second.
pub(crate) fn goes_on(pidfd: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut one = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut one, PollTimeout::from(1000_u16)).is_ok_and(|ready| ready == 0)
}

/// The network namespace of a living instance, by its first process.
pub(crate) fn network(running: &Running) -> Option<OwnedFd> {
    let init = running.init.open()?;
    let netns = fs::File::open(format!("/proc/{}/ns/net", running.init.pid)).ok()?;
    // The path is of that process if it is still there after the path was opened.
    let known = NamespaceName::of(&netns).ok()? == running.netns;
    (known && running.init.open().is_some()).then(|| {
        drop(init);
        netns.into()
    })
}

/// Whether a data directory (see [`InstancesConfig`](crate::InstancesConfig)) has files of a workload.
pub fn has_files(data_dir: &Path, id: &WorkloadId) -> bool {
    Layout::new(data_dir, Path::new("/"), id).data().exists()
}

/// Kills every instance whose files are in this data directory (see [`InstancesConfig`](crate::InstancesConfig)), as a loss of power
/// does, while no [`Instances`](crate::Instances) looks after them: the next one finds them stopped and may start them again.
/// Gives their number.
///
/// # Errors
/// When the directory of instances cannot be read.
pub fn kill_all(data_dir: &Path, clock: &Clock) -> io::Result<usize> {
    let mut killed = Vec::new();
    for entry in fs::read_dir(layout::instances(data_dir))?.flatten() {
        let Some(id) = layout::of_folder(&entry.file_name()) else {
            continue;
        };
        let layout = Layout::new(data_dir, Path::new("/"), &id);
        let Some((running, _)) = alive(&layout) else {
            continue;
        };
        let supervisor = running.supervisor.open();
        kill(&layout, &running, EndReason::Stopped, clock.now())?;
        killed.push((supervisor, running.groups));
    }
    for (supervisor, groups) in &killed {
        if let Some(supervisor) = supervisor {
            await_end(supervisor);
        }
        // No later pass looks after them.
        groups.kill_and_remove();
    }
    Ok(killed.len())
}

/// Waits until a process that was killed has ended, for [`STOP_SLACK`] at most, so that a successor finds no lock held.
fn await_end(pidfd: &OwnedFd) {
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(STOP_SLACK).unwrap_or(PollTimeout::MAX);
    // Interrupted or not: the successor copes with one that is still there.
    let _ = poll(&mut ended, patience);
}

/// Ends an instance as a loss of power does, and says why: what is stopped may be started again, what died may not.
///
/// The record comes first, so that nothing that sees the instance end takes it for an instance that died by itself,
/// which control would not start again. For the same reason the supervisor is halted before the first process ends.
///
/// # Errors
/// The record cannot be written; the processes were killed all the same.
pub(crate) fn kill(
    layout: &Layout,
    running: &Running,
    reason: EndReason,
    at: Timestamp,
) -> io::Result<()> {
    let boot = running.boot;
    let saved = save(&layout.ended(), &Ended { boot, at, reason });
    let (init, supervisor) = (running.init.open(), running.supervisor.open());
    running.groups.thaw();
    for (process, signal) in [
        (&supervisor, Signal::STOP),
        (&init, Signal::KILL),
        (&supervisor, Signal::KILL),
    ] {
        if let Some(pidfd) = process {
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }
    saved
}

/// As [`kill`], so that it counts as stopped. Without the record control may take the instance for one that died by itself.
pub(crate) fn kill_or_warn(id: &WorkloadId, layout: &Layout, running: &Running, at: Timestamp) {
    if let Err(error) = kill(layout, running, EndReason::Stopped, at) {
        tracing::warn!(instance.id = %id, %error, "the record of a killed instance cannot be written");
    }
}

/// The supervisor is gone without a word: it was killed, or the host rebooted.
pub(crate) fn bury(layout: &Layout, running: &Running, at: Timestamp) {
    running.groups.thaw();
    if let Some(init) = running.init.open() {
        let _ = pidfd_send_signal(&init, Signal::KILL);
    }
    running.groups.kill_and_remove();
    let here = crate::record::ProcessName::of(std::process::id().cast_signed());
    let same_kernel = here.is_ok_and(|here| here.kernel_boot == running.supervisor.kernel_boot);
    if same_kernel && !layout.ended().exists() {
        let reason = EndReason::Died {
            how: "lost with its supervisor, which was killed".into(),
        };
        let boot = running.boot;
        let _ = save(&layout.ended(), &Ended { boot, at, reason });
    }
    let _ = fs::remove_file(layout.running());
}

pub(crate) fn is_locked(path: &Path) -> bool {
    use nix::fcntl::{Flock, FlockArg};
    fs::File::open(path)
        .is_ok_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err())
}

pub(crate) async fn ended_within(pidfd: &OwnedFd, limit: Duration) -> bool {
    tokio::time::timeout(limit, readable(pidfd))
        .await
        .unwrap_or(false)
}

/// A pidfd becomes readable when its process ends.
#[expect(
    unsafe_code,
    reason = "tokio cannot know that a type keeps its descriptor open"
)]
pub(crate) async fn readable(pidfd: &OwnedFd) -> bool {
    let Ok(copy) = pidfd.as_fd().try_clone_to_owned() else {
        return false;
    };
    // SAFETY: an OwnedFd keeps the same descriptor open until it is dropped, here with the AsyncFd.
    match unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) } {
        Ok(ready) => ready.readable().await.is_ok(),
        Err(_) => false,
    }
}

/// Its zombie, if it was started by this very process.
pub(crate) fn reap(pid: i32) {
    use nix::sys::wait::{WaitPidFlag, waitpid};
    let _ = waitpid(nix::unistd::Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
}
