//! The identity of an installation: an id made once, by which a start detects another installation's state.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

const FILE: &str = "installation.json";

#[derive(Debug, Serialize, Deserialize)]
struct Installation {
    id: String,
}

/// The installation's id. If it has none yet, it takes the id in its state, else a new one.
///
/// # Errors
/// When the file cannot be read or written, or does not contain an id.
pub(super) fn load_or_create(directory: &Path, known: Option<&str>) -> anyhow::Result<String> {
    if let Some(id) = load(directory)? {
        return Ok(id);
    }
    let id = match known {
        Some(known) => known.to_owned(),
        None => hex::encode(lath_tunnel::private_key().0.get(..8).unwrap_or_default()),
    };
    match store(directory, &id) {
        // Another region has made it at the same time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(load(directory)?.unwrap_or(id))
        }
        Ok(()) => Ok(id),
        Err(error) => {
            Err(error).with_context(|| format!("cannot write {}", directory.join(FILE).display()))
        }
    }
}

/// The installation's id, if it has one.
///
/// # Errors
/// When the file cannot be read or does not contain an id.
pub(crate) fn load(directory: &Path) -> anyhow::Result<Option<String>> {
    let path = directory.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let read = serde_json::from_slice::<Installation>(&bytes);
    read.map(|installation| Some(installation.id))
        .with_context(|| {
            format!(
                "{} is damaged: remove it, and the next start writes it from the state",
                path.display()
            )
        })
}

/// Writes a temporary file and links it into place: complete, and never over an existing id.
fn store(directory: &Path, id: &str) -> io::Result<()> {
    let beside = directory.join(format!(".{FILE}.{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = (|| {
        file.write_all(&serde_json::to_vec(&Installation { id: id.into() })?)?;
        file.sync_all()?;
        fs::hard_link(&beside, directory.join(FILE))
    })();
    fs::remove_file(&beside)?;
    written?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_kept_and_junk_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let id = load_or_create(directory.path(), None).unwrap();
        assert_eq!(id.len(), 16);
        assert_eq!(load_or_create(directory.path(), Some("other")).unwrap(), id);
        fs::write(directory.path().join(FILE), "junk").unwrap();
        let error = format!("{:#}", load_or_create(directory.path(), None).unwrap_err());
        assert!(
            error.contains("installation.json is damaged: remove it"),
            "{error}"
        );
        fs::remove_file(directory.path().join(FILE)).unwrap();
        assert_eq!(
            load_or_create(directory.path(), Some("known")).unwrap(),
            "known"
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
