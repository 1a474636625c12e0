//! The store: an OCI image layout in a directory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lath_clock::Clock;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::digest::Digest;
use crate::manifest::{Descriptor, MAXIMUM_MANIFEST, Manifest, OCI_INDEX};
use crate::reference::{Reference, Target};

/// The store's directory in the data directory. All regions share it.
pub const DIRECTORY: &str = "images";

/// The largest blob, in bytes.
pub(crate) const MAXIMUM_BLOB: u64 = 32 << 30;

/// The largest index of the store: tens of thousands of images.
const MAXIMUM_INDEX: u64 = 16 << 20;
/// How deep indexes may be in indexes.
const DEPTH: usize = 4;
/// After this time a blob that no image has is left of something that was interrupted.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// The layout's annotations for names: the first is the standard's, the second containerd reads.
pub(crate) const NAME: &str = "org.opencontainers.image.ref.name";
pub(crate) const FULL_NAME: &str = "io.containerd.image.name";

/// What went wrong with the store's files.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The index of names is not what Lath wrote.
    #[error("{path} is damaged: {why}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Bytes that are not what their digest or size says.
    #[error("a blob is not {digest} of {size} bytes, as its manifest says")]
    Mismatch {
        /// The digest it should have.
        digest: Digest,
        /// The size it should have.
        size: u64,
    },
    /// More bytes than a blob may have.
    #[error("a blob is larger than {MAXIMUM_BLOB} bytes")]
    TooLarge,
    /// More names than the index may have.
    #[error("the store has no room for another name; remove images")]
    Full,
}

impl StoreError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Its full name.
    pub name: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Bytes of all its blobs, as far as they are here.
    pub size: u64,
}

/// Images in a directory. Clones are the same store, and so is what any other process opens there.
#[derive(Debug, Clone)]
pub struct Images {
    root: PathBuf,
    pub(crate) clock: Clock,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u64,
    #[serde(default)]
    media_type: String,
    manifests: Vec<Entry>,
}

/// A name and its image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) descriptor: Descriptor,
    annotations: Annotations,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    name: String,
    #[serde(rename = "io.containerd.image.name")]
    full_name: String,
    /// When the name was given, in milliseconds since 1970.
    #[serde(
        rename = "lath.named-at",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    named_at: Option<u64>,
    /// Whether it was fetched because a node asked for it.
    #[serde(
        rename = "lath.cached",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    cached: Option<bool>,
}

impl Entry {
    pub(crate) fn new(name: &Reference, descriptor: Descriptor, now: SystemTime) -> Self {
        let name = name.to_string();
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            descriptor,
            annotations: Annotations {
                full_name: name.clone(),
                name,
                named_at: now.ok().and_then(|it| u64::try_from(it.as_millis()).ok()),
                cached: None,
            },
        }
    }

    pub(crate) fn cached(self) -> Self {
        let mut this = self;
        this.annotations.cached = Some(true);
        this
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.annotations.cached == Some(true)
    }

    pub(crate) fn name(&self) -> &str {
        &self.annotations.name
    }

    pub(crate) fn reference(&self) -> Option<Reference> {
        self.annotations.name.parse().ok()
    }

    pub(crate) fn named_at(&self) -> Option<u64> {
        self.annotations.named_at
    }
}

impl Images {
    /// The store in `root`, which is made if it is missing. It goes by the machine's clock (see [`Images::with_clock`]).
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let this = Self {
            root: root.into(),
            clock: Clock::system(),
        };
        for directory in [this.blobs(), this.unfinished()] {
            fs::create_dir_all(&directory).map_err(StoreError::io(directory))?;
        }
        let layout = this.root.join("oci-layout");
        if !layout.exists() {
            this.replace(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(this)
    }

    /// The same store by another clock: when names are given, and the age of files.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The image that has this name.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn find(&self, reference: &Reference) -> Result<Option<Descriptor>, StoreError> {
        if let Target::Digest(digest) = reference.target() {
            let found = self.manifest(digest)?;
            return Ok(found.map(|(manifest, bytes)| {
                Descriptor::new(&manifest.media_type, digest.clone(), bytes.len() as u64)
            }));
        }
        let name = reference.to_string();
        let entries = self.index()?.manifests;
        let found = entries.into_iter().find(|it| it.name() == name);
        Ok(found.map(|it| it.descriptor))
    }

    /// All images, by name.
    ///
    /// # Errors
    /// The index or a manifest cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        let mut images = Vec::new();
        let entries = self.names()?;
        let tagged: BTreeSet<Reference> = entries
            .iter()
            .filter_map(|it| {
                let name = it.reference()?;
                let is_tag = matches!(name.target(), Target::Tag(_));
                is_tag.then(|| name.at(it.descriptor.digest.clone()))
            })
            .collect();
        for entry in entries {
            // A repository that keeps untagged images names each by its digest too.
            if entry.reference().is_some_and(|it| tagged.contains(&it)) {
                continue;
            }
            let mut blobs = BTreeSet::new();
            self.mark(&entry.descriptor.digest, DEPTH, &mut blobs)?;
            let sizes = blobs.iter().map(|it| self.size(it));
            images.push(Image {
                size: sizes.sum::<Result<u64, _>>()?,
                name: entry.annotations.name,
                digest: entry.descriptor.digest,
            });
        }
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// The tags of a repository, in order.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn tags(&self, registry: &str, repository: &str) -> Result<Vec<String>, StoreError> {
        let entries = self.index()?.manifests;
        let names = entries.iter().filter_map(Entry::reference);
        let tags = names.filter_map(|name| match name.target() {
            Target::Tag(tag) if name.registry() == registry && name.repository() == repository => {
                Some(tag.clone())
            }
            _ => None,
        });
        Ok(tags.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// The manifest with this digest and its bytes; `None` if there is no such blob, or if it is something else.
    ///
    /// # Errors
    /// The blob cannot be read.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<(Manifest, Vec<u8>)>, StoreError> {
        let Some((file, size)) = self.blob(digest)? else {
            return Ok(None);
        };
        if size > MAXIMUM_MANIFEST as u64 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(MAXIMUM_MANIFEST as u64)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io(self.blob_path(digest)))?;
        Ok(Manifest::read(&bytes)
            .ok()
            .map(|manifest| (manifest, bytes)))
    }

    /// The blob with this digest, and its size.
    ///
    /// # Errors
    /// It is there but cannot be opened.
    pub fn blob(&self, digest: &Digest) -> Result<Option<(File, u64)>, StoreError> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io(path)(error)),
        };
        let size = file.metadata().map_err(StoreError::io(path))?.len();
        Ok(Some((file, size)))
    }

    /// Removes a name, and the blobs that no other image has; whether there was such a name.
    ///
    /// # Errors
    /// Files cannot be changed.
    pub fn remove(&self, reference: &Reference) -> Result<bool, StoreError> {
        let lock = self.lock()?;
        let name = reference.to_string();
        let entries = self.names()?;
        let had = entries.len();
        let rest: Vec<Entry> = entries.into_iter().filter(|it| it.name() != name).collect();
        let any = rest.len() < had;
        if any {
            self.rename(&lock, rest)?;
        }
        Ok(any)
    }

    /// Every name, and its image.
    pub(crate) fn names(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.index()?.manifests)
    }

    /// Writes the names anew, and removes the blobs of images that have none any more.
    pub(crate) fn rename(&self, _lock: &Lock, names: Vec<Entry>) -> Result<(), StoreError> {
        let kept: BTreeSet<Digest> = names
            .iter()
            .map(|it| it.descriptor.digest.clone())
            .collect();
        let mut gone = self.index()?.manifests;
        gone.retain(|it| !kept.contains(&it.descriptor.digest));
        let gone: Vec<Descriptor> = gone.into_iter().map(|it| it.descriptor).collect();
        self.write_index(&Index {
            manifests: names,
            ..Index::default()
        })?;
        self.sweep(&gone)
    }

    /// Gives an image, whose blobs are there, its names, and takes them from those that had them.
    pub(crate) fn name(
        &self,
        lock: &Lock,
        names: &[Reference],
        image: &Descriptor,
    ) -> Result<(), StoreError> {
        let now = self.clock.system_time();
        let entries = names
            .iter()
            .map(|name| Entry::new(name, image.clone(), now));
        self.enter(lock, entries.collect())
    }

    /// As [`Images::name`].
    pub(crate) fn enter(&self, lock: &Lock, new: Vec<Entry>) -> Result<(), StoreError> {
        let mut entries = self.names()?;
        for entry in new {
            match entries.iter_mut().find(|it| it.name() == entry.name()) {
                Some(old) => *old = entry,
                None => entries.push(entry),
            }
        }
        self.rename(lock, entries)
    }

    /// Changes wait here for one another, in whatever process they are.
    pub(crate) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io(&path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| StoreError::io(path)(error.into()))?;
        Ok(Lock { _file: lock })
    }

    /// Keeps what `reader` has, which must be `expected` if that is said.
    pub(crate) fn keep(
        &self,
        reader: impl Read,
        expected: Option<(&Digest, u64)>,
    ) -> Result<(Digest, u64), StoreError> {
        let staged = self.stage(reader, expected)?;
        let (digest, size) = (staged.digest.clone(), staged.size);
        self.settle(staged)?;
        Ok((digest, size))
    }

    /// Writes what `reader` has to a file beside the blobs, which goes unless it becomes one by [`Images::settle`].
    pub(crate) fn stage(
        &self,
        mut reader: impl Read,
        expected: Option<(&Digest, u64)>,
    ) -> Result<Staged, StoreError> {
        let directory = self.unfinished();
        let failed = || StoreError::io(&directory);
        let mut file = NamedTempFile::new_in(&directory).map_err(failed())?;
        let (mut hasher, mut size) = (Sha256::new(), 0_u64);
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = reader.read(&mut buffer).map_err(failed())?;
            if read == 0 {
                break;
            }
            size += read as u64;
            if size > MAXIMUM_BLOB {
                return Err(StoreError::TooLarge);
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(failed())?;
        }
        let digest = Digest::finished(hasher);
        if let Some((wanted, length)) = expected
            && (*wanted != digest || length != size)
        {
            return Err(StoreError::Mismatch {
                digest: wanted.clone(),
                size: length,
            });
        }
        file.as_file().sync_all().map_err(failed())?;
        Ok(Staged { file, digest, size })
    }

    /// Makes a file that was staged a blob.
    pub(crate) fn settle(&self, staged: Staged) -> Result<(), StoreError> {
        let path = self.blob_path(&staged.digest);
        let kept = staged.file.persist(&path);
        kept.map(drop)
            .map_err(|error| StoreError::io(path)(error.error))
    }

    /// Whether a blob is there, of the size that is said.
    pub(crate) fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|it| it.len() == size)
    }

    /// Where files are that are not whole yet.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    /// Where repositories note the layers that were pushed or mounted there.
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    fn size(&self, digest: &Digest) -> Result<u64, StoreError> {
        Ok(self.blob(digest)?.map_or(0, |(_, size)| size))
    }

    fn index(&self) -> Result<Index, StoreError> {
        let path = self.root.join("index.json");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(MAXIMUM_INDEX).read_to_end(&mut bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => Err(error),
        }
        .map_err(StoreError::io(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
            path,
            why: error.to_string(),
        })
    }

    fn write_index(&self, index: &Index) -> Result<(), StoreError> {
        let index = Index {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: index.manifests.clone(),
        };
        let path = self.root.join("index.json");
        let bytes = serde_json::to_vec(&index).map_err(|error| StoreError::Damaged {
            path: path.clone(),
            why: error.to_string(),
        })?;
        // A larger one could not be read again.
        if bytes.len() as u64 > MAXIMUM_INDEX {
            return Err(StoreError::Full);
        }
        self.replace(&path, &bytes)
    }

    /// A crash leaves the old file or the new one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let write = || {
            let mut file = NamedTempFile::new_in(self.unfinished())?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)
        };
        write().map(drop).map_err(StoreError::io(path))
    }

    /// Adds to `all` what an image consists of, as far as it is here.
    pub(crate) fn add_parts(
        &self,
        image: &Digest,
        all: &mut BTreeSet<Digest>,
    ) -> Result<(), StoreError> {
        self.mark(image, DEPTH, all)
    }

    fn mark(
        &self,
        digest: &Digest,
        depth: usize,
        all: &mut BTreeSet<Digest>,
    ) -> Result<(), StoreError> {
        if !all.insert(digest.clone()) || depth == 0 {
            return Ok(());
        }
        let Some((manifest, _)) = self.manifest(digest)? else {
            return Ok(());
        };
        all.extend(manifest.blobs.into_iter().map(|it| it.digest));
        for child in manifest.manifests {
            self.mark(&child.digest, depth - 1, all)?;
        }
        Ok(())
    }

    /// Removes the blobs of images that lost their name, if no other image has them, and what was abandoned long ago.
    /// Other blobs that no image has may be of one that is just arriving.
    fn sweep(&self, gone: &[Descriptor]) -> Result<(), StoreError> {
        let (mut candidates, mut used) = (BTreeSet::new(), BTreeSet::new());
        for image in gone {
            self.mark(&image.digest, DEPTH, &mut candidates)?;
        }
        for entry in self.index()?.manifests {
            self.mark(&entry.descriptor.digest, DEPTH, &mut used)?;
        }
        self.add_awaited(&mut used);
        let now = self.clock.system_time();
        let directory = self.blobs();
        let entries = fs::read_dir(&directory).map_err(StoreError::io(&directory))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io(&directory))?;
            let name = entry.file_name();
            let digest = format!("sha256:{}", name.to_string_lossy()).parse::<Digest>();
            let is_used = digest.as_ref().is_ok_and(|it| used.contains(it));
            let is_gone = digest.is_ok_and(|it| candidates.contains(&it));
            if !is_used && (is_gone || is_abandoned(&entry, now)) {
                fs::remove_file(entry.path()).map_err(StoreError::io(entry.path()))?;
            }
        }
        self.expire()
    }

    /// Adds what was pushed to or mounted in repositories, whose clients were told so, for images to come.
    fn add_awaited(&self, used: &mut BTreeSet<Digest>) {
        let repositories = fs::read_dir(self.layers()).into_iter().flatten().flatten();
        let marks = repositories.flat_map(|it| fs::read_dir(it.path()).into_iter().flatten());
        let now = self.clock.system_time();
        for mark in marks.flatten().filter(|it| !is_abandoned(it, now)) {
            let digest = format!("sha256:{}", mark.file_name().to_string_lossy());
            used.extend(digest.parse::<Digest>().ok());
        }
    }

    /// Removes what was begun and abandoned long ago.
    pub(crate) fn expire(&self) -> Result<(), StoreError> {
        let unfinished = self.unfinished();
        let entries = fs::read_dir(&unfinished).map_err(StoreError::io(&unfinished))?;
        let now = self.clock.system_time();
        for entry in entries.flatten().filter(|it| is_abandoned(it, now)) {
            // Its writer may still have it open, and another sweep comes.
            let _ = fs::remove_file(entry.path());
        }
        Ok(())
    }
}

/// Content that is whole and no blob yet.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Staged {
    /// A file with content that must be what is said.
    pub(crate) fn checked(
        file: NamedTempFile,
        digest: &Digest,
        size: u64,
    ) -> Result<Self, StoreError> {
        let failed = || StoreError::io(file.path());
        let mut whole = file.reopen().map_err(failed())?;
        let mut hasher = Sha256::new();
        let length = io::copy(&mut whole, &mut hasher).map_err(failed())?;
        if Digest::finished(hasher) != *digest || length != size {
            return Err(StoreError::Mismatch {
                digest: digest.clone(),
                size,
            });
        }
        file.as_file().sync_all().map_err(failed())?;
        let digest = digest.clone();
        Ok(Self { file, digest, size })
    }
}

/// Held while the store is changed.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

pub(crate) fn is_abandoned(entry: &fs::DirEntry, now: SystemTime) -> bool {
    let modified = entry.metadata().and_then(|it| it.modified());
    modified.is_ok_and(|it| now.duration_since(it).is_ok_and(|age| age > ABANDONED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_could_not_be_read_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let entry = |name: String| Entry {
            descriptor: Descriptor::new("application/json", Digest::of(b"{}"), 2),
            annotations: Annotations {
                name: name.clone(),
                full_name: name,
                named_at: None,
                cached: None,
            },
        };
        let index = |names: Vec<String>| Index {
            manifests: names.into_iter().map(entry).collect(),
            ..Index::default()
        };
        images.write_index(&index(vec!["one".into()])).unwrap();
        let long = "x".repeat(9 << 20);
        let refused = images.write_index(&index(vec![long]));
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        assert_eq!(images.index().unwrap().manifests.len(), 1);
    }
}
