//! Pins: network namespaces kept by bind mounts on files of the run directory.
//!
//! A mount belongs to a mount namespace. A Lath that was started in one of its own (systemd's `PrivateTmp`,
//! `unshare -m`) pins where its successor does not see it; the file is there, the mount is not. While any
//! process of that mount namespace lives, such as an instance's supervisor, so do the pins, and
//! `/proc/PID/root` leads to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::netns::Netns;

/// The directory of one owner's pins.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// Makes the directory.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let directory = directory.canonicalize()?;
        Ok(Self { directory })
    }

    /// What is pinned here; what is pinned in other mount namespaces alone is pinned here too. Files that pin
    /// nothing are removed.
    pub(crate) fn find(&self) -> io::Result<BTreeMap<String, Netns>> {
        let mut found = BTreeMap::new();
        let mut bare = BTreeSet::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if is_namespace(&path) {
                found.insert(name.to_owned(), Netns::open(&path)?);
            } else {
                bare.insert(name.to_owned());
            }
        }
        if bare.is_empty() {
            return Ok(found);
        }
        for (name, netns) in elsewhere(&self.directory, &bare) {
            tracing::info!(
                name,
                "a network namespace was pinned in another mount namespace"
            );
            self.pin(&name, &netns)?;
            bare.remove(&name);
            found.insert(name, netns);
        }
        for name in bare {
            // Killed between making the file and mounting on it, or the machine was restarted.
            fs::remove_file(self.directory.join(name))?;
        }
        Ok(found)
    }

    /// Pins a namespace under a name, in place of what is pinned there.
    pub(crate) fn pin(&self, name: &str, netns: &Netns) -> io::Result<()> {
        self.unmount(name)?;
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(name);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map(drop)?;
        let source = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
        let flags = MsFlags::MS_BIND;
        Ok(mount(
            Some(source.as_str()),
            &path,
            None::<&str>,
            flags,
            None::<&str>,
        )?)
    }

    /// Whether something is pinned under a name.
    pub(crate) fn has(&self, name: &str) -> bool {
        is_namespace(&self.directory.join(name))
    }

    /// Removes a pin; one that is not there is no error. Removing the file undoes the mounts on it in every
    /// mount namespace.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.unmount(name)?;
        match fs::remove_file(self.directory.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn unmount(&self, name: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        while is_namespace(&path) {
            umount2(&path, MntFlags::MNT_DETACH)?;
        }
        Ok(())
    }

    /// Removes the directory, which must be empty.
    pub(crate) fn remove_directory(&self) -> io::Result<()> {
        match fs::remove_dir(&self.directory) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// The namespace that is pinned under a name of a directory: in this mount namespace, else in another.
pub(crate) fn pinned(directory: &Path, name: &str) -> io::Result<Netns> {
    let path = directory.join(name);
    if is_namespace(&path) {
        return Netns::open(&path);
    }
    let directory = directory.canonicalize()?;
    let mut found = elsewhere(&directory, &BTreeSet::from([name.to_owned()]));
    found.remove(name).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} pins nothing", path.display()),
        )
    })
}

/// What is pinned under these names in the mount namespaces of other processes.
fn elsewhere(directory: &Path, names: &BTreeSet<String>) -> BTreeMap<String, Netns> {
    let mut found = BTreeMap::new();
    let Some(here) = identity(directory) else {
        return found;
    };
    let mut seen: BTreeSet<PathBuf> = mounts_of("self").into_iter().collect();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = process.file_name();
        let Some(process) = process.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        if !mounts_of(process).is_some_and(|mounts| seen.insert(mounts)) {
            continue;
        }
        let root = Path::new("/proc").join(process).join("root");
        let there = root.join(directory.strip_prefix("/").unwrap_or(directory));
        // A container may have another directory of that name.
        if identity(&there) != Some(here) {
            continue;
        }
        for name in names {
            let path = there.join(name);
            if is_namespace(&path)
                && let Ok(netns) = Netns::open(&path)
            {
                found.entry(name.clone()).or_insert(netns);
            }
        }
    }
    found
}

fn mounts_of(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/mnt")).ok()
}

fn identity(directory: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether a namespace is mounted on the file.
fn is_namespace(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|s| s.filesystem_type().0 == libc::NSFS_MAGIC)
}
