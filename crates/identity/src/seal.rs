//! Where the key that seals session tokens is kept.

use std::fs;
use std::io;
use std::path::Path;

use lath_session::SealingKey;

use crate::root_key::{self, KeyError};

/// The file in the installation's directory, beside the root key.
const FILE: &str = "session-key";

/// The sealing key in `dir`; at the first start, a new one. Mode 0600, and of two processes that create it
/// at once, both get the same.
///
/// # Errors
/// [`KeyError`] when the file is not readable, not writable or not a key.
pub fn sealing_key(dir: &Path) -> Result<SealingKey, KeyError> {
    let path = dir.join(FILE);
    let malformed = || KeyError::Malformed { path: path.clone() };
    if let Some(text) = root_key::read_private(&path)? {
        return SealingKey::parse(&text).ok_or_else(malformed);
    }
    let key = SealingKey::random();
    match root_key::write_private(dir, FILE, key.reveal().as_bytes()) {
        Ok(()) => Ok(key),
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            let text = fs::read(&path).map_err(root_key::failed("read", &path))?;
            SealingKey::parse(&text).ok_or_else(malformed)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_key_and_junk_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let made = sealing_key(dir.path()).unwrap();
        let found = sealing_key(dir.path()).unwrap();
        assert_eq!(made.reveal(), found.reveal());
        fs::write(dir.path().join(FILE), "junk").unwrap();
        assert!(matches!(
            sealing_key(dir.path()),
            Err(KeyError::Malformed { .. })
        ));
    }
}
