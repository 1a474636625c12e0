//! Directories below a directory whose content is not trusted.
//!
//! An instance's root may hold symbolic links where directories are wanted, left there by the instance
//! to be followed by us with the host's files in reach. Nothing here follows one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens a trusted directory, to be used as the base of the others.
pub(crate) fn open_base(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

/// The directory `path` below `base`, made where it is missing; what stands in its way is removed.
pub(crate) fn ensure_directory(base: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let mut at = base.try_clone_to_owned()?;
    for component in path.components() {
        if let Component::Normal(name) = component {
            at = ensure_child(at.as_fd(), Path::new(name))?;
        }
    }
    Ok(at)
}

fn ensure_child(parent: BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    for _ in 0..3 {
        match openat(parent, name, DIRECTORY, Mode::empty()) {
            Ok(child) => return Ok(child),
            Err(Errno::NOENT) => match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::LOOP | Errno::NOTDIR) => unlinkat(parent, name, AtFlags::empty())?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other(
        "a directory keeps changing into something else",
    ))
}

/// An empty file to mount over, made where there is nothing, or a link.
pub(crate) fn ensure_file(base: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let parent = ensure_directory(base, path.parent().unwrap_or_else(|| Path::new("")))?;
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let flags = flags | OFlags::NONBLOCK;
    let made = openat(&parent, name, flags, Mode::from_raw_mode(0o644)).or_else(|error| {
        if error == Errno::LOOP {
            unlinkat(&parent, name, AtFlags::empty())?;
            return openat(&parent, name, flags, Mode::from_raw_mode(0o644));
        }
        Err(error)
    });
    drop(made?);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(&parent, name, flags, Mode::empty())?)
}

/// Makes a symbolic link where there is nothing.
pub(crate) fn ensure_symlink(base: BorrowedFd<'_>, path: &Path, to: &Path) -> io::Result<()> {
    let parent = ensure_directory(base, path.parent().unwrap_or_else(|| Path::new("")))?;
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    match rustix::fs::symlinkat(to, &parent, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether something with this name is there, a dangling link included.
pub(crate) fn exists(base: BorrowedFd<'_>, name: &Path) -> bool {
    statat(base, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// A path that names what `fd` has open, for system calls that take only paths.
pub(crate) fn path_of(fd: &impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("var")).unwrap();
        let base = open_base(dir.path()).unwrap();
        ensure_directory(base.as_fd(), Path::new("var/lib/dpkg")).unwrap();
        assert!(dir.path().join("var/lib/dpkg").is_dir());
        assert!(!dir.path().join("var").is_symlink());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_gives_way_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::os::unix::fs::symlink(&outside, dir.path().join("f")).unwrap();
        let base = open_base(dir.path()).unwrap();
        ensure_file(base.as_fd(), Path::new("f")).unwrap();
        assert!(dir.path().join("f").symlink_metadata().unwrap().is_file());
        assert!(!outside.exists());
    }

    #[test]
    fn a_path_cannot_leave_its_base() {
        let dir = tempfile::tempdir().unwrap();
        let base = open_base(dir.path()).unwrap();
        let made = ensure_directory(base.as_fd(), Path::new("/../../a")).unwrap();
        drop(made);
        assert!(dir.path().join("a").is_dir());
    }
}
