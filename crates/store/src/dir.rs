use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{Embedded, Opening, Store, StoreError};

/// The retries for a locked state, and the pause between them: a killed process needs a moment to release the
/// lock, and its restart should not fail because of that.
const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The path of the state file in a data directory.
pub fn state_file(directory: &Path) -> PathBuf {
    directory.join("state.redb")
}

/// Opens the state in a data directory, and creates both if they are absent. Sets the directory's mode to 0700,
/// because it contains secrets. Blocks, for at most two seconds when another process has the state open.
///
/// # Errors
/// [`StoreError::InUse`] when another process keeps it open; otherwise the error of the file system or the engine.
pub fn open_dir(path: &Path) -> Result<Arc<dyn Store>, StoreError> {
    open_dir_with(path, &Opening::default())
}

/// Like [`open_dir`], with options.
///
/// # Errors
/// Like [`open_dir`]; [`StoreError::Foreign`] when the state belongs to another installation or region.
pub fn open_dir_with(path: &Path, opening: &Opening) -> Result<Arc<dyn Store>, StoreError> {
    make_private(path).map_err(|error| StoreError::io(path, error))?;
    Ok(Arc::new(open_patiently(&state_file(path), opening)?))
}

fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    let mut permissions = std::fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o700);
        std::fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

fn open_patiently(file: &Path, opening: &Opening) -> Result<Embedded, StoreError> {
    for _ in 1..TRIES {
        match Embedded::open(file, opening) {
            Err(StoreError::InUse(_)) => std::thread::sleep(BETWEEN_TRIES),
            opened => return opened,
        }
    }
    Embedded::open(file, opening)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_private_and_open_once_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let store = open_dir(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("state.redb")), 0o600);
        let second = open_dir(&path).err().unwrap();
        assert!(matches!(second, StoreError::InUse(_)), "{second}");
        drop(store);
        open_dir(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_state_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("state.redb"), b"hello, world").unwrap();
        assert!(open_dir(directory.path()).is_err());
    }
}
