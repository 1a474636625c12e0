//! Control groups that a node may divide among its containers.
//!
//! Its groups in every hierarchy belong to its root, but for the files that limit it. In its own namespace of control
//! groups they are the roots, so that any number of kubelets on one host use the same names.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::statfs;
use serde::{Deserialize, Serialize};

use super::{Groups, PROCESSES, make_folder};
use crate::ids::Ids;
use crate::root::beneath::{ensure_directory, ensure_symlink, path_of};

/// Where a node's processes are in the unified hierarchy when it uses that: a group that passes controllers on has no
/// processes itself.
const FIRST: &str = "init";
/// How many groups a node can make in the unified hierarchy, and how deep: the kernel has 65,535 memory groups for the whole
/// host. Version 1 has no such limits.
const DESCENDANTS: &str = "4096";
const DEPTH: &str = "32";
const NO_DATA: Option<&str> = None;
const CAREFUL: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// How a node sees the control groups that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum View {
    /// One hierarchy, at `/sys/fs/cgroup`.
    Unified,
    /// One for each of these, in folders of that name: the controllers, as options of a mount.
    Separate(Vec<(String, String)>),
}

impl View {
    /// As the host has it, with these hierarchies of version 1.
    pub(super) fn of_host(hierarchies: &[(PathBuf, String)]) -> Self {
        let unified =
            statfs("/sys/fs/cgroup").is_ok_and(|it| it.f_type == libc::CGROUP2_SUPER_MAGIC);
        if unified {
            return Self::Unified;
        }
        let folder = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let separate = hierarchies.iter();
        let separate = separate.filter_map(|(path, it)| Some((folder(path)?, it.clone())));
        Self::Separate(separate.collect())
    }
}

/// The hierarchies of version 1, with the options by which each is mounted.
pub(super) fn separate(mountinfo: &str) -> Vec<(PathBuf, String)> {
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for line in mountinfo.lines() {
        let Some((place, kind)) = line.split_once(" - ") else {
            continue;
        };
        let Some(path) = place.split(' ').nth(4) else {
            continue;
        };
        if let ["cgroup", _, options] = kind.split(' ').collect::<Vec<_>>().as_slice()
            && let Some(options) = options_of(options)
            && found.iter().all(|(_, known)| *known != options)
        {
            found.push((path.into(), options));
        }
    }
    found
}

/// The controllers or the name among a mount's options; the others are the host's affair.
fn options_of(options: &str) -> Option<String> {
    const OTHERS: &[&str] = &[
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    let ours: Vec<&str> = options
        .split(',')
        .filter(|word| !OTHERS.contains(word) && !word.starts_with("release_agent="))
        .collect();
    let named = ours.iter().any(|word| word.starts_with("name="));
    let list = ours.join(",");
    match (ours.is_empty(), named) {
        (true, _) => None,
        (false, true) if ours.len() == 1 => Some(format!("none,{list}")),
        (false, _) => Some(list),
    }
}

/// The outermost group of the unified hierarchy at `root` in which this process, whose groups are `own`, may make groups and put
/// itself into them. A service manager delegates one to an ordinary user (systemd: `user@UID.service`).
pub(super) fn to_user(
    root: &Path,
    own: &str,
    may_write: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = root.join(own);
    let above = own.ancestors().take_while(|it| it.starts_with(root));
    // The kernel wants both: the right to make groups, and the right to move what is below.
    let writable = above.filter(|it| may_write(it) && may_write(&it.join("cgroup.procs")));
    writable.last().map(Path::to_owned)
}

impl Groups {
    /// Gives a node's root its groups.
    pub(crate) fn delegate_to(&self, ids: Ids) -> io::Result<()> {
        let has_none = self.view == Some(View::Separate(Vec::new()));
        if has_none || (self.view == Some(View::Unified) && self.unified.is_none()) {
            let words = "there are no control groups here that a node could divide among containers: \
                         `ip netns exec` covers them, and `nsenter --net=/run/netns/NAME` does not; see `lath doctor`";
            return Err(io::Error::new(io::ErrorKind::Unsupported, words));
        }
        for path in self.others.iter().chain(self.separate.values()) {
            make_folder(path)?;
            fill_processors(path)?;
            own(path, ids, &["cgroup.procs", "tasks"])?;
        }
        if let Some(path) = &self.unified {
            let above: Vec<&Path> = path.ancestors().take(3).collect();
            above.into_iter().rev().for_each(pass_down);
            for (file, most) in [
                ("cgroup.max.descendants", DESCENDANTS),
                ("cgroup.max.depth", DEPTH),
            ] {
                fs::write(path.join(file), most)?;
            }
            let files = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
            own(&path.join(PROCESSES), ids, &files)?;
        }
        Ok(())
    }

    /// Puts another process among the instance's. On a host with the unified hierarchy alone it moves itself on.
    pub(crate) fn place(&self, process: i32) -> io::Result<()> {
        let unified = self.unified.iter().map(|path| path.join(PROCESSES));
        let all = unified
            .chain(self.separate.values().cloned())
            .chain(self.others.iter().cloned());
        for path in all {
            fs::write(path.join("cgroup.procs"), process.to_string())?;
        }
        Ok(())
    }

    /// Where a process that enters the running instance belongs in the unified hierarchy.
    pub(super) fn entrance(&self, unified: &Path) -> PathBuf {
        let processes = unified.join(PROCESSES);
        match self.view {
            Some(View::Unified) => processes.join(FIRST),
            _ => processes,
        }
    }
}

/// Lets the groups below one have what containers need.
fn pass_down(folder: &Path) {
    for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
        // Each by itself: the host may have one of them elsewhere.
        let _ = fs::write(
            folder.join("cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
}

/// A new group has no processors and no memory, and takes no process, until it gets some.
fn fill_processors(path: &Path) -> io::Result<()> {
    if !path.join("cpuset.cpus").exists() {
        return Ok(());
    }
    let chain: Vec<&Path> = path.ancestors().take(3).collect();
    for pair in chain.windows(2).rev() {
        let [below, above] = pair else { continue };
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let known = fs::read_to_string(below.join(name))?;
            if known.trim().is_empty() {
                fs::write(
                    below.join(name),
                    fs::read_to_string(above.join(name))?.trim(),
                )?;
            }
        }
    }
    Ok(())
}

fn own(folder: &Path, ids: Ids, files: &[&str]) -> io::Result<()> {
    let give = |path: &Path| chown(path, Some(ids.base), Some(ids.base));
    give(folder)?;
    for path in files.iter().map(|name| folder.join(name)) {
        if path.exists() {
            give(&path)?;
        }
    }
    Ok(())
}

/// Mounts a node's groups at `/sys/fs/cgroup` of its root. In its namespaces.
pub(crate) fn mount_view(root: &OwnedFd, view: &View) -> io::Result<()> {
    let base = ensure_directory(root.as_fd(), Path::new("sys/fs/cgroup"))?;
    match view {
        View::Unified => {
            mount(
                Some("cgroup2"),
                &path_of(&base),
                Some("cgroup2"),
                CAREFUL,
                NO_DATA,
            )?;
            let base = ensure_directory(root.as_fd(), Path::new("sys/fs/cgroup"))?;
            pass_on(&path_of(&base))
        }
        View::Separate(all) => {
            let options = Some("size=1m,mode=755");
            mount(
                Some("cgroup"),
                &path_of(&base),
                Some("tmpfs"),
                CAREFUL,
                options,
            )?;
            let base = ensure_directory(root.as_fd(), Path::new("sys/fs/cgroup"))?;
            for (name, options) in all {
                let place = ensure_directory(base.as_fd(), Path::new(name))?;
                let options = Some(options.as_str());
                mount(
                    Some("cgroup"),
                    &path_of(&place),
                    Some("cgroup"),
                    CAREFUL,
                    options,
                )
                .map_err(|error| {
                    let error = io::Error::from(error);
                    io::Error::new(error.kind(), format!("the control groups {name}: {error}"))
                })?;
            }
            links(&base, all)
        }
    }
}

/// Programs look for each controller by its own name.
fn links(base: &OwnedFd, all: &[(String, String)]) -> io::Result<()> {
    for (name, options) in all {
        for controller in options
            .split(',')
            .filter(|it| it != name && !it.contains('=') && *it != "none")
        {
            ensure_symlink(base.as_fd(), Path::new(controller), Path::new(name))?;
        }
    }
    Ok(())
}

/// The first process leaves the root of its hierarchy, whose controllers those below can have then.
fn pass_on(base: &Path) -> io::Result<()> {
    let first = base.join(FIRST);
    match fs::create_dir(&first) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => fs::write(first.join("cgroup.procs"), "0")?,
    }
    let offered = fs::read_to_string(base.join("cgroup.controllers"))?;
    for controller in offered.split_whitespace() {
        // Each by itself: one that cannot be passed on must not keep the others away.
        let _ = fs::write(
            base.join("cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_is_found_once() {
        let text = "30 20 0:26 / /c/memory rw,relatime - cgroup memory rw,memory\n\
                    31 20 0:27 / /c/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    32 20 0:28 / /c/systemd rw - cgroup systemd rw,xattr,release_agent=/x,name=systemd\n\
                    33 20 0:26 / /other/memory rw - cgroup memory rw,memory\n\
                    34 20 0:29 / /c/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let want = [
            ("/c/memory", "memory"),
            ("/c/cpu,cpuacct", "cpu,cpuacct"),
            ("/c/systemd", "none,name=systemd"),
        ];
        let want = want.map(|(path, options)| (PathBuf::from(path), options.to_owned()));
        assert_eq!(separate(text), want);
    }

    #[test]
    fn an_ordinary_user_has_what_was_delegated() {
        let root = Path::new("/c");
        let of_user = |path: &Path| path.starts_with("/c/user/manager");
        for (own, want) in [
            (
                "0::/user/manager/app/lath.service\n",
                Some("/c/user/manager"),
            ),
            (
                "1:name=systemd:/x\n0::/user/manager\n",
                Some("/c/user/manager"),
            ),
            ("0::/user/session-1.scope\n", None),
            ("0::/\n", None),
            ("4:memory:/user/manager\n", None),
        ] {
            assert_eq!(
                to_user(root, own, of_user).as_deref(),
                want.map(Path::new),
                "{own}"
            );
        }
        let folders_alone = |path: &Path| of_user(path) && !path.ends_with("cgroup.procs");
        assert_eq!(to_user(root, "0::/user/manager/app\n", folders_alone), None);
    }
}
