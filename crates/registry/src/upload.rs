//! Uploads of blobs: a file for each, which outlives the process that began it.
//!
//! An upload's id begins with a digest of who began it. When no more may be under way, the next one takes the place of one that
//! is idle, or of one of those who have most.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::digest::Digest;
use crate::store::{Images, MAXIMUM_BLOB, Staged, StoreError};

/// How many uploads may be under way in a store.
const MOST: usize = 256;
/// When there is no room, an upload that lay idle for so long makes room for another.
const IDLE: Duration = Duration::from_secs(600);
const PREFIX: &str = "upload-";
/// How many bytes of an id say who began the upload; the others are random.
const SHARE: usize = 6;

/// Why an upload does not go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is none of this id: it ended, was given up, or lay idle for a day, or until it had to make room.
    #[error("there is no such upload")]
    Unknown,
    /// A part begins elsewhere than the last one ended.
    #[error("the upload goes on at byte {0}")]
    Gap(u64),
    /// Too many are under way, and the client has its share of them.
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

    /// Begins an upload for `client`: all that count as one have one share.
    ///
    /// # Errors
    /// Too many are under way and no other client has more, or files cannot be made.
    pub fn begin_upload(&self, client: &str) -> Result<Uuid, UploadError> {
        let id = new_id(client);
        if self.uploads()?.len() >= MOST {
            self.expire()?;
            let left = self.uploads()?;
            if left.len() >= MOST && !make_room(&left, share_of(id), self.clock.system_time()) {
                return Err(UploadError::TooMany);
            }
        }
        let path = self.upload_path(id);
        fs::File::create_new(&path).map_err(StoreError::io(path))?;
        Ok(id)
    }

    fn uploads(&self) -> Result<Vec<Under>, StoreError> {
        let directory = self.unfinished();
        let entries = fs::read_dir(&directory).map_err(StoreError::io(&directory))?;
        let uploads = entries.flatten().filter_map(|it| {
            let name = it.file_name();
            let id = name.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            let modified = it.metadata().and_then(|it| it.modified()).ok()?;
            Some(Under {
                path: it.path(),
                share: share_of(id),
                modified,
            })
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
        let staged = self.stage_upload(id, digest)?;
        let size = staged.size;
        self.settle(staged)?;
        Ok(size)
    }

    /// Ends an upload, whose content is to be a blob.
    pub(crate) fn stage_upload(&self, id: Uuid, digest: &Digest) -> Result<Staged, UploadError> {
        let path = self.upload_path(id);
        let file = fs::File::open(&path).map_err(|_| UploadError::Unknown)?;
        let size = file.metadata().map_err(StoreError::io(&path))?.len();
        let staged = self.stage(file, Some((digest, size)));
        // Whole or not what it says it is: this upload is over.
        fs::remove_file(&path).map_err(|_| UploadError::Unknown)?;
        Ok(staged?)
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// There is no such upload.
    pub fn abandon_upload(&self, id: Uuid) -> Result<(), UploadError> {
        fs::remove_file(self.upload_path(id)).map_err(|_| UploadError::Unknown)
    }
}

/// An upload that is under way.
struct Under {
    path: PathBuf,
    share: [u8; SHARE],
    modified: SystemTime,
}

fn new_id(client: &str) -> Uuid {
    let mut bytes = Uuid::new_v4().into_bytes();
    let digest = Sha256::digest(client);
    for (byte, of_client) in bytes.iter_mut().zip(digest).take(SHARE) {
        *byte = of_client;
    }
    Uuid::from_bytes(bytes)
}

fn share_of(id: Uuid) -> [u8; SHARE] {
    let [a, b, c, d, e, f, ..] = id.into_bytes();
    [a, b, c, d, e, f]
}

/// Removes the upload that was idle longest, if it was for long, or else the one that was idle longest of a share that has
/// most, if that has more than `share` will have; whether there was one.
fn make_room(uploads: &[Under], share: [u8; SHARE], now: SystemTime) -> bool {
    let Some(oldest) = uploads.iter().min_by_key(|it| it.modified) else {
        return false;
    };
    let idle = now.duration_since(oldest.modified).unwrap_or_default();
    if idle > IDLE {
        return fs::remove_file(&oldest.path).is_ok();
    }
    let mut counts: HashMap<[u8; SHARE], usize> = HashMap::new();
    for it in uploads {
        *counts.entry(it.share).or_default() += 1;
    }
    let own = counts.get(&share).copied().unwrap_or_default();
    let most = counts.values().copied().max().unwrap_or_default();
    if most <= own + 1 {
        return false;
    }
    let largest = uploads.iter().filter(|it| counts[&it.share] == most);
    let oldest = largest.min_by_key(|it| it.modified);
    oldest.is_some_and(|it| fs::remove_file(&it.path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_clock::Clock;

    #[test]
    fn an_idle_upload_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let begin = || images.begin_upload("one");
        let first = begin().unwrap();
        for _ in 1..MOST {
            begin().unwrap();
        }
        assert!(matches!(begin(), Err(UploadError::TooMany)));
        let file = fs::File::options()
            .append(true)
            .open(images.upload_path(first));
        let file = file.unwrap();
        file.set_modified(Clock::system().system_time() - 2 * IDLE)
            .unwrap();
        begin().unwrap();
        assert!(matches!(
            images.upload_size(first),
            Err(UploadError::Unknown)
        ));
        assert!(matches!(begin(), Err(UploadError::TooMany)));
    }

    #[test]
    fn who_has_most_uploads_makes_room_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        for _ in 0..MOST {
            images.begin_upload("greedy").unwrap();
        }
        let mine: Vec<Uuid> = (0..MOST / 2)
            .map(|_| images.begin_upload("other").unwrap())
            .collect();
        // Both have half, and neither takes from the other.
        for client in ["greedy", "other"] {
            let refused = images.begin_upload(client);
            assert!(matches!(refused, Err(UploadError::TooMany)), "{client}");
        }
        images.begin_upload("third").unwrap();
        assert_eq!(images.uploads().unwrap().len(), MOST);
        let left = mine.iter().filter(|it| images.upload_size(**it).is_ok());
        assert!(left.count() >= MOST / 2 - 1);
    }
}
