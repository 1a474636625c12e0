//! The log of a unit.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::setup::Unit;

/// Where logs are in an instance.
pub(crate) const LOGS: &str = "/var/log";
/// A log of this size becomes the older one: both together stay below 8 MiB.
const LONGEST: u64 = 4 * 1024 * 1024 - 64 * 1024;

/// The name of a unit's log.
pub(crate) fn name_of(unit: &str) -> String {
    format!("{unit}.log")
}

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// With its size.
    file: Option<(File, u64)>,
}

impl Log {
    pub(super) fn of(unit: &Unit) -> Self {
        let path = Path::new(LOGS).join(name_of(&unit.name));
        Self { path, file: None }
    }

    /// Moves what is there; false at the end of the output.
    pub(super) fn copy(&mut self, output: &OwnedFd) -> bool {
        let mut bytes = [0; 32 * 1024];
        // Not for ever: the other units are waiting.
        for _ in 0..8 {
            match nix::unistd::read(output, &mut bytes) {
                Ok(0) => return false,
                // A full disk loses a log, and not the instance.
                Ok(length) => drop(self.write(&bytes[..length])),
                Err(Errno::EAGAIN | Errno::EINTR) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, size)| *size >= LONGEST) {
            self.file = None;
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        if self.file.is_none() {
            let file = File::options()
                .append(true)
                .create(true)
                .mode(0o640)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&self.path)?;
            let size = file.metadata()?.len();
            self.file = Some((file, size));
        }
        if let Some((file, size)) = &mut self.file {
            file.write_all(bytes)?;
            *size += bytes.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_short_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("u.log");
        let mut log = Log {
            path: path.clone(),
            file: None,
        };
        let line = [b'x'; 32 * 1024];
        for _ in 0..400 {
            log.write(&line).unwrap();
        }
        log.write(b"newest").unwrap();
        let older = path.with_extension("log.1");
        let sizes = [&path, &older].map(|path| fs::metadata(path).unwrap().len());
        assert!(sizes.iter().sum::<u64>() < 8 << 20, "{sizes:?}");
        assert!(fs::read(&path).unwrap().ends_with(b"newest"));
    }
}
