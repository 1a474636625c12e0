//! Where an instance's files are.
//!
//! Under the data directory (kept while the instance exists): its root file system, its console, the mark
//! that its user data ran, which processes it is or how they ended, and the lock of the one supervisor that
//! may run on these files. Under the run directory, which may be lost at any time: what it was started with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lath_model::WorkloadId;

/// The directories of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data: PathBuf,
    run: PathBuf,
}

impl Layout {
    pub(crate) fn new(data_dir: &Path, run_dir: &Path, id: &WorkloadId) -> Self {
        Self {
            data: instances(data_dir).join(folder_name(id)),
            run: instances(run_dir).join(folder_name(id)),
        }
    }

    /// What is kept while the instance exists.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What is kept while it runs.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// The directory that becomes `/`, or the upper layer of it.
    pub(crate) fn root(&self) -> PathBuf {
        self.data.join("root")
    }

    /// Upper and work directories of the overlays, one folder per overlay.
    pub(crate) fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    /// A directory of the host that the instance has at `path`.
    pub(crate) fn host_directory(&self, path: &Path) -> PathBuf {
        let name = path.to_string_lossy().replace('%', "%25");
        self.data.join("host").join(name.replace('/', "%2F"))
    }

    /// The newest console output.
    pub(crate) fn console(&self) -> PathBuf {
        self.data.join("console")
    }

    /// Exists once the first boot was let go.
    pub(crate) fn booted_mark(&self) -> PathBuf {
        self.data.join("booted")
    }

    /// The first of a node's user ids ([`crate::ids`]).
    pub(crate) fn ids(&self) -> PathBuf {
        self.data.join("ids")
    }

    /// What the supervisor was told ([`crate::boot::BootPlan`]).
    pub(crate) fn plan(&self) -> PathBuf {
        self.run.join("plan.json")
    }

    /// Locked by the supervisor as long as it lives: no second one runs on the same files, whatever becomes
    /// of records; and a copy of the files is not locked.
    pub(crate) fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// Which processes the running instance is ([`crate::record::Running`]).
    pub(crate) fn running(&self) -> PathBuf {
        self.data.join("running.json")
    }

    /// How the last boot ended ([`crate::record::Ended`]).
    pub(crate) fn ended(&self) -> PathBuf {
        self.data.join("ended.json")
    }
}

/// The name of a workload's folders and control groups: its id, with `@` for the colon, at which options of overlays
/// and lists of paths are split.
pub(crate) fn folder_name(id: &WorkloadId) -> String {
    id.as_str().replace(':', "@")
}

/// The workload whose folder this is. Names of workloads hold no `@`.
pub(crate) fn of_folder(name: &OsStr) -> Option<WorkloadId> {
    let name = name.to_str().filter(|name| !name.contains(':'))?;
    name.replace('@', ":").parse().ok()
}

/// The folder of all instances under a data or run directory.
pub(crate) fn instances(base: &Path) -> PathBuf {
    base.join("instances")
}

/// Where removed instances' files wait for their deletion.
pub(crate) fn trash(data_dir: &Path) -> PathBuf {
    data_dir.join("instances-removed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_whose_it_is() {
        for (id, folder) in [
            ("i-0123456789abcdef0", "i-0123456789abcdef0"),
            ("control-plane:prod.v1", "control-plane@prod.v1"),
        ] {
            let id: WorkloadId = id.parse().unwrap();
            assert_eq!(folder_name(&id), folder);
            assert_eq!(of_folder(OsStr::new(folder)), Some(id));
        }
        for foreign in ["control-plane:prod", "lost+found", "control-plane@a@b"] {
            assert_eq!(of_folder(OsStr::new(foreign)), None, "{foreign}");
        }
    }
}
