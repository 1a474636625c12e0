//! Control groups: one per instance in each hierarchy that has a controller for a limit.
//!
//! A host has the unified hierarchy (v2), or one per controller (v1), or both with the controllers shared out
//! among them. Each limit uses what there is, the unified one first. Groups are beside Lath's own and not
//! below it, so that a service manager that ends Lath's group leaves instances alone:
//! `lath-OWNER/INSTANCE`, and in the unified hierarchy below that `supervisor` and `processes`, which has the limits.

mod delegation;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, Mode, OFlags, access, openat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::boot::Limits;
use crate::tree;
pub(crate) use delegation::{View, mount_view};

const SUPERVISOR: &str = "supervisor";
const PROCESSES: &str = "processes";

/// What limits instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// The folders of a host's hierarchies, of the groups of one owner, or of one instance's groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Groups {
    /// In the unified hierarchy.
    pub(crate) unified: Option<PathBuf>,
    /// The controllers that the unified hierarchy has.
    pub(crate) controllers: Vec<Controller>,
    /// In the hierarchies of other controllers.
    pub(crate) separate: BTreeMap<Controller, PathBuf>,
    /// In hierarchies that limit nothing here, which nodes divide among their containers as well.
    #[serde(default)]
    pub(crate) others: Vec<PathBuf>,
    /// How a node sees its groups; `None` for what is no node.
    #[serde(default)]
    pub(crate) view: Option<View>,
}

impl Groups {
    /// The hierarchies in which this process may make groups.
    pub(crate) fn of_host() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut groups = Self::mounted(&mounts);
        let usable = |path: &Path| access(path, Access::WRITE_OK).is_ok();
        groups.unified = groups.unified.and_then(|root| {
            if usable(&root) {
                return Some(root);
            }
            let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            delegation::to_user(&root, &own, usable)
        });
        groups.separate.retain(|_, path| usable(path));
        groups.controllers = groups
            .unified
            .as_deref()
            .map(controllers)
            .unwrap_or_default();
        let unified = groups.controllers.clone();
        groups.separate.retain(|it, _| !unified.contains(it));
        let mut hierarchies = delegation::separate(&mounts);
        hierarchies.retain(|(path, _)| usable(path));
        groups.view = Some(View::of_host(&hierarchies));
        let others = hierarchies.into_iter().map(|(path, _)| path);
        groups.others = others
            .filter(|path| groups.separate.values().all(|known| known != path))
            .collect();
        groups
    }

    /// The hierarchies that are mounted.
    fn mounted(mountinfo: &str) -> Self {
        let mut groups = Self::default();
        for line in mountinfo.lines() {
            let Some((place, kind)) = line.split_once(" - ") else {
                continue;
            };
            let Some(path) = place.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let words: Vec<&str> = kind.split(' ').collect();
            match words.as_slice() {
                ["cgroup2", ..] => drop(groups.unified.get_or_insert(path)),
                ["cgroup", _, options] => {
                    let has = |it: &Controller| options.split(',').any(|word| word == it.name());
                    for controller in Controller::ALL.into_iter().filter(has) {
                        groups
                            .separate
                            .entry(controller)
                            .or_insert_with(|| path.clone());
                    }
                }
                _ => {}
            }
        }
        groups
    }

    /// A folder below each.
    pub(crate) fn below(&self, name: &str) -> Self {
        let join = |path: &PathBuf| path.join(name);
        Self {
            unified: self.unified.as_ref().map(join),
            controllers: self.controllers.clone(),
            separate: self
                .separate
                .iter()
                .map(|(it, path)| (*it, join(path)))
                .collect(),
            others: self.others.iter().map(join).collect(),
            view: self.view.clone(),
        }
    }

    /// Those of an instance that is no node, which divides none.
    pub(crate) fn undivided(self) -> Self {
        let (others, view) = (Vec::new(), None);
        Self {
            others,
            view,
            ..self
        }
    }

    /// Where a limit is enforced, in words; `None` where nothing does.
    pub(crate) fn place_of(&self, controller: Controller) -> Option<String> {
        if self.controllers.contains(&controller) {
            let path = self.unified.as_ref()?;
            return Some(format!("cgroup v2 in {}", path.display()));
        }
        let path = self.separate.get(&controller)?;
        Some(format!("cgroup v1 in {}", path.display()))
    }

    /// Whether a limit is enforced by a group.
    pub(crate) fn limits(&self, controller: Controller) -> bool {
        self.place_of(controller).is_some()
    }

    /// Makes an instance's groups and sets the limits.
    ///
    /// # Errors
    /// When a group cannot be made, or one of its limits not be set.
    pub(crate) fn make(&self, limits: &Limits) -> io::Result<()> {
        if let Some(path) = &self.unified {
            make_folder(&path.join(SUPERVISOR))?;
            make_folder(&path.join(PROCESSES))?;
            self.delegate(path);
        }
        for path in self.separate.values() {
            make_folder(path)?;
        }
        for (controller, version, path) in self.limiting() {
            set(&path, version, controller, limits).map_err(|error| {
                let words = format!("{} of {}: {error}", controller.name(), path.display());
                io::Error::new(error.kind(), words)
            })?;
        }
        Ok(())
    }

    /// The group that limits, by controller, and the version of its hierarchy. The supervisor is in none of them.
    fn limiting(&self) -> impl Iterator<Item = (Controller, u8, PathBuf)> {
        Controller::ALL.into_iter().filter_map(|it| {
            if self.controllers.contains(&it) {
                return Some((it, 2, self.unified.as_deref()?.join(PROCESSES)));
            }
            Some((it, 1, self.separate.get(&it)?.clone()))
        })
    }

    /// Lets the group of all instances, those in it and what is in these have the controllers.
    fn delegate(&self, path: &Path) {
        let above = path.ancestors().take(3).collect::<Vec<_>>();
        for folder in above.into_iter().rev() {
            for controller in &self.controllers {
                // Each by itself: one that is missing must not keep the other away.
                let word = format!("+{}", controller.name());
                let _ = fs::write(folder.join("cgroup.subtree_control"), word);
            }
        }
    }

    /// For the supervisor: it is in no limited group, so that what fills one cannot end it.
    pub(crate) fn join_as_supervisor(&self) -> io::Result<()> {
        match &self.unified {
            Some(path) => join(&path.join(SUPERVISOR)),
            None => Ok(()),
        }
    }

    /// Puts the calling process among the instance's processes.
    pub(crate) fn join(&self) -> io::Result<()> {
        if let Some(path) = &self.unified {
            join(&self.entrance(path))?;
        }
        let mut others = self.separate.values().chain(&self.others);
        others.try_for_each(|path| join(path))
    }

    /// As [`Self::join`], for who comes from elsewhere; gives the groups that it is in now.
    ///
    /// An ordinary user who logs in (systemd: `session-1.scope`) is outside of what was delegated to that user
    /// (`user@1000.service`), and the kernel moves a process only for who may write to a group above both. Where it does not,
    /// the process stays where it is: it ends with the instance all the same, whose first process it is below.
    pub(crate) fn join_where_allowed(&self, is_ordinary: bool) -> io::Result<Self> {
        self.join_by(is_ordinary, join)
    }

    fn join_by(
        &self,
        is_ordinary: bool,
        join: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<Self> {
        let may = |path: &Path| match join(path) {
            Err(error) if is_ordinary && error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(false)
            }
            outcome => outcome.map(|()| true),
        };
        let mut joined = self.clone();
        if let Some(path) = &self.unified
            && !may(&self.entrance(path))?
        {
            (joined.unified, joined.controllers) = (None, Vec::new());
        }
        for (controller, path) in &self.separate {
            if !may(path)? {
                joined.separate.remove(controller);
            }
        }
        for path in &self.others {
            may(path)?;
        }
        Ok(joined)
    }

    /// For the supervisor, as its last act. What came into the groups from outside and is still there ends now: else it would
    /// keep them for as long as it likes.
    pub(crate) fn leave_and_remove(&self) {
        let rest = self.without_supervisor();
        rest.await_empty();
        rest.kill_and_remove();
        let has_left = match &self.unified {
            Some(_) => Self::of_host().unified.is_some_and(|it| join(&it).is_ok()),
            None => true,
        };
        // A root that is not the host's takes no processes when it passes controllers on. So this one's group stays until Lath
        // finds that the supervisor has ended.
        if has_left {
            self.remove();
        }
    }

    fn without_supervisor(&self) -> Self {
        let unified = self.unified.as_ref().map(|path| path.join(PROCESSES));
        Self {
            unified,
            ..self.clone()
        }
    }

    /// For the supervisor: kills all that is in the groups but itself. A command of `lath exec` that is stopped does not reap
    /// what it has in the instance, and until then the kernel does not let the first process end.
    pub(crate) fn kill_processes(&self) {
        self.without_supervisor().kill();
    }

    /// Until those in the groups have gone by themselves, such as commands of `lath exec` with what they have to say, for
    /// [`PARTING`] at most.
    fn await_empty(&self) {
        let start = Instant::now();
        let is_empty = || {
            let mut left = 0;
            self.visit(&mut |parent, group| left += processes(parent, group).len());
            left == 0
        };
        while !is_empty() && start.elapsed() < PARTING {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills what is left in an instance's groups and removes them; quiet when there are none. May wait for
    /// some seconds.
    pub(crate) fn kill_and_remove(&self) {
        self.kill();
        self.remove();
    }

    fn kill(&self) {
        self.thaw();
        let unified = self.unified.as_ref();
        let swept = unified.is_some_and(|path| fs::write(path.join("cgroup.kill"), "1").is_ok());
        if !swept {
            self.kill_all();
        }
    }

    /// Removes the groups of instances that are not in `living`, and the folder of all instances when none is left.
    pub(crate) fn sweep(&self, living: &[String]) {
        let mut names = Vec::new();
        for folder in self.roots() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                names.extend(entry.file_name().into_string().ok().filter(|_| is_folder));
            }
        }
        names.sort();
        names.dedup();
        for name in names.iter().filter(|name| !living.contains(name)) {
            tracing::info!(name, "a control group without an instance is removed");
            self.below(name).kill_and_remove();
        }
        for folder in self.roots() {
            // Only an empty one can be removed.
            let _ = fs::remove_dir(folder);
        }
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        let all = self.unified.iter().chain(self.separate.values());
        all.chain(&self.others).map(PathBuf::as_path)
    }

    /// Those that containers of a node have made included, innermost first, each from its parent by its name: a node can
    /// nest them deeper than paths reach.
    fn visit(&self, visit: &mut dyn FnMut(BorrowedFd<'_>, &CStr)) {
        for path in self.roots() {
            tree::visit(path, visit);
        }
    }

    /// A frozen process does not end.
    pub(crate) fn thaw(&self) {
        self.visit(&mut thaw);
    }

    /// Until no process is left, as far as that goes: what forks while it is killed is met again.
    fn kill_all(&self) {
        use nix::sys::signal::{Signal, kill};
        let start = Instant::now();
        loop {
            let mut left = false;
            self.visit(&mut |parent, group| {
                for pid in processes(parent, group) {
                    left = true;
                    let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
                }
                // What was frozen since ends as well.
                thaw(parent, group);
            });
            if !left || start.elapsed() > BUSY {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills what is in groups of these names, at whatever depth; gives how many processes that were.
    pub(crate) fn kill_named(&self, names: &BTreeSet<String>) -> usize {
        use nix::sys::signal::{Signal, kill};
        let mut killed = BTreeSet::new();
        self.visit(&mut |parent, group| {
            if !group.to_str().is_ok_and(|it| names.contains(it)) {
                return;
            }
            for pid in processes(parent, group) {
                if kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
                    killed.insert(pid);
                }
            }
            thaw(parent, group);
        });
        killed.len()
    }

    fn remove(&self) {
        let start = Instant::now();
        self.visit(&mut |parent, group| {
            while unlinkat(parent, group, AtFlags::REMOVEDIR)
                .is_err_and(|error| error != Errno::NOENT)
                && start.elapsed() < BUSY
            {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // The folder of all instances goes with the last one.
        for folder in self.roots() {
            let _ = folder.parent().map(fs::remove_dir);
        }
    }
}

fn thaw(parent: BorrowedFd<'_>, group: &CStr) {
    let Ok(group) = open_in(parent, group, OFlags::DIRECTORY) else {
        return;
    };
    for (file, value) in [(c"freezer.state", "THAWED"), (c"cgroup.freeze", "0")] {
        if let Ok(mut file) = open_in(group.as_fd(), file, OFlags::WRONLY) {
            let _ = file.write_all(value.as_bytes());
        }
    }
}

fn processes(parent: BorrowedFd<'_>, group: &CStr) -> Vec<i32> {
    let read = || {
        let group = open_in(parent, group, OFlags::DIRECTORY)?;
        io::read_to_string(open_in(group.as_fd(), c"cgroup.procs", OFlags::RDONLY)?)
    };
    let list = read().unwrap_or_default();
    list.lines().filter_map(|it| it.parse().ok()).collect()
}

fn open_in(folder: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, name, flags, Mode::empty())?))
}

/// A group is busy for a moment after its last process was waited for.
const BUSY: Duration = Duration::from_secs(5);
/// How long those may take to go who see that the first process has ended.
const PARTING: Duration = Duration::from_secs(1);
/// Of a limit on processor time, in microseconds: what both versions use by default.
const CPU_PERIOD: u64 = 100_000;

fn set(path: &Path, version: u8, controller: Controller, limits: &Limits) -> io::Result<()> {
    let write = |file: &str, value: String| fs::write(path.join(file), value);
    let (memory, pids) = (limits.memory_bytes, limits.pids.map(u64::from));
    let quota = limits.vcpus.map(|count| u64::from(count) * CPU_PERIOD);
    let or =
        |value: Option<u64>, none: &str| value.map_or_else(|| none.to_owned(), |it| it.to_string());
    match (controller, version) {
        (Controller::Pids, _) => write("pids.max", or(pids, "max")),
        (Controller::Memory, 2) => {
            // EC2's instances have no swap. A kernel without it has no such file.
            let _ = write("memory.swap.max", "0".into());
            write("memory.max", or(memory, "max"))
        }
        (Controller::Memory, _) => {
            write("memory.limit_in_bytes", or(memory, "-1"))?;
            let _ = write("memory.memsw.limit_in_bytes", or(memory, "-1"));
            Ok(())
        }
        (Controller::Cpu, 2) => write("cpu.max", format!("{} {CPU_PERIOD}", or(quota, "max"))),
        (Controller::Cpu, _) => match write("cpu.cfs_period_us", CPU_PERIOD.to_string()) {
            // A kernel without bandwidth control limits no processor time.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => write("cpu.cfs_quota_us", or(quota, "-1")),
        },
    }
}

/// The controllers that groups below a unified hierarchy's root can use: a container's root may have some
/// that it cannot pass on.
fn controllers(root: &Path) -> Vec<Controller> {
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let has = |list: &str, it: Controller| list.split_whitespace().any(|word| word == it.name());
    let offered = read("cgroup.controllers");
    let usable = |it: &Controller| {
        let control = "cgroup.subtree_control";
        has(&offered, *it)
            && (has(&read(control), *it)
                || fs::write(root.join(control), format!("+{}", it.name())).is_ok())
    };
    Controller::ALL.into_iter().filter(usable).collect()
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

#[cfg(test)]
mod tests;
