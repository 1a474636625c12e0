//! What nodes of clusters need, found by trying.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};

use super::{Finding, in_namespaces, optional};
use crate::cgroup::{Controller, Groups, View};
use crate::ids::{COUNT, Ids};
use crate::instances::is_rootless;
use crate::root::show_mapped;

/// The host's root counts for all control planes, and each node for itself with what its pods watch. Many hosts allow 128.
const INOTIFY_INSTANCES: u64 = 512;
/// Each container has a keyring.
const KEYS: u64 = 200;

/// One for each thing.
pub(super) fn probe(groups: &Groups) -> Vec<Finding> {
    let own = namespace(Ids::first());
    let mapped = own.as_ref().map_err(copy).and_then(|user| {
        let user = user.try_clone()?;
        in_namespaces(move || show_mapped(Path::new("/usr"), &std::env::temp_dir(), &user))
    });
    let needs_root = || io::Error::other("Lath is not root here");
    let own = own.map(drop);
    let own = if is_rootless() {
        Err(needs_root())
    } else {
        own
    };
    vec![
        optional(
            "user namespaces with ids of their own, for nodes of clusters",
            own,
            "run Lath as root, with a kernel that has user namespaces and a user.max_user_namespaces above 0. Without \
             them there are no node groups",
        ),
        optional(
            "overlay file systems in user namespaces, for containers on nodes",
            overlay_in_user_namespace(),
            "use Linux 5.11 or newer with the module overlay. Without them no container starts on a node",
        ),
        optional(
            "mounts that map owners, for nodes' copies of the root file system",
            mapped,
            "use Linux 5.19 or newer, with /usr on ext4, xfs, btrfs or tmpfs and not on an overlay. Without them nodes see \
             the host's programs as nobody's, read-only",
        ),
        optional(
            "control groups that nodes can divide among containers",
            divisible(groups),
            "mount cgroup2 on /sys/fs/cgroup, or the cgroup v1 hierarchies cpu, cpuset, memory and pids. Without them no \
             container starts on a node",
        ),
        optional(
            "a bound on the control groups that a node makes",
            bounded(groups),
            "boot with the unified hierarchy alone (systemd.unified_cgroup_hierarchy=1). Without it root in a node, which \
             a privileged pod is, can use up the host's 65,535 memory groups; nothing starts then",
        ),
        setting(
            "fs.inotify.max_user_instances",
            INOTIFY_INSTANCES,
            "a node takes 8 and what its pods take, and all control planes together 11 for each",
        ),
        setting(
            "kernel.keys.maxkeys",
            KEYS,
            "each container on a node takes one of these, and fails without",
        ),
    ]
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn setting(name: &str, least: u64, what: &str) -> Finding {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    let value = fs::read_to_string(path).ok();
    let value: u64 = value.and_then(|it| it.trim().parse().ok()).unwrap_or(least);
    let is = io::Error::other(format!("it is {value}"));
    let enough = if value >= least { Ok(()) } else { Err(is) };
    let fix = format!("`sysctl -w {name}={least}`, or more: {what}");
    optional(
        &format!("{name} of {least} or more, for nodes of clusters"),
        enough,
        &fix,
    )
}

fn divisible(groups: &Groups) -> io::Result<()> {
    if groups.view == Some(View::Separate(Vec::new())) {
        return Err(io::Error::other("none is mounted here"));
    }
    let missing = Controller::ALL.into_iter().find(|it| !groups.limits(*it));
    match missing {
        None => Ok(()),
        Some(controller) => {
            let words = format!("nothing controls {}", controller.name());
            Err(io::Error::other(words))
        }
    }
}

/// Only the unified hierarchy has a bound.
fn bounded(groups: &Groups) -> io::Result<()> {
    if groups.controllers.contains(&Controller::Memory) {
        return Ok(());
    }
    Err(io::Error::other("memory is in no unified hierarchy"))
}

/// A program that waits in new namespaces, and ends with this value.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(unsafe_code, reason = "std enters no namespaces")]
fn waiting(enter: fn() -> io::Result<()>) -> io::Result<Waiting> {
    let mut command = Command::new("cat");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: what is called makes system calls with constant arguments, and allocates nothing.
    unsafe { command.pre_exec(enter) };
    command.spawn().map(Waiting)
}

/// A user namespace with these ids.
fn namespace(ids: Ids) -> io::Result<OwnedFd> {
    let waiting = waiting(|| Ok(unshare(CloneFlags::CLONE_NEWUSER)?))?;
    let process = Path::new("/proc").join(waiting.0.id().to_string());
    for file in ["uid_map", "gid_map"] {
        fs::write(process.join(file), ids.map()).map_err(|error| {
            let words = format!("{COUNT} ids from {} on cannot be mapped: {error}", ids.base);
            io::Error::new(error.kind(), words)
        })?;
    }
    File::open(process.join("ns/user")).map(OwnedFd::from)
}

fn overlay_in_user_namespace() -> io::Result<()> {
    waiting(|| {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        for (file, text) in [
            (c"/proc/self/setgroups", "deny"),
            (c"/proc/self/uid_map", "0 0 1"),
            (c"/proc/self/gid_map", "0 0 1"),
        ] {
            let file = rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(file, text.as_bytes())?;
        }
        let none = None::<&std::ffi::CStr>;
        mount(
            none,
            c"/",
            none,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            none,
        )?;
        mount(
            Some(c"probe"),
            c"/tmp",
            Some(c"tmpfs"),
            MsFlags::empty(),
            none,
        )?;
        for folder in [c"/tmp/l", c"/tmp/u", c"/tmp/w", c"/tmp/m"] {
            rustix::fs::mkdir(folder, Mode::RWXU)?;
        }
        let options = Some(c"lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w,userxattr");
        let (overlay, flags) = (Some(c"overlay"), MsFlags::empty());
        Ok(mount(overlay, c"/tmp/m", overlay, flags, options)?)
    })
    .map(drop)
}
