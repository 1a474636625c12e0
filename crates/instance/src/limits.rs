//! Limits of an instance that no control group enforces, as far as each process can be held to them, and the
//! sizes of its file systems in memory.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::boot::Limits;
use crate::cgroup::{Controller, Groups};

/// Holds the calling process, and those that it will start, to what no control group does. Memory counts for
/// each process by itself then, and processes only for ordinary users: the kernel does not count root's.
pub(crate) fn apply(groups: &Groups, limits: &Limits) {
    if let Some(memory) = limits
        .memory_bytes
        .filter(|_| !groups.limits(Controller::Memory))
    {
        lower(Resource::RLIMIT_DATA, memory);
    }
    if let Some(pids) = limits.pids.filter(|_| !groups.limits(Controller::Pids)) {
        lower(Resource::RLIMIT_NPROC, pids.into());
    }
}

fn lower(resource: Resource, most: u64) {
    if let Ok((soft, hard)) = getrlimit(resource) {
        let _nothing_is_raised = setrlimit(resource, soft.min(most), hard.min(most));
    }
}

/// File systems in memory: sizes in bytes, as Linux distributions choose them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InMemory {
    /// `/dev/shm`: half of the memory.
    pub(crate) shm: u64,
    /// `/run`: a fifth of it.
    pub(crate) run: u64,
}

/// An instance of unknown size is taken for one of this size: 1 GiB.
const USUAL: u64 = 1 << 30;

impl InMemory {
    pub(crate) fn of(limits: &Limits) -> Self {
        let memory = limits.memory_bytes.unwrap_or(USUAL);
        Self {
            shm: memory / 2,
            run: memory / 5,
        }
    }

    /// Options of a tmpfs. Files cost memory too, empty ones included: one for every 4 KiB.
    pub(crate) fn options(mode: &str, size: u64) -> String {
        let files = (size / 4096).max(1024);
        format!("mode={mode},size={size},nr_inodes={files}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_memory() {
        let of = |memory_bytes| {
            InMemory::of(&Limits {
                memory_bytes,
                ..Limits::default()
            })
        };
        assert_eq!(of(Some(1000 << 20)).shm, 500 << 20);
        assert_eq!(of(Some(1000 << 20)).run, 200 << 20);
        assert_eq!(of(None).shm, 512 << 20);
        assert_eq!(
            InMemory::options("755", 8 << 20),
            "mode=755,size=8388608,nr_inodes=2048"
        );
    }
}
