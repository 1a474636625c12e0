//! The file of the key that seals session tokens.

use std::fs;
use std::io;
use std::path::Path;

use lath_session::SealingKey;

use crate::root_key::{self, KeyError};

/// The file in the installation's directory, beside the root key.
const FILE: &str = "session-key";

/// For errors: the expected content of the file, and what to do when it is damaged.
const WHAT: &str = "the key that seals session tokens. Put it back from a backup, or remove it: a new one is made, and every temporary credential (AssumeRole) stops working";

/// Loads the sealing key from `dir`. Creates it at the first start with mode 0600. Two processes that create it
/// at once get the same key.
///
/// # Errors
/// [`KeyError`] when the file is not readable, not writable or not a key.
pub fn sealing_key(dir: &Path) -> Result<SealingKey, KeyError> {
    kept(dir, FILE, WHAT, SealingKey::parse, || {
        SealingKey::random().reveal().to_owned()
    })
}

/// A secret of the installation: a file beside the root key, which `make` writes at the first use, with mode 0600. Two
/// processes that make it at once get the same. `what` says for errors what the file should hold, and what to do.
///
/// # Errors
/// [`KeyError`] when the file is not readable, not writable or not what `parse` takes.
pub fn kept<T>(
    dir: &Path,
    file: &str,
    what: &'static str,
    parse: impl Fn(&[u8]) -> Option<T>,
    make: impl FnOnce() -> String,
) -> Result<T, KeyError> {
    let path = dir.join(file);
    let malformed = || KeyError::Malformed {
        path: path.clone(),
        what,
    };
    if let Some(text) = root_key::read_private(&path, what)? {
        return parse(&text).ok_or_else(malformed);
    }
    let text = make();
    match root_key::write_private(dir, file, text.as_bytes()) {
        Ok(()) => parse(text.as_bytes()).ok_or_else(malformed),
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            let text = fs::read(&path).map_err(root_key::failed("read", &path))?;
            parse(&text).ok_or_else(malformed)
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
        let error = sealing_key(dir.path()).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("session-key is damaged"), "{text}");
        assert!(
            text.contains("remove it") && !text.contains("access key"),
            "{text}"
        );
    }
}
