//! The high-water mark: a small file beside the state with the last acknowledged revision.
//!
//! The engine keeps two roots and falls back to the older one when the newer is damaged. Without a mark nothing would
//! show that acknowledged writes are then missing. The mark is written after the state is durable and is not synced:
//! SIGKILL does not lose it, and after a power cut it may be older than the state, which is harmless.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::format::{Sums, checksum};

/// The salt of the checksum.
const NAME: &str = "state.mark";
/// The length in bytes: three numbers and their checksum.
const LENGTH: usize = 32;

/// The mark file.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
}

/// The content of the mark file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    Nothing,
    Damaged,
    At(Sums),
}

impl Mark {
    /// The mark beside the state file `state`.
    pub(crate) fn beside(state: &Path) -> Self {
        let path = state.with_extension("mark");
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read(&self) -> io::Result<Marked> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Marked::Nothing),
            Err(error) => return Err(error),
        };
        Ok(decode(&bytes).map_or(Marked::Damaged, Marked::At))
    }

    /// Opens the file for [`write`](fn@write).
    pub(crate) fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(&self.path)
    }
}

/// Writes the mark with one system call within one page: a killed process leaves the old mark or the new one.
pub(crate) fn write(file: &File, sums: Sums) -> io::Result<()> {
    file.write_all_at(&encode(sums), 0)
}

pub(crate) fn encode(sums: Sums) -> [u8; LENGTH] {
    let numbers = [sums.revision, sums.entries, sums.digest];
    let mut bytes = [0; LENGTH];
    bytes[..24].copy_from_slice(&numbers.map(u64::to_be_bytes).concat());
    let sum = checksum(NAME, 0, &bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Sums> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let number = |at: usize| Some(u64::from_be_bytes(*bytes[at..].first_chunk::<8>()?));
    let sums = Sums {
        revision: number(0)?,
        entries: number(8)?,
        digest: number(16)?,
    };
    (encode(sums) == *bytes).then_some(sums)
}

/// Why a state with these `sums` contradicts the mark; `None` if it does not.
pub(crate) fn contradiction(mark: &Mark, sums: Sums) -> io::Result<Option<String>> {
    let path = mark.path().display();
    Ok(match mark.read()? {
        Marked::At(at) if at.revision > sums.revision => Some(format!(
            "it went back: the newest readable revision is {}, and revision {} was acknowledged ({path} says so). Its newest page is damaged, or an older copy was put in its place; to go on with the older one, remove {path}",
            sums.revision, at.revision
        )),
        Marked::At(at) if at.revision == sums.revision && at != sums => Some(format!(
            "it is not the state that was acknowledged as revision {} ({path} says so); if that was put in its place on purpose, remove {path}",
            at.revision
        )),
        Marked::Damaged | Marked::Nothing | Marked::At(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_any_other_byte_is_seen() {
        let sums = Sums {
            revision: 7,
            entries: 3,
            digest: u64::MAX,
        };
        let bytes = encode(sums);
        assert_eq!(decode(&bytes), Some(sums));
        for at in 0..LENGTH {
            let mut flipped = bytes;
            flipped[at] ^= 0x10;
            assert_eq!(decode(&flipped), None, "byte {at}");
        }
    }

    #[test]
    fn an_older_state_than_was_acknowledged_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mark = Mark::beside(&directory.path().join("state.redb"));
        let sums = |revision, digest| Sums {
            revision,
            entries: 1,
            digest,
        };
        assert_eq!(contradiction(&mark, sums(1, 1)).unwrap(), None, "no mark");
        write(&mark.open().unwrap(), sums(5, 1)).unwrap();
        for (name, state, fits) in [
            ("as acknowledged", sums(5, 1), true),
            ("written, the mark was not", sums(6, 2), true),
            ("went back", sums(4, 1), false),
            ("another history", sums(5, 2), false),
        ] {
            let said = contradiction(&mark, state).unwrap();
            assert_eq!(said.is_none(), fits, "{name}: {said:?}");
        }
        std::fs::write(mark.path(), b"junk").unwrap();
        assert_eq!(contradiction(&mark, sums(1, 1)).unwrap(), None, "damaged");
    }
}
