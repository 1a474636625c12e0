//! Disk space that is kept for deletes: a file that is given up when the disk is full.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// Enough for some hundred transactions that free more than they take.
const BYTES: u64 = 4 << 20;

/// The reserve.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The one beside the state at `state`.
    pub(crate) fn beside(state: &Path) -> Self {
        let path = state.with_extension("reserve");
        Self { path }
    }

    /// Takes the space, where it is not taken yet.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.path)?;
        if file.metadata()?.len() >= BYTES {
            return Ok(());
        }
        let taken = match fallocate(&file, FallocateFlags::empty(), 0, BYTES.cast_signed()) {
            // Space cannot be reserved there, but neither is it known to be full.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(()),
            taken => taken,
        };
        taken.map_err(|error| {
            self.release();
            error.into()
        })
    }

    /// Gives the space up.
    pub(crate) fn release(&self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(%error, path = %self.path.display(), "reserved space cannot be given up");
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
