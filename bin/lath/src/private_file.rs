//! Files that only their owner may read, written atomically.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;

/// Writes the file durably and completely, or not at all. Does nothing if it already has this content.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    replace(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Like [`write`](fn@write), for files that every start writes. On a full disk it overwrites the existing file in place, which
/// needs no space: otherwise Lath could not start, and no user could delete anything.
pub(crate) fn write_anyway(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = match replace(path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => fs::write(path, bytes),
        written => written,
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Sets the file's mode to 0600: a copy or a restored backup may be readable by others.
pub(crate) fn close_to_others(path: &Path) -> anyhow::Result<()> {
    let close = || {
        if fs::metadata(path)?.permissions().mode() & 0o077 == 0 {
            return Ok(());
        }
        tracing::warn!(path = %path.display(), "a secret was readable by others; its mode is now 0600");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
    };
    close().with_context(|| format!("cannot set the mode of {} to 0600", path.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("lath-new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // An incomplete temporary file wastes scarce space.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        for bytes in [b"one".as_slice(), b"one", b"other"] {
            write(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            write_anyway(&path, bytes).unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        close_to_others(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
