//! A control group per instance, where the host has cgroup v2.
//!
//! Layout: `<lath>/<instance>/{supervisor,processes}`, beside Lath's own group and not below it, so that
//! a service manager that ends Lath's group leaves instances alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::statfs;

use crate::boot::Limits;

const CGROUP2_MAGIC: i64 = 0x6367_7270;
const SUPERVISOR: &str = "supervisor";
const PROCESSES: &str = "processes";

/// One instance's group.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

/// The mount of the unified hierarchy, if this process may make groups in it.
pub(crate) fn usable_root() -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(PathBuf::from)
        .find(|path| {
            is_cgroup2(path) && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
        })
}

fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC)
}

/// The controllers that groups of instances can use.
pub(crate) fn controllers(root: &Path) -> Vec<String> {
    fs::read_to_string(root.join("cgroup.controllers"))
        .map(|text| text.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

impl Cgroup {
    /// Makes the group and sets what limits the kernel offers.
    pub(crate) fn make(path: &Path, limits: &Limits) -> io::Result<Self> {
        make_folder(&path.join(SUPERVISOR))?;
        make_folder(&path.join(PROCESSES))?;
        if let Some(parent) = path.parent() {
            for above in [parent.parent(), Some(parent)].into_iter().flatten() {
                // Each by itself: one that is missing must not keep the other away.
                let _ = fs::write(above.join("cgroup.subtree_control"), "+pids");
                let _ = fs::write(above.join("cgroup.subtree_control"), "+memory");
            }
        }
        let limit =
            |value: Option<u64>| value.map_or_else(|| "max".to_owned(), |it| it.to_string());
        let _ = fs::write(path.join("pids.max"), limit(limits.pids.map(u64::from)));
        let _ = fs::write(path.join("memory.max"), limit(limits.memory_bytes));
        Ok(Self {
            path: path.to_owned(),
        })
    }

    pub(crate) fn join_as_supervisor(&self) -> io::Result<()> {
        join(&self.path.join(SUPERVISOR))
    }

    /// For the supervisor, as its last act.
    pub(crate) fn leave_and_remove(&self) {
        if let Some(root) = usable_root() {
            let _ = join(&root);
        }
        remove(&self.path);
    }
}

/// Puts the calling process among the instance's processes.
pub(crate) fn join_instance(path: &Path) -> io::Result<()> {
    join(&path.join(PROCESSES))
}

/// Kills what is left in a group and removes it; quiet when there is none. May wait for a second.
pub(crate) fn kill_and_remove(path: &Path) {
    let _ = fs::write(path.join("cgroup.kill"), "1");
    remove(path);
}

/// A group is busy for a moment after its last process was waited for.
const BUSY: Duration = Duration::from_secs(1);

fn remove(path: &Path) {
    let start = Instant::now();
    for folder in [path.join(SUPERVISOR), path.join(PROCESSES), path.to_owned()] {
        while fs::remove_dir(&folder).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            && start.elapsed() < BUSY
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // The folder of all instances goes with the last one.
    let _ = path.parent().map(fs::remove_dir);
}

/// Another instance's end may remove the parent between the steps: then once more.
fn make_folder(path: &Path) -> io::Result<()> {
    for _ in 0..8 {
        match fs::create_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
    }
    fs::create_dir_all(path)
}

fn join(path: &Path) -> io::Result<()> {
    // "0" is the writer itself.
    fs::write(path.join("cgroup.procs"), "0")
}
