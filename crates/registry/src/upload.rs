//! Uploads of blobs: a file for each, which outlives the process that began it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::digest::Digest;
use crate::store::{Images, MAXIMUM_BLOB, StoreError};

/// How many uploads may be under way in a store.
const MOST: usize = 256;
/// When there is no room, an upload that lay idle for so long makes room for another.
const IDLE: Duration = Duration::from_secs(600);
const PREFIX: &str = "upload-";

/// Why an upload does not go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is none of this id: it ended, was given up, or lay idle for a day, or until it had to make room.
    #[error("there is no such upload")]
    Unknown,
    /// A part begins elsewhere than the last one ended.
    #[error("the upload goes on at byte {0}")]
    Gap(u64),
    /// Too many are under way.
    #[error("{MOST} uploads are under way; try again later")]
    TooMany,
    /// The store failed, or the content is not what it was said to be.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Images {
    pub(crate) fn upload_path(&self, id: Uuid) -> PathBuf {
        self.unfinished().join(format!("{PREFIX}{id}"))
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// Too many are under way, or files cannot be made.
    pub fn begin_upload(&self) -> Result<Uuid, UploadError> {
        if self.uploads()?.len() >= MOST {
            self.expire()?;
            let left = self.uploads()?;
            if left.len() >= MOST && !drop_idle(left) {
                return Err(UploadError::TooMany);
            }
        }
        let id = Uuid::new_v4();
        let path = self.upload_path(id);
        fs::File::create_new(&path).map_err(StoreError::io(path))?;
        Ok(id)
    }

    fn uploads(&self) -> Result<Vec<fs::DirEntry>, StoreError> {
        let directory = self.unfinished();
        let entries = fs::read_dir(&directory).map_err(StoreError::io(&directory))?;
        let uploads = entries.flatten().filter(|it| {
            let name = it.file_name();
            name.to_string_lossy().starts_with(PREFIX)
        });
        Ok(uploads.collect())
    }

    /// How many bytes an upload has.
    ///
    /// # Errors
    /// There is no such upload.
    pub fn upload_size(&self, id: Uuid) -> Result<u64, UploadError> {
        let file = fs::metadata(self.upload_path(id));
        Ok(file.map_err(|_| UploadError::Unknown)?.len())
    }

    /// Adds a part to an upload, which goes on at `first`; how many bytes it has then.
    ///
    /// # Errors
    /// There is no such upload, it goes on elsewhere, is too large, or cannot be written.
    pub fn append_upload(&self, id: Uuid, first: u64, part: &[u8]) -> Result<u64, UploadError> {
        let path = self.upload_path(id);
        let file = OpenOptions::new().append(true).open(&path);
        let mut file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => UploadError::Unknown,
            _ => StoreError::io(&path)(error).into(),
        })?;
        let size = file.metadata().map_err(StoreError::io(&path))?.len();
        if size != first {
            return Err(UploadError::Gap(size));
        }
        let whole = size + part.len() as u64;
        if whole > MAXIMUM_BLOB {
            return Err(StoreError::TooLarge.into());
        }
        file.write_all(part).map_err(StoreError::io(path))?;
        Ok(whole)
    }

    /// Ends an upload: what came is a blob of the store if it has this digest, and is dropped if not.
    ///
    /// # Errors
    /// There is no such upload, its content is another, or files cannot be changed.
    pub fn finish_upload(&self, id: Uuid, digest: &Digest) -> Result<u64, UploadError> {
        let path = self.upload_path(id);
        let file = fs::File::open(&path).map_err(|_| UploadError::Unknown)?;
        let size = file.metadata().map_err(StoreError::io(&path))?.len();
        let kept = self.keep(file, Some((digest, size)));
        // Kept or not what it says it is: this upload is over.
        fs::remove_file(&path).map_err(|_| UploadError::Unknown)?;
        kept?;
        Ok(size)
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// There is no such upload.
    pub fn abandon_upload(&self, id: Uuid) -> Result<(), UploadError> {
        fs::remove_file(self.upload_path(id)).map_err(|_| UploadError::Unknown)
    }
}

/// Removes the upload that was idle longest, if it was for long; whether there was one.
fn drop_idle(uploads: Vec<fs::DirEntry>) -> bool {
    let modified = |it: &fs::DirEntry| it.metadata().and_then(|it| it.modified()).ok();
    let all = uploads.iter().filter_map(|it| Some((modified(it)?, it)));
    let Some((at, oldest)) = all.min_by_key(|(at, _)| *at) else {
        return false;
    };
    let idle = SystemTime::now().duration_since(at).unwrap_or_default();
    idle > IDLE && fs::remove_file(oldest.path()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_upload_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let first = images.begin_upload().unwrap();
        for _ in 1..MOST {
            images.begin_upload().unwrap();
        }
        assert!(matches!(images.begin_upload(), Err(UploadError::TooMany)));
        let file = fs::File::options()
            .append(true)
            .open(images.upload_path(first));
        let file = file.unwrap();
        file.set_modified(SystemTime::now() - 2 * IDLE).unwrap();
        images.begin_upload().unwrap();
        assert!(matches!(
            images.upload_size(first),
            Err(UploadError::Unknown)
        ));
        assert!(matches!(images.begin_upload(), Err(UploadError::TooMany)));
    }
}
