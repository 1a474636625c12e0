//! What a supervisor leaves in the run directory, and how others make sure that it is still true.
//!
//! A process id alone proves nothing: it may have been given to another process since. A record counts
//! only when the kernel's boot is the same and the process with that id started at the recorded moment.
//! The check is made after a pidfd was opened, so the pidfd is of the process that was checked.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use lath_feed::InstanceKind;
use lath_model::Timestamp;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::boot::Limits;
use crate::cgroup::Groups;

/// A process, named for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessName {
    pub(crate) pid: i32,
    /// In clock ticks since the kernel booted.
    pub(crate) started: u64,
    /// Which boot of the kernel.
    pub(crate) kernel_boot: String,
}

impl ProcessName {
    /// The process with this id, as it is now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self {
            pid,
            started: start_time(pid)?,
            kernel_boot: kernel_boot()?,
        })
    }

    /// A pidfd of exactly this process; `None` when it is gone.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        let same = kernel_boot().is_ok_and(|boot| boot == self.kernel_boot)
            && start_time(self.pid).is_ok_and(|started| started == self.started);
        same.then_some(pidfd)
    }
}

fn kernel_boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Field 22 of `/proc/PID/stat`; a zombie has none, because nothing of it runs.
fn start_time(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command name may hold spaces and parentheses: fields are counted from the last one.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat");
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return Err(io::ErrorKind::NotFound.into());
    }
    fields
        .get(19)
        .and_then(|text| text.parse().ok())
        .ok_or_else(malformed)
}

/// A namespace, named for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamespaceName {
    device: u64,
    inode: u64,
}

impl NamespaceName {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// An instance that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) boot: u64,
    pub(crate) since: Timestamp,
    pub(crate) supervisor: ProcessName,
    pub(crate) init: ProcessName,
    pub(crate) netns: NamespaceName,
    pub(crate) groups: Groups,
    pub(crate) limits: Limits,
    /// How long its processes may take to end; a record of an earlier version has none.
    #[serde(default)]
    pub(crate) stop_time: Duration,
    #[serde(default)]
    pub(crate) kind: InstanceKind,
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) boot: u64,
    pub(crate) at: Timestamp,
    pub(crate) reason: EndReason,
}

/// Why a boot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EndReason {
    /// It was asked to.
    Stopped,
    /// The process that started it ended, and it was told to end then (rootless).
    LifelineLost,
    /// Its first process ended by itself or was killed from outside.
    Died {
        /// Such as `killed by SIGKILL`.
        how: String,
    },
}

/// Writes a record so that a reader sees the old one or the new one, whole.
pub(crate) fn save(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Reads a record; `None` when it is not there or not readable as one.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_and_a_later_one_with_its_id_is_not() {
        let me = ProcessName::of(std::process::id() as i32).unwrap();
        assert!(me.open().is_some());
        let other = ProcessName {
            started: me.started + 1,
            ..me.clone()
        };
        assert!(other.open().is_none());
        let earlier = ProcessName {
            kernel_boot: "another".into(),
            ..me
        };
        assert!(earlier.open().is_none());
    }

    #[test]
    fn a_zombie_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        // Until it is waited for it can only be running or a zombie.
        while fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z"))
        {
            std::thread::yield_now();
        }
        assert!(ProcessName::of(pid).is_err());
        child.wait().unwrap();
    }
}
