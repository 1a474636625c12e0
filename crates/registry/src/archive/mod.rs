//! Taking images into the store: OCI layouts (a directory or an archive), and archives of `docker save`.

mod docker;
mod source;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::Digest;
use crate::manifest::{Descriptor, InvalidManifest, MAXIMUM_MANIFEST, Manifest};
use crate::reference::{InvalidReference, Reference};
use crate::store::{FULL_NAME, Images, Lock, NAME, StoreError};

use source::Source;

/// How deep indexes may be in indexes.
const DEPTH: usize = 3;

/// An image that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its names.
    pub names: Vec<Reference>,
    /// The digest of its manifest or index.
    pub digest: Digest,
}

/// Why nothing, or not all of an archive, was taken in.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is neither of the known kinds.
    #[error(
        "{} is no image: neither an OCI layout (index.json) nor an archive of docker save (manifest.json)",
        .0.display()
    )]
    NoImage(PathBuf),
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The archive or directory.
        path: PathBuf,
        /// What the system or the archive's format said.
        error: io::Error,
    },
    /// A list in it is malformed.
    #[error("{name}: {why}")]
    Malformed {
        /// The file in the archive.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A manifest in it is malformed.
    #[error("{digest}: {error}")]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        error: InvalidManifest,
    },
    /// Something that it refers to is not in it.
    #[error("{0} is missing in the archive")]
    Missing(String),
    /// An image in it has no name of its own.
    #[error("an image in it has no full name: say --name")]
    Nameless,
    /// A name was given for several images.
    #[error("it has {0} images, and --name is one image's")]
    Several(usize),
    /// A name in it is malformed.
    #[error(transparent)]
    Name(#[from] InvalidReference),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Images {
    /// Takes in the images of an OCI layout or of an archive, under their own names or under `name`.
    ///
    /// # Errors
    /// It is no image, is incomplete or malformed, an image has no name, or the store failed.
    pub fn load(&self, path: &Path, name: Option<&Reference>) -> Result<Vec<Loaded>, LoadError> {
        let lock = self.lock()?;
        let mut source = Source::open(path, &self.unfinished())?;
        if let Some(bytes) = source.small("index.json")? {
            return self.load_layout(&lock, &mut source, &bytes, name);
        }
        match source.small("manifest.json")? {
            Some(bytes) if source.is_archive() => {
                docker::load(self, &lock, &mut source, &bytes, name)
            }
            _ => Err(LoadError::NoImage(path.to_owned())),
        }
    }

    fn load_layout(
        &self,
        lock: &Lock,
        source: &mut Source,
        bytes: &[u8],
        name: Option<&Reference>,
    ) -> Result<Vec<Loaded>, LoadError> {
        let index: Index = read_list("index.json", bytes)?;
        // One image under several names is listed once for each.
        let mut images: BTreeMap<Digest, (Descriptor, Vec<Reference>)> = BTreeMap::new();
        for entry in index.manifests {
            let digest = entry.descriptor.digest.clone();
            let image = images.entry(digest);
            let (_, names) = image.or_insert((entry.descriptor, Vec::new()));
            if name.is_none() {
                names.push(full_name(&entry.annotations)?);
            }
        }
        if let Some(name) = name {
            let count = images.len();
            if count > 1 {
                return Err(LoadError::Several(count));
            }
            images
                .values_mut()
                .for_each(|(_, names)| names.push(name.clone()));
        }
        let mut loaded = Vec::new();
        for (digest, (image, names)) in images {
            self.copy_image(source, &image, DEPTH)?;
            self.name(lock, &names, &image)?;
            loaded.push(Loaded { names, digest });
        }
        Ok(loaded)
    }

    /// Copies a manifest and what it refers to. An index may name platforms that the archive does not have, but one at
    /// least must be there.
    fn copy_image(
        &self,
        source: &mut Source,
        image: &Descriptor,
        depth: usize,
    ) -> Result<(), LoadError> {
        let name = blob_name(&image.digest);
        let bytes = source
            .small(&name)?
            .ok_or_else(|| LoadError::Missing(image.digest.to_string()))?;
        let manifest = Manifest::read(&bytes).map_err(|error| LoadError::Manifest {
            digest: image.digest.clone(),
            error,
        })?;
        for blob in &manifest.blobs {
            if !self.has(&blob.digest, blob.size) {
                let reader = source
                    .reader(&blob_name(&blob.digest))?
                    .ok_or_else(|| LoadError::Missing(blob.digest.to_string()))?;
                self.keep(reader, Some((&blob.digest, blob.size)))?;
            }
        }
        let mut any = !manifest.is_index();
        for child in &manifest.manifests {
            let there = source.small(&blob_name(&child.digest))?.is_some();
            if there && depth > 0 {
                self.copy_image(source, child, depth - 1)?;
                any = true;
            }
        }
        if !any {
            return Err(LoadError::Missing(format!(
                "every image that {} lists",
                image.digest
            )));
        }
        self.keep(&bytes[..], Some((&image.digest, image.size)))?;
        Ok(())
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The standard's annotation may be a tag alone, which names nothing.
fn full_name(annotations: &BTreeMap<String, String>) -> Result<Reference, LoadError> {
    let standard = annotations
        .get(NAME)
        .filter(|it| it.contains([':', '/']) && !it.contains('@'));
    let name = annotations.get(FULL_NAME).or(standard);
    Ok(name.ok_or(LoadError::Nameless)?.parse()?)
}

fn read_list<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, LoadError> {
    debug_assert!(bytes.len() <= MAXIMUM_MANIFEST);
    serde_json::from_slice(bytes).map_err(|error| LoadError::Malformed {
        name: name.to_owned(),
        why: error.to_string(),
    })
}
