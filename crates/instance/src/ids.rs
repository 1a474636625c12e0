//! Who owns an instance's files on the host.
//!
//! Root of an ordinary instance is the host's root. A node of a cluster has 65,536 ids of its own, and its root is the
//! first of them: an ordinary user of the host that is used for nothing else. They are taken from a range that neither
//! distributions nor systemd give to anybody (<https://systemd.io/UIDS-GIDS/>), and stay the node's as long as its files
//! are there. A lock that its supervisor holds keeps other Laths on the host from running a node with the same ones.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid};

use crate::layout::Layout;
use crate::process::fork_child;

/// Ids of one node.
pub(crate) const COUNT: u32 = 1 << 16;
const FIRST: u32 = 0x7000_0000;
const SLOTS: u32 = 0xffe;
/// Locks of the ids in use, one per node that runs.
const LOCKS: &str = "/run/lath-user-ids";

/// Who owns an instance's files: its root has the id `base` on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) base: u32,
}

impl Ids {
    /// Root in the instance is root on the host.
    pub(crate) const HOST: Self = Self { base: 0 };

    /// Those that a node may get.
    pub(crate) const fn first() -> Self {
        Self { base: FIRST }
    }

    pub(crate) fn are_the_hosts(self) -> bool {
        self.base == 0
    }

    /// The host's name of an id that the host's files have, seen in the instance as itself.
    pub(crate) fn of(self, id: u32) -> u32 {
        if self.are_the_hosts() {
            id
        } else {
            // Larger ones have no name in the instance.
            self.base + id.min(COUNT - 2)
        }
    }

    /// Gives root in the instance what is at `path`.
    pub(crate) fn own(self, path: &Path) -> io::Result<()> {
        if self.are_the_hosts() {
            return Ok(());
        }
        lchown(path, Some(self.base), Some(self.base))
    }

    /// As [`Self::own`], for a directory and all in it that the host's root owns.
    pub(crate) fn own_all(self, path: &Path) -> io::Result<()> {
        if self.are_the_hosts() {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(path)?;
        if metadata.uid() < COUNT {
            lchown(
                path,
                Some(self.of(metadata.uid())),
                Some(self.of(metadata.gid())),
            )?;
        }
        if metadata.is_symlink() {
            return Ok(());
        }
        // A change of the owner takes these bits away.
        fs::set_permissions(path, metadata.permissions())?;
        if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own_all(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// What is made in `work` belongs to root in the instance. Only for processes with one thread.
    pub(crate) fn act<T>(self, work: impl FnOnce() -> T) -> T {
        if self.are_the_hosts() {
            return work();
        }
        let (user, group) = (Uid::from_raw(self.base), Gid::from_raw(self.base));
        let before = (nix::unistd::setfsuid(user), nix::unistd::setfsgid(group));
        let done = work();
        nix::unistd::setfsuid(before.0);
        nix::unistd::setfsgid(before.1);
        done
    }

    /// As `uid_map` and `gid_map` want it.
    pub(crate) fn map(self) -> String {
        format!("0 {} {COUNT}\n", self.base)
    }

    /// A user namespace that maps them, for mounts that show the host's files with the instance's owners.
    pub(crate) fn user_namespace(self) -> io::Result<OwnedFd> {
        let (ready, report_ready) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let child = fork_child(|| {
            if unshare(CloneFlags::CLONE_NEWUSER).is_err() {
                return 1;
            }
            let _ = nix::unistd::write(&report_ready, b"x");
            loop {
                nix::unistd::pause();
            }
        })?;
        drop(report_ready);
        let made = (|| {
            if nix::unistd::read(&ready, &mut [0])? == 0 {
                return Err(io::Error::other("no user namespace can be made"));
            }
            for file in ["uid_map", "gid_map"] {
                fs::write(format!("/proc/{child}/{file}"), self.map())?;
            }
            File::open(format!("/proc/{child}/ns/user")).map(OwnedFd::from)
        })();
        let _ = kill(child, Signal::SIGKILL);
        let _ = waitpid(child, None);
        made
    }
}

/// The ids of a node that has booted here.
pub(crate) fn recorded(layout: &Layout) -> Option<Ids> {
    let text = fs::read_to_string(layout.ids()).ok()?;
    let base = text.trim().parse().ok()?;
    Some(Ids { base })
}

/// A node's ids, and what keeps others from them.
pub(crate) fn claim(layout: &Layout) -> io::Result<(Ids, Flock<File>)> {
    if let Some(ids) = recorded(layout) {
        let lock = lock(ids)?;
        let taken = || {
            io::Error::other(format!(
                "another node of this host has the user ids from {} on",
                ids.base
            ))
        };
        return lock.map(|lock| (ids, lock)).ok_or_else(taken);
    }
    let used = used(layout);
    let mut hasher = DefaultHasher::new();
    layout.data().hash(&mut hasher);
    let first = u32::try_from(hasher.finish() % u64::from(SLOTS)).unwrap_or_default();
    for step in 0..SLOTS {
        let base = FIRST + (first + step) % SLOTS * COUNT;
        if used
            .iter()
            .any(|(from, length)| *from < base + COUNT && base < from.saturating_add(*length))
        {
            continue;
        }
        let ids = Ids { base };
        if let Some(lock) = lock(ids)? {
            fs::write(layout.ids(), base.to_string())?;
            return Ok((ids, lock));
        }
    }
    Err(io::Error::other(
        "all user ids of nodes are taken on this host",
    ))
}

fn lock(ids: Ids) -> io::Result<Option<Flock<File>>> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(LOCKS)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(Path::new(LOCKS).join(ids.base.to_string()))?;
    Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).ok())
}

/// Ids of other nodes of this Lath, stopped ones included, and of what else runs in user namespaces on the host: the first
/// ones, and how many.
fn used(layout: &Layout) -> Vec<(u32, u32)> {
    let others = layout.data().parent().map(fs::read_dir);
    let others = others.and_then(Result::ok).into_iter().flatten().flatten();
    let others = others.filter_map(|entry| {
        let text = fs::read_to_string(entry.path().join("ids")).ok()?;
        Some((text.trim().parse().ok()?, COUNT))
    });
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let maps = processes.filter_map(|entry| fs::read_to_string(entry.path().join("uid_map")).ok());
    let mut used: Vec<(u32, u32)> = others.collect();
    used.extend(maps.flat_map(|map| parse_map(&map)));
    used.sort_unstable();
    used.dedup();
    used
}

/// What a map maps to, but for the host's own, which maps everything.
fn parse_map(map: &str) -> Vec<(u32, u32)> {
    let line = |line: &str| {
        let words: Vec<u32> = line
            .split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect();
        let [_, from, length] = words.as_slice() else {
            return None;
        };
        (*length != u32::MAX).then_some((*from, *length))
    };
    map.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_ends_where_systemd_has_its_own() {
        assert_eq!(FIRST + SLOTS * COUNT, 0x7ffe_0000);
    }

    #[test]
    fn ids_are_shifted() {
        let ids = Ids { base: FIRST };
        for (id, want) in [(0, FIRST), (33, FIRST + 33), (100_000, FIRST + 65_534)] {
            assert_eq!(ids.of(id), want);
            assert_eq!(Ids::HOST.of(id), id);
        }
    }

    #[test]
    fn maps_of_other_namespaces_are_read() {
        for (map, want) in [
            ("         0          0 4294967295\n", vec![]),
            ("0 100000 65536\n1 5 1\n", vec![(100_000, 65536), (5, 1)]),
            ("", vec![]),
        ] {
            assert_eq!(parse_map(map), want);
        }
    }

    #[test]
    fn no_two_nodes_get_the_same() {
        if !Uid::effective().is_root() {
            eprintln!("SKIPPED: locks of ids need root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let claimed = ["i-0123456789abcdef0", "i-0123456789abcdef1"].map(|id| {
            let layout = Layout::new(dir.path(), dir.path(), &id.parse().unwrap());
            fs::create_dir_all(layout.data()).unwrap();
            let (ids, lock) = claim(&layout).unwrap();
            assert!(claim(&layout).is_err(), "it is taken");
            drop(lock);
            assert_eq!(claim(&layout).unwrap().0, ids, "it stays the same");
            ids
        });
        assert_ne!(claimed[0], claimed[1]);
    }
}
