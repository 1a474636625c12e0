//! `/dev`: what programs need, and no way to the host's hardware.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::beneath::{ensure_directory, ensure_file, ensure_symlink, path_of};
use super::show;
use crate::limits::InMemory;

const NODES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

pub(super) fn make(root: &OwnedFd, sizes: InMemory) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let covered = ensure_directory(root.as_fd(), Path::new("dev"))?;
    mount(
        Some("dev"),
        &path_of(&covered),
        Some("tmpfs"),
        flags,
        Some("mode=755,size=1m"),
    )?;
    // Opened again: the fd above is of the directory under the mount.
    let dev = ensure_directory(root.as_fd(), Path::new("dev"))?;
    for name in NODES {
        // Bound, not made: in a user namespace nodes cannot be made.
        ensure_file(dev.as_fd(), Path::new(name))?;
        show(&Path::new("/dev").join(name), &path_of(&dev).join(name))?;
    }
    for (name, to) in LINKS {
        ensure_symlink(dev.as_fd(), Path::new(name), Path::new(to))?;
    }
    let pts = ensure_directory(dev.as_fd(), Path::new("pts"))?;
    // The host has 4096 for all. A node can mount more of these without a maximum; see its decision.
    let options = Some("newinstance,ptmxmode=0666,mode=620,max=256");
    mount(
        Some("devpts"),
        &path_of(&pts),
        Some("devpts"),
        flags,
        options,
    )?;
    let shm = ensure_directory(dev.as_fd(), Path::new("shm"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("shm"),
        &path_of(&shm),
        Some("tmpfs"),
        flags,
        Some(InMemory::options("1777", sizes.shm).as_str()),
    )?;
    ensure_file(dev.as_fd(), Path::new("console"))?;
    Ok(())
}
