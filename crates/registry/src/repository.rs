//! Repositories that know what is theirs: each image by its digest, its tags, and the layers that were pushed to it.
//!
//! Blobs are shared in the store. A repository has those of its images, and those that were pushed or mounted for an
//! image that is still to come: empty files in `layers` say so, for a day.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use uuid::Uuid;

use crate::digest::Digest;
use crate::manifest::{Descriptor, InvalidManifest, Manifest};
use crate::reference::{InvalidReference, Reference, Target};
use crate::store::{Entry, Images, Lock, StoreError, is_abandoned};
use crate::upload::UploadError;

/// A repository of the store.
#[derive(Debug, Clone)]
pub struct Repository {
    images: Images,
    /// With a tag that means nothing.
    name: Reference,
}

/// An image of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Its tags, in order.
    pub tags: Vec<String>,
    /// The type of its manifest.
    pub media_type: String,
    /// Of an image: what its configuration is.
    pub artifact_type: Option<String>,
    /// Bytes of its layers and configuration; of an index, of all its images.
    pub size: u64,
    /// When it came, in milliseconds since 1970.
    pub pushed_at: u64,
}

/// What came of an image that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    /// Its digest.
    pub digest: Digest,
    /// The type of its manifest.
    pub media_type: String,
    /// Whether the repository had it already, under this tag if one was given.
    pub was_there: bool,
}

/// Why an image was not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It is no manifest.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
    /// Its digest is another than was said.
    #[error("the manifest is {0}")]
    Digest(Digest),
    /// Its layers, or the images that it lists, are not in the repository.
    #[error("{} of what it names are not there", .missing.len())]
    Missing {
        /// Those that are not there.
        missing: Vec<Digest>,
        /// Whether it is an index, so that images are missing.
        is_index: bool,
    },
    /// Another image has the tag, and tags do not move.
    #[error("the tag {tag:?} is taken by {digest}, and does not move")]
    TagTaken {
        /// The tag.
        tag: String,
        /// The image that has it.
        digest: Digest,
    },
    /// The repository is not there any more.
    #[error("there is no such repository")]
    Gone,
    /// The tag is malformed.
    #[error(transparent)]
    Tag(#[from] InvalidReference),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// An index lists it.
    #[error("Requested image referenced by manifest list: [{0}]")]
    Listed(Digest),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Images {
    /// A repository by its registry and its path there. It need not have images.
    ///
    /// # Errors
    /// One of the names is malformed.
    pub fn repository(&self, registry: &str, path: &str) -> Result<Repository, InvalidReference> {
        let any = Target::Tag("latest".to_owned());
        Ok(Repository {
            images: self.clone(),
            name: Reference::new(registry, path, any)?,
        })
    }

    /// The paths of a registry's repositories that have images, in order; of all registries, with their names, if none
    /// is said.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn repositories(&self, registry: Option<&str>) -> Result<Vec<String>, StoreError> {
        let names = self.names()?;
        let names = names.iter().filter_map(Entry::reference);
        let paths = names.filter_map(|name| match registry {
            None => Some(format!("{}/{}", name.registry(), name.repository())),
            Some(it) if it == name.registry() => Some(name.repository().to_owned()),
            Some(_) => None,
        });
        Ok(paths.collect::<BTreeSet<_>>().into_iter().collect())
    }
}

impl Repository {
    /// Its images, by digest.
    ///
    /// # Errors
    /// The index or a manifest cannot be read.
    pub fn images(&self) -> Result<Vec<Held>, StoreError> {
        let mut all: BTreeMap<Digest, (Vec<String>, u64)> = BTreeMap::new();
        for (name, entry) in self.entries()? {
            let (tags, at) = all.entry(entry.descriptor.digest.clone()).or_default();
            let named_at = entry.named_at().unwrap_or_default();
            *at = if *at == 0 {
                named_at
            } else {
                named_at.min(*at)
            };
            if let Target::Tag(tag) = name.target() {
                tags.push(tag.clone());
            }
        }
        let mut held = Vec::new();
        for (digest, (mut tags, pushed_at)) in all {
            let Some((manifest, _)) = self.images.manifest(&digest)? else {
                continue;
            };
            tags.sort();
            let mut parts = BTreeSet::new();
            self.images.add_parts(&digest, &mut parts)?;
            let mut size = 0;
            for part in parts.iter().filter(|it| **it != digest) {
                size += self.images.blob(part)?.map_or(0, |(_, size)| size);
            }
            held.push(Held {
                digest,
                tags,
                artifact_type: manifest.blobs.first().map(|it| it.media_type.clone()),
                media_type: manifest.media_type,
                size,
                pushed_at,
            });
        }
        Ok(held)
    }

    /// The image that has a tag, or this digest.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn find(&self, target: &Target) -> Result<Option<Digest>, StoreError> {
        let entries = self.entries()?;
        let mut found = entries.into_iter().filter(|(name, entry)| match target {
            Target::Tag(_) => name.target() == target,
            Target::Digest(digest) => entry.descriptor.digest == *digest,
        });
        Ok(found.next().map(|(_, entry)| entry.descriptor.digest))
    }

    /// The manifest of an image of this repository.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn manifest(
        &self,
        target: &Target,
    ) -> Result<Option<(Digest, Manifest, Vec<u8>)>, StoreError> {
        let Some(digest) = self.find(target)? else {
            return Ok(None);
        };
        let found = self.images.manifest(&digest)?;
        Ok(found.map(|(manifest, bytes)| (digest, manifest, bytes)))
    }

    /// A blob of one of its images, or one that was pushed for an image to come; and its size.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn layer(&self, digest: &Digest) -> Result<Option<(File, u64)>, StoreError> {
        if !self.mark_of(digest).exists() && !self.parts()?.contains(digest) {
            return Ok(None);
        }
        self.images.blob(digest)
    }

    /// Ends an upload: what came is a blob of this repository if it has this digest, and is dropped if not; whether the
    /// repository had it already. Nothing sweeps between the two, so that the blob does not go with another's image.
    ///
    /// # Errors
    /// There is no such upload, its content is another, or files cannot be changed.
    pub fn finish_upload(&self, id: Uuid, digest: &Digest) -> Result<bool, UploadError> {
        let staged = self.images.stage_upload(id, digest)?;
        let lock = self.images.lock()?;
        let had = self.layer(digest)?.is_some();
        self.images.settle(staged)?;
        self.note_layer(&lock, digest)?;
        Ok(had)
    }

    /// Takes over a blob that another repository has; whether it has it.
    ///
    /// # Errors
    /// Files cannot be read or changed.
    pub fn mount(&self, from: &Self, digest: &Digest) -> Result<bool, StoreError> {
        let lock = self.images.lock()?;
        let has = from.layer(digest)?.is_some();
        if has {
            self.note_layer(&lock, digest)?;
        }
        Ok(has)
    }

    /// Notes that a blob was pushed or mounted here.
    fn note_layer(&self, _lock: &Lock, digest: &Digest) -> Result<(), StoreError> {
        let path = self.mark_of(digest);
        let directory = self.marks();
        fs::create_dir_all(&directory).map_err(StoreError::io(directory))?;
        File::create(&path).map_err(StoreError::io(path)).map(drop)
    }

    /// Does something while the repository has no image and none comes: a push waits, and is judged after that. `None`
    /// where it has images.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn while_empty<T>(&self, act: impl FnOnce() -> T) -> Result<Option<T>, StoreError> {
        let _lock = self.images.lock()?;
        let is_empty = self.entries()?.is_empty();
        Ok(is_empty.then(act))
    }

    /// Keeps an image whose layers are here. `judge` is asked, while nothing else changes, whether the repository is still
    /// there and tags move in it.
    ///
    /// # Errors
    /// It is no manifest, something is missing, the tag is taken, or the store failed.
    pub fn put(
        &self,
        bytes: &[u8],
        expected: Option<&Digest>,
        tag: Option<&str>,
        judge: impl FnOnce(&str) -> Option<bool>,
    ) -> Result<PutOutcome, PutError> {
        let manifest = Manifest::read(bytes)?;
        let digest = Digest::of(bytes);
        if expected.is_some_and(|it| *it != digest) {
            return Err(PutError::Digest(digest));
        }
        let tagged = tag.map(|tag| self.named(Target::Tag(tag.to_owned())));
        let tagged = tagged.transpose()?;
        let lock = self.images.lock()?;
        let moves = judge(tag.unwrap_or_default()).ok_or(PutError::Gone)?;
        self.check_parts(&manifest)?;
        let image = Descriptor::new(&manifest.media_type, digest.clone(), bytes.len() as u64);
        let entries = self.entries()?;
        let is_here = entries
            .iter()
            .any(|(_, entry)| entry.descriptor.digest == digest);
        let holder = tagged.as_ref().and_then(|name| {
            let mut entries = entries.iter();
            let holder = entries.find(|(it, _)| it == name)?;
            Some(holder.1.descriptor.digest.clone())
        });
        let was_there = match (&holder, tag) {
            (Some(holder), Some(tag)) if *holder != digest && !moves => {
                return Err(PutError::TagTaken {
                    tag: tag.to_owned(),
                    digest: holder.clone(),
                });
            }
            (Some(holder), _) => *holder == digest,
            (None, Some(_)) => false,
            (None, None) => is_here,
        };
        if !was_there {
            self.images
                .keep(bytes, Some((&digest, bytes.len() as u64)))?;
            let mut names = Vec::new();
            if !is_here {
                names.push(self.name.at(digest.clone()));
            }
            names.extend(tagged);
            self.images.name(&lock, &names, &image)?;
        }
        // The image keeps its layers from here on; marks would keep them when it is removed.
        for blob in &manifest.blobs {
            // One that stays goes in a day.
            let _ = fs::remove_file(self.mark_of(&blob.digest));
        }
        Ok(PutOutcome {
            digest,
            media_type: manifest.media_type,
            was_there,
        })
    }

    fn check_parts(&self, manifest: &Manifest) -> Result<(), PutError> {
        let parts = self.parts()?;
        let is_here = |it: &Descriptor| {
            let is_known = parts.contains(&it.digest) || self.mark_of(&it.digest).exists();
            is_known && self.images.has(&it.digest, it.size)
        };
        let of_images = self.entries()?;
        let is_image = |it: &Descriptor| {
            let mut all = of_images.iter();
            all.any(|(_, entry)| entry.descriptor.digest == it.digest)
        };
        let missing = manifest.blobs.iter().filter(|it| !is_here(it));
        let unlisted = manifest.manifests.iter().filter(|it| !is_image(it));
        let missing: BTreeSet<Digest> = missing
            .chain(unlisted)
            .map(|it| it.digest.clone())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(PutError::Missing {
            missing: missing.into_iter().collect(),
            is_index: manifest.is_index(),
        })
    }

    /// Takes a tag away, and the image with its last tag; the image that had it.
    ///
    /// # Errors
    /// An index lists the image, or files cannot be changed.
    pub fn untag(&self, tag: &str) -> Result<Option<Digest>, RemoveError> {
        let Ok(name) = self.named(Target::Tag(tag.to_owned())) else {
            return Ok(None);
        };
        let lock = self.images.lock()?;
        let entries = self.entries()?;
        let Some((_, found)) = entries.iter().find(|(it, _)| *it == name) else {
            return Ok(None);
        };
        let digest = found.descriptor.digest.clone();
        let is_last = !entries.iter().any(|(it, entry)| {
            let is_tag = matches!(it.target(), Target::Tag(_));
            is_tag && *it != name && entry.descriptor.digest == digest
        });
        if is_last {
            self.check_unlisted(&digest, &entries)?;
        }
        self.drop_names(&lock, |it, entry| {
            *it == name || (is_last && entry.descriptor.digest == digest)
        })?;
        Ok(Some(digest))
    }

    /// Takes an image away, with all its tags; the tags, or `None` if there is no such image.
    ///
    /// # Errors
    /// An index lists the image, or files cannot be changed.
    pub fn remove(&self, digest: &Digest) -> Result<Option<Vec<String>>, RemoveError> {
        let lock = self.images.lock()?;
        let entries = self.entries()?;
        let of_image = entries
            .iter()
            .filter(|(_, entry)| entry.descriptor.digest == *digest);
        let names: Vec<&Reference> = of_image.map(|(name, _)| name).collect();
        if names.is_empty() {
            return Ok(None);
        }
        self.check_unlisted(digest, &entries)?;
        let tags = names.iter().filter_map(|name| match name.target() {
            Target::Tag(tag) => Some(tag.clone()),
            Target::Digest(_) => None,
        });
        let tags = tags.collect();
        self.drop_names(&lock, |_, entry| entry.descriptor.digest == *digest)?;
        Ok(Some(tags))
    }

    /// Without the image, an index that lists it would be broken.
    fn check_unlisted(
        &self,
        image: &Digest,
        entries: &[(Reference, Entry)],
    ) -> Result<(), RemoveError> {
        for (_, entry) in entries {
            let digest = &entry.descriptor.digest;
            let manifest = self.images.manifest(digest)?;
            if manifest.is_some_and(|(it, _)| it.manifests.iter().any(|it| it.digest == *image)) {
                return Err(RemoveError::Listed(digest.clone()));
            }
        }
        Ok(())
    }

    /// Takes everything away.
    ///
    /// # Errors
    /// Files cannot be changed.
    pub fn clear(&self) -> Result<(), StoreError> {
        let lock = self.images.lock()?;
        // The marks go first, since they keep layers.
        let marks = self.marks();
        match fs::remove_dir_all(&marks) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(marks)(error));
            }
            _ => {}
        }
        self.drop_names(&lock, |_, _| true)
    }

    /// Removes the marks of layers whose image never came. Images that came need none.
    ///
    /// # Errors
    /// Files cannot be changed.
    pub fn expire(&self) -> Result<(), StoreError> {
        self.images.expire()?;
        let marks = self.marks();
        let Ok(entries) = fs::read_dir(&marks) else {
            return Ok(());
        };
        let now = self.images.clock.system_time();
        for entry in entries.flatten().filter(|it| is_abandoned(it, now)) {
            fs::remove_file(entry.path()).map_err(StoreError::io(entry.path()))?;
        }
        Ok(())
    }

    fn drop_names(
        &self,
        lock: &Lock,
        is_gone: impl Fn(&Reference, &Entry) -> bool,
    ) -> Result<(), StoreError> {
        let mut names = self.images.names()?;
        names.retain(|entry| match entry.reference() {
            Some(name) if self.has(&name) => !is_gone(&name, entry),
            _ => true,
        });
        self.images.rename(lock, names)
    }

    /// Everything that its images consist of.
    fn parts(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let mut parts = BTreeSet::new();
        for (_, entry) in self.entries()? {
            self.images
                .add_parts(&entry.descriptor.digest, &mut parts)?;
        }
        Ok(parts)
    }

    fn entries(&self) -> Result<Vec<(Reference, Entry)>, StoreError> {
        let names = self.images.names()?.into_iter();
        let mine = names.filter_map(|entry| {
            let name = entry.reference().filter(|it| self.has(it))?;
            Some((name, entry))
        });
        Ok(mine.collect())
    }

    fn has(&self, name: &Reference) -> bool {
        name.registry() == self.name.registry() && name.repository() == self.name.repository()
    }

    fn named(&self, target: Target) -> Result<Reference, InvalidReference> {
        Reference::new(self.name.registry(), self.name.repository(), target)
    }

    fn marks(&self) -> PathBuf {
        let name = format!("{}/{}", self.name.registry(), self.name.repository());
        let directory = Digest::of(name.as_bytes()).hex();
        self.images.layers().join(directory)
    }

    fn mark_of(&self, digest: &Digest) -> PathBuf {
        self.marks().join(digest.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(to: &Repository, layer: &[u8]) {
        let id = to.images.begin_upload("me").unwrap();
        to.images.append_upload(id, 0, layer).unwrap();
        to.finish_upload(id, &Digest::of(layer)).unwrap();
    }

    #[test]
    fn a_layer_that_just_came_does_not_go_with_the_image_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let (a, b) = ("a.example", "b.example");
        let [a, b] = [a, b].map(|it| images.repository(it, "app").unwrap());
        let layer = Digest::of(b"layer");
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/json","digest":"{layer}","size":5}},"layers":[]}}"#
        );
        let rounds = 40;
        let removing = {
            let a = a.clone();
            std::thread::spawn(move || {
                for _ in 0..rounds {
                    push(&a, b"layer");
                    let put = a.put(manifest.as_bytes(), None, None, |_| Some(true));
                    put.unwrap();
                    a.clear().unwrap();
                }
            })
        };
        for _ in 0..rounds {
            push(&b, b"layer");
            assert!(b.layer(&layer).unwrap().is_some());
        }
        removing.join().unwrap();
        assert!(b.layer(&layer).unwrap().is_some());
        let other = images.repository("c.example", "app").unwrap();
        assert!(other.mount(&b, &layer).unwrap());
        assert!(!other.mount(&a, &Digest::of(b"none")).unwrap());
    }

    #[test]
    fn nothing_comes_while_a_repository_is_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let it = images.repository("a.example", "app").unwrap();
        push(&it, b"{}");
        let config = Digest::of(b"{}");
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/json","digest":"{config}","size":2}},"layers":[]}}"#
        );
        let exists = std::sync::atomic::AtomicBool::new(true);
        let exists = &exists;
        std::thread::scope(|scope| {
            let pushed = it.while_empty(|| {
                let judge = move |_: &str| {
                    exists
                        .load(std::sync::atomic::Ordering::SeqCst)
                        .then_some(true)
                };
                let (it, manifest) = (&it, &manifest);
                let push = move || it.put(manifest.as_bytes(), None, None, judge);
                let pushing = scope.spawn(push);
                exists.store(false, std::sync::atomic::Ordering::SeqCst);
                pushing
            });
            let pushed = pushed.unwrap().unwrap().join().unwrap();
            assert!(matches!(pushed, Err(PutError::Gone)));
        });
        it.put(manifest.as_bytes(), None, None, |_| Some(true))
            .unwrap();
        assert!(it.while_empty(|| ()).unwrap().is_none());
    }

    #[test]
    fn a_layer_that_was_pushed_outlives_the_images_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let (a, b) = ("a.example", "b.example");
        let [a, b] = [a, b].map(|it| images.repository(it, "app").unwrap());
        let (layer, size) = (Digest::of(b"layer"), 5);
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/json","digest":"{layer}","size":{size}}},"layers":[]}}"#
        );
        push(&a, b"layer");
        let put = |it: &Repository| it.put(manifest.as_bytes(), None, None, |_| Some(true));
        put(&a).unwrap();
        push(&b, b"layer");
        a.clear().unwrap();
        put(&b).unwrap();
        b.clear().unwrap();
        assert!(images.blob(&layer).unwrap().is_none());
    }

    #[test]
    fn an_image_that_an_index_lists_stays() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let it = images.repository("a.example", "app").unwrap();
        let (config, size) = (Digest::of(b"{}"), 2);
        push(&it, b"{}");
        let put = |text: &str| it.put(text.as_bytes(), None, Some("x"), |_| Some(true));
        let image = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/json","digest":"{config}","size":{size}}},"layers":[]}}"#
        );
        let child = put(&image).unwrap();
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{}","size":{}}}]}}"#,
            child.media_type,
            child.digest,
            image.len()
        );
        let index = put(&index).unwrap();
        let refused = it.remove(&child.digest);
        assert!(matches!(refused, Err(RemoveError::Listed(by)) if by == index.digest));
        assert_eq!(it.untag("x").unwrap(), Some(index.digest));
        assert!(it.remove(&child.digest).unwrap().is_some());
    }
}
