//! Disk space reserved for deletes: a file that is removed when the disk is full.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// The reserved bytes: enough for some hundred transactions that free more than they need.
const BYTES: u64 = 4 << 20;

/// The reserve.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve beside the state file `state`.
    pub(crate) fn beside(state: &Path) -> Self {
        let path = state.with_extension("reserve");
        Self { path }
    }

    /// Reserves the space if it is not reserved yet.
    ///
    /// # Errors
    /// When there is not enough space.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.path)?;
        if file.metadata()?.len() >= BYTES {
            return Ok(());
        }
        let taken = match fallocate(&file, FallocateFlags::empty(), 0, BYTES.cast_signed()) {
            // The file system cannot reserve space, but it is not full either.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(()),
            taken => taken,
        };
        taken.map_err(|error| {
            self.release();
            error.into()
        })
    }

    /// Releases the space.
    pub(crate) fn release(&self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(%error, path = %self.path.display(), "reserved space cannot be released");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_taken_once_and_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&directory.path().join("state.redb"));
        reserve.release();
        for _ in 0..2 {
            reserve.fill().unwrap();
            assert_eq!(std::fs::metadata(&reserve.path).unwrap().len(), BYTES);
        }
        reserve.release();
        assert!(!reserve.path.exists());
    }
}
