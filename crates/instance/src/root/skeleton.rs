//! The directories that every root has.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Mode, chmod};

use super::beneath::{ensure_directory, ensure_symlink, exists, path_of};

const DIRECTORIES: &[(&str, u32)] = &[
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apt", 0o755),
    ("var/cache/apt/archives", 0o755),
    ("var/cache/apt/archives/partial", 0o700),
    ("var/lib", 0o755),
    ("var/lib/cloud", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/log/apt", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// Makes what is missing; permissions of what is there are the instance's own affair.
pub(super) fn make(root: &OwnedFd) -> io::Result<()> {
    for &(path, mode) in DIRECTORIES {
        let path = Path::new(path);
        if !exists(root.as_fd(), path) {
            let made = ensure_directory(root.as_fd(), path)?;
            chmod(path_of(&made), Mode::from_raw_mode(mode))?;
        }
    }
    ensure_symlink(root.as_fd(), Path::new("var/run"), Path::new("/run"))?;
    ensure_symlink(root.as_fd(), Path::new("var/lock"), Path::new("/run/lock"))
}

/// Copies what everybody may read, for hosts without overlays. What is there already is kept.
pub(super) fn copy_public(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)?.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let target = to.join(entry.file_name());
        if metadata.is_dir() {
            if metadata.permissions().mode() & 0o005 != 0o005 {
                continue;
            }
            match fs::create_dir(&target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if fs::symlink_metadata(&target)?.is_dir() {
                copy_public(&entry.path(), &target)?;
            }
        } else if fs::symlink_metadata(&target).is_err() {
            copy_entry(&entry.path(), &metadata, &target)?;
        }
    }
    Ok(())
}

fn copy_entry(from: &Path, metadata: &fs::Metadata, to: &Path) -> io::Result<()> {
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)
    } else if metadata.is_file() && metadata.permissions().mode() & 0o004 != 0 {
        fs::copy(from, to).map(|_| ())
    } else {
        Ok(())
    }
}
