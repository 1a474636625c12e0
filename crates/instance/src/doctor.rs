//! What this machine lacks for instances, found by trying.

mod nodes;

use std::fs;
use std::io;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{FileType, Mode, mknodat};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::cgroup::{Controller, Groups};
use crate::instances::is_rootless;

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, and what it is for.
    pub what: String,
    /// Whether it is there.
    pub ok: bool,
    /// Whether instances need it; without the others they are weaker, as `how_to_fix` says.
    pub needed: bool,
    /// What to do about it, and what happens without.
    pub how_to_fix: Option<String>,
}

/// Tries everything that instances need, in throwaway threads that keep their mounts to themselves.
pub fn probe() -> Vec<Finding> {
    let groups = Groups::of_host();
    vec![
        finding(
            "namespaces for mounts, processes, names and IPC of instances",
            in_namespaces(|| Ok(())),
            "run as root, or as an ordinary user where the kernel allows user namespaces",
        ),
        optional(
            "overlay file systems, for instances' copies of the root file system",
            in_namespaces(try_overlay),
            "load the module (`modprobe overlay`); the data directory must be on ext4, xfs, btrfs or \
             tmpfs, not on an overlay. Without it the host's directories are read-only in instances \
             and image directories cannot be used",
        ),
        finding(
            "system call filters (seccomp), which keep an instance's root from the host",
            has_seccomp(),
            "use a kernel with CONFIG_SECCOMP_FILTER: without it no instance is started",
        ),
        finding(
            "process descriptors (pidfd), by which instances are found again",
            pidfd_open(getpid(), PidfdFlags::empty())
                .map(drop)
                .map_err(Into::into),
            "use Linux 5.8 or newer",
        ),
    ]
    .into_iter()
    .chain(limits(&groups))
    .chain(nodes::probe(&groups))
    .collect()
}

/// One for each limit, with what enforces it.
fn limits(groups: &Groups) -> impl Iterator<Item = Finding> {
    let without = |it: &Controller| match it {
        Controller::Memory => {
            "each process of an instance by itself is held to the instance's memory"
        }
        Controller::Pids => "instances run any number of processes",
        Controller::Cpu => "instances use all processors of the host",
    };
    let one = move |it: Controller| {
        let place = groups.place_of(it);
        let by = place.as_deref().unwrap_or("control groups");
        let missing = place
            .is_none()
            .then(|| io::Error::other("no such controller"));
        let fix = format!(
            "mount cgroup2 on /sys/fs/cgroup, or a cgroup v1 hierarchy, with the controller {}; as an ordinary user \
             run Lath in a group below one that is delegated (`systemd-run --user`); in a container with control \
             groups of its own first move all processes from their root into a group below it, because a group with \
             processes passes no controllers on. Without it {}",
            it.name(),
            without(&it)
        );
        let what = format!("limits of instances: {} by {by}", it.name());
        optional(&what, missing.map_or(Ok(()), Err), &fix)
    };
    Controller::ALL.map(one).into_iter()
}

fn finding(what: &str, outcome: io::Result<()>, fix: &str) -> Finding {
    let how_to_fix = outcome
        .as_ref()
        .err()
        .map(|error| format!("{fix} ({error})"));
    Finding {
        what: what.to_owned(),
        ok: outcome.is_ok(),
        needed: true,
        how_to_fix,
    }
}

fn optional(what: &str, outcome: io::Result<()>, fix: &str) -> Finding {
    let needed = false;
    Finding {
        needed,
        ..finding(what, outcome, fix)
    }
}

/// On a thread of its own, which ends with its namespaces.
fn in_namespaces(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let thread = std::thread::spawn(move || {
        let spaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWPID;
        unshare(spaces)?;
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?;
        work()
    });
    let panicked = |_| io::Error::other("the probe panicked");
    thread.join().map_err(panicked).flatten()
}

/// An overlay on a tmpfs, with a whiteout that hides and a file that can be written.
fn try_overlay() -> io::Result<()> {
    let base = std::env::temp_dir();
    mount(
        Some("probe"),
        &base,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=1m"),
    )?;
    for folder in ["lower", "upper", "work", "all"] {
        fs::create_dir(base.join(folder))?;
    }
    fs::write(base.join("lower/hidden"), "x")?;
    let hidden = base.join("upper/hidden");
    mknodat(
        rustix::fs::CWD,
        &hidden,
        FileType::CharacterDevice,
        Mode::empty(),
        0,
    )?;
    let part = |name: &str| base.join(name).display().to_string();
    let mut options = format!(
        "lowerdir={},upperdir={},workdir={}",
        part("lower"),
        part("upper"),
        part("work")
    );
    if is_rootless() {
        options.push_str(",userxattr");
    }
    let all = base.join("all");
    mount(
        Some("overlay"),
        &all,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )?;
    fs::write(all.join("made"), "x")?;
    if all.join("hidden").exists() {
        return Err(io::Error::other("whiteouts do not hide"));
    }
    Ok(())
}

fn has_seccomp() -> io::Result<()> {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")?;
    if actions.split_whitespace().any(|action| action == "errno") {
        Ok(())
    } else {
        Err(io::Error::other("filters cannot answer with an error"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_says_what_to_do() {
        for finding in probe() {
            assert_eq!(finding.ok, finding.how_to_fix.is_none(), "{finding:?}");
            eprintln!("{finding:?}");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(" - tmpfs probe"),
            "the probe's mounts stayed"
        );
    }
}
