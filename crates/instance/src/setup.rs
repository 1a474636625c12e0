//! What an instance gets beyond its root: files, directories of the host, programs that run from its first moment.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an instance gets beyond its root. All of it is made true at each boot, before user data runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Directories of the instance that are directories of the host's own file system, because what runs there (an
    /// overlay of containers, a database) cannot be on an overlay, or because the host writes there too.
    pub directories: Vec<HostDirectory>,
    /// Files and directories of the host that are seen in the instance, where they cannot be written.
    pub shared: Vec<SharedFile>,
    /// Files that are written at each boot.
    pub files: Vec<File>,
    /// Programs that run until the instance ends, begun in this order and begun again when they end.
    pub units: Vec<Unit>,
    /// Names of units that are begun only where the instance's `systemctl` was told so. Where there are any, process 1
    /// obeys that program ([`crate::PROGRAM_NAMES`]) for all units.
    #[serde(default)]
    pub on_demand: Vec<String>,
    /// What its console says at each boot.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Setup {
    /// How long its units may take to end, one after another.
    pub(crate) fn stop_time(&self) -> Duration {
        self.units.iter().map(Unit::stop_time).sum()
    }
}

/// A directory of the instance, kept with its files on the host's own file system under the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDirectory {
    /// Where it is in the instance: absolute, such as `/var/lib/containerd`.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Whether mounts in it reach the instance's other mount namespaces (`rshared`), as a kubelet needs.
    pub shared_mounts: bool,
}

/// A file or directory of the host, bind-mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFile {
    /// On the host.
    pub source: PathBuf,
    /// In the instance: absolute.
    pub path: PathBuf,
}

/// A file that root in the instance owns.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// In the instance: absolute. Directories on the way are made with mode 0755.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// What it holds. It may be a secret, and does not print.
    pub content: String,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} {:o})", self.path.display(), self.mode)
    }
}

/// A program that runs until the instance ends. Its output goes to `/var/log/NAME.log`, which is kept below 8 MiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Letters, digits and hyphens; unique in the instance.
    pub name: String,
    /// The program (absolute) and its arguments.
    pub command: Vec<String>,
    /// Beyond PATH, HOME and LANG.
    pub environment: Vec<(String, String)>,
    /// A command that succeeds once the unit is ready; the next unit begins only then. `None`: at once.
    pub ready: Option<Vec<String>>,
    /// A unit that is done when it succeeds: it is begun again only after failures.
    pub once: bool,
    /// Units end in the reverse order, each with SIGTERM and this many seconds.
    pub stop_seconds: u32,
}

impl Unit {
    /// How long it may take to end. One that does not is killed, which may take a moment too.
    pub(crate) fn stop_time(&self) -> Duration {
        Duration::from_secs(self.stop_seconds.into()) + Duration::from_millis(100)
    }
}
