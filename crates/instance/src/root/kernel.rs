//! `/proc`, `/sys` and `/run`: the kernel as an instance may see it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::beneath::{ensure_directory, path_of};
use super::{NO_DATA, Report, show};
use crate::limits::InMemory;

/// Not even readable: they tell of the host.
const MASKED_FILES: &[&str] = &[
    "kcore",
    "keys",
    "key-users",
    "kmsg",
    "kallsyms",
    "kpagecount",
    "kpageflags",
    "kpagecgroup",
    "latency_stats",
    "sched_debug",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
    "slabinfo",
];
const MASKED_DIRECTORIES: &[&str] = &["acpi", "asound", "scsi", "driver"];

/// Serial numbers of the host, its firmware and its tracing.
const MASKED_IN_SYS: &[&str] = &[
    "devices/virtual/dmi",
    "firmware",
    "kernel/debug",
    "kernel/security",
    "kernel/tracing",
];

const CAREFUL: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

pub(super) fn mount_all(
    root: &OwnedFd,
    rootless: bool,
    sizes: InMemory,
    report: &mut Report,
) -> io::Result<()> {
    // The old /proc stays in reach until the root is left, for paths of open descriptors.
    let proc = ensure_directory(root.as_fd(), Path::new("proc"))?;
    mount(
        Some("proc"),
        &path_of(&proc),
        Some("proc"),
        CAREFUL,
        NO_DATA,
    )
    .map_err(|error| explain("/proc", error))?;
    guard_proc(
        &ensure_directory(root.as_fd(), Path::new("proc"))?,
        rootless,
    )?;
    mount_sys(root, rootless, report)?;
    mount_run(root, sizes)
}

/// For a node. What is the host's belongs to the host's root there, whom the node's root is not; so nothing needs to be
/// read-only, and nothing may be: a runtime could mount none of its own for a container then.
pub(super) fn mount_for_node(root: &OwnedFd, sizes: InMemory) -> io::Result<()> {
    for kind in ["proc", "sysfs"] {
        let place = if kind == "proc" { "proc" } else { "sys" };
        let target = ensure_directory(root.as_fd(), Path::new(place))?;
        mount(Some(kind), &path_of(&target), Some(kind), CAREFUL, NO_DATA)
            .map_err(|error| explain(place, error))?;
    }
    mask(&path_of(&ensure_directory(
        root.as_fd(),
        Path::new("proc"),
    )?))?;
    mask_sys(root)?;
    mount_run(root, sizes)
}

fn mount_run(root: &OwnedFd, sizes: InMemory) -> io::Result<()> {
    let run = ensure_directory(root.as_fd(), Path::new("run"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("run"),
        &path_of(&run),
        Some("tmpfs"),
        flags,
        Some(InMemory::options("755", sizes.run).as_str()),
    )?;
    let run = ensure_directory(root.as_fd(), Path::new("run"))?;
    drop(ensure_directory(run.as_fd(), Path::new("lock"))?);
    Ok(())
}

fn explain(what: &str, error: nix::Error) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("cannot mount {what}: {error}"))
}

/// What does not belong to a process is the host's: readable, but neither it nor its mode or owner, which
/// every mount of `/proc` shares, are to be changed. In a user namespace files are guarded by their owner.
fn belongs_to_host(base: &Path, rootless: bool) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let is_process = name.to_string_lossy().parse::<u32>().is_ok();
        if !is_process && (kind.is_dir() || (kind.is_file() && !rootless)) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn guard_proc(proc: &OwnedFd, rootless: bool) -> io::Result<()> {
    let base = path_of(proc);
    let read_only = belongs_to_host(&base, rootless)?;
    for path in &read_only {
        mount(Some(path), path, NO_DATA, MsFlags::MS_BIND, NO_DATA)?;
    }
    // Its own network's settings are its own: a writable window in the read-only /proc/sys.
    let net = base.join("sys/net");
    if net.exists() {
        mount(Some(&net), &net, NO_DATA, MsFlags::MS_BIND, NO_DATA)?;
    }
    for path in &read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | CAREFUL;
        mount(NO_DATA, path, NO_DATA, flags, NO_DATA)?;
    }
    mask(&base)
}

fn mask(base: &Path) -> io::Result<()> {
    for name in MASKED_FILES {
        let path = base.join(name);
        if path.exists() {
            show(Path::new("/dev/null"), &path)?;
        }
    }
    for name in MASKED_DIRECTORIES {
        let path = base.join(name);
        if path.exists() {
            let flags = CAREFUL | MsFlags::MS_RDONLY;
            mount(
                Some("none"),
                &path,
                Some("tmpfs"),
                flags,
                Some("size=0,mode=555"),
            )?;
        }
    }
    Ok(())
}

fn mount_sys(root: &OwnedFd, rootless: bool, report: &mut Report) -> io::Result<()> {
    let sys = ensure_directory(root.as_fd(), Path::new("sys"))?;
    let flags = CAREFUL | MsFlags::MS_RDONLY;
    if let Err(error) = mount(Some("sysfs"), &path_of(&sys), Some("sysfs"), flags, NO_DATA) {
        if !rootless {
            return Err(explain("/sys", error));
        }
        report.notes.push(format!("/sys is empty ({error})"));
        return Ok(());
    }
    mask_sys(root)
}

fn mask_sys(root: &OwnedFd) -> io::Result<()> {
    let sys = ensure_directory(root.as_fd(), Path::new("sys"))?;
    let flags = CAREFUL | MsFlags::MS_RDONLY;
    for name in MASKED_IN_SYS {
        let path = path_of(&sys).join(name);
        if path.exists() {
            mount(
                Some("none"),
                &path,
                Some("tmpfs"),
                flags,
                Some("size=0,mode=555"),
            )?;
        }
    }
    Ok(())
}
