//! Fetching images from the registries that their names say.
//!
//! Only when a user asks for it: nodes never make Lath reach out.

mod connection;
mod token;

use std::io;
use std::path::Path;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Response, StatusCode, Uri};
use tokio::io::AsyncWriteExt as _;

use crate::archive::Loaded;
use crate::digest::Digest;
use crate::manifest::{ACCEPTED, Descriptor, InvalidManifest, MAXIMUM_MANIFEST, Manifest};
use crate::reference::{Reference, Target};
use crate::store::{Images, MAXIMUM_BLOB, StoreError};

use connection::Dialer;

/// Where names of Docker Hub are served.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// A blob is often elsewhere than its registry.
const REDIRECTS: usize = 5;

/// Why an image was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A host cannot be reached or talks nonsense.
    #[error("{host}: {why}")]
    Host {
        /// The host.
        host: String,
        /// What happened.
        why: String,
    },
    /// A registry refused.
    #[error("{host} answers {status} to {path}")]
    Refused {
        /// The registry.
        host: String,
        /// Its answer's status.
        status: StatusCode,
        /// What was asked for.
        path: String,
    },
    /// A manifest is malformed.
    #[error("{0}")]
    Manifest(#[from] InvalidManifest),
    /// A manifest is not what its digest says.
    #[error("the registry gave {got} for {wanted}")]
    Other {
        /// What was asked for.
        wanted: Digest,
        /// What came.
        got: Digest,
    },
    /// The image is of other platforms only.
    #[error("{0} has no image of linux/{1}")]
    Platform(Reference, &'static str),
    /// Its blobs were removed while it was fetched, again and again.
    #[error("what {0} shares with other images was removed while it was fetched; fetch it again")]
    Removed(Reference),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often blobs are fetched that are gone when the image is named.
const ROUNDS: usize = 3;

/// The architecture of this machine, as images name it.
pub(crate) const ARCHITECTURE: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    _ => std::env::consts::ARCH,
};

/// A registry that is asked for one repository.
struct Upstream<'a> {
    dialer: Dialer,
    reference: &'a Reference,
    /// Of the registry, for `Authorization`.
    token: Option<String>,
}

impl Images {
    /// Fetches an image from the registry of its name, for this machine's architecture, and keeps it under the name.
    /// `roots` is a PEM file of certificate authorities; a registry on `localhost` or a loopback address is asked by HTTP.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses, what it gives is not what it says, or the store failed.
    pub async fn fetch(&self, reference: &Reference, roots: &Path) -> Result<Loaded, FetchError> {
        let mut upstream = Upstream {
            dialer: Dialer::new(roots)?,
            reference,
            token: None,
        };
        let which = match reference.target() {
            Target::Tag(tag) => tag.clone(),
            Target::Digest(digest) => digest.to_string(),
        };
        let (manifest, bytes) = upstream.manifest(&which).await?;
        let digest = Digest::of(&bytes);
        if let Target::Digest(wanted) = reference.target()
            && *wanted != digest
        {
            return Err(FetchError::Other {
                wanted: wanted.clone(),
                got: digest,
            });
        }
        let mut all = vec![bytes];
        let image = if manifest.is_index() {
            let of_platform = manifest.of_platform("linux", ARCHITECTURE).cloned();
            let child =
                of_platform.ok_or_else(|| FetchError::Platform(reference.clone(), ARCHITECTURE))?;
            let (image, bytes) = upstream.manifest(&child.digest.to_string()).await?;
            let got = Digest::of(&bytes);
            if got != child.digest {
                let wanted = child.digest;
                return Err(FetchError::Other { wanted, got });
            }
            all.insert(0, bytes);
            image
        } else {
            manifest.clone()
        };
        let size = all.last().map_or(0, |bytes| bytes.len() as u64);
        let top = Descriptor::new(&manifest.media_type, digest.clone(), size);
        let all = Arc::new(all);
        for _ in 0..ROUNDS {
            for blob in &image.blobs {
                if !self.has(&blob.digest, blob.size) {
                    upstream.blob(self, blob).await?;
                }
            }
            let (images, name, top) = (self.clone(), reference.clone(), top.clone());
            let (all, blobs) = (Arc::clone(&all), image.blobs.clone());
            let kept = run(move || images.keep_image(&all, &blobs, name, &top)).await?;
            if kept {
                return Ok(Loaded {
                    names: vec![reference.clone()],
                    digest,
                });
            }
        }
        Err(FetchError::Removed(reference.clone()))
    }

    /// Keeps manifests and names the image, if its blobs are there: those of an image that was removed meanwhile went with
    /// it.
    fn keep_image(
        &self,
        manifests: &[Vec<u8>],
        blobs: &[Descriptor],
        name: Reference,
        image: &Descriptor,
    ) -> Result<bool, StoreError> {
        let lock = self.lock()?;
        if !blobs.iter().all(|it| self.has(&it.digest, it.size)) {
            return Ok(false);
        }
        for bytes in manifests {
            self.keep(&bytes[..], None)?;
        }
        self.name(&lock, &[name], image)?;
        Ok(true)
    }
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(StoreError::io("the image store")(io::Error::other(error))),
        },
    }
}

impl Upstream<'_> {
    fn host(&self) -> &str {
        match self.reference.registry() {
            name if name == DOCKER.0 => DOCKER.1,
            name => name,
        }
    }

    async fn manifest(&mut self, which: &str) -> Result<(Manifest, Vec<u8>), FetchError> {
        let path = format!("/v2/{}/manifests/{which}", self.reference.repository());
        let answer = self.get(&path).await?;
        let body = http_body_util::Limited::new(answer.into_body(), MAXIMUM_MANIFEST);
        let bytes = body
            .collect()
            .await
            .map_err(|error| host_error(self.host(), error))?
            .to_bytes()
            .to_vec();
        Ok((Manifest::read(&bytes)?, bytes))
    }

    /// The blob goes to a file as it comes, and into the store when it is what it says it is.
    async fn blob(&mut self, images: &Images, blob: &Descriptor) -> Result<(), FetchError> {
        let path = format!("/v2/{}/blobs/{}", self.reference.repository(), blob.digest);
        let mut body = self.get(&path).await?.into_body();
        let directory = images.unfinished();
        let failed = || StoreError::io(&directory);
        let file = tempfile::NamedTempFile::new_in(&directory).map_err(failed())?;
        let handle = file.reopen().map_err(failed())?;
        let mut handle = tokio::fs::File::from_std(handle);
        let mut size = 0;
        while let Some(frame) = connection::in_time(body.frame()).await {
            let frame = frame.map_err(|error| host_error(self.host(), error))?;
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            size += bytes.len() as u64;
            if size > blob.size.min(MAXIMUM_BLOB) {
                return Err(StoreError::TooLarge.into());
            }
            handle.write_all(&bytes).await.map_err(failed())?;
        }
        handle.flush().await.map_err(failed())?;
        let (images, blob) = (images.clone(), blob.clone());
        let keep = move || {
            let whole = file.reopen().map_err(StoreError::io(file.path()))?;
            images.keep(whole, Some((&blob.digest, blob.size)))
        };
        run(keep).await?;
        Ok(())
    }

    /// A good answer of the registry, or of where it sends to.
    async fn get(&mut self, path: &str) -> Result<Response<Incoming>, FetchError> {
        let host = self.host().to_owned();
        let scheme = connection::scheme(&host);
        let mut uri = parsed(&format!("{scheme}://{host}{path}"), &host)?;
        let (mut asked_for_token, mut redirects) = (false, 0);
        loop {
            let mut headers = HeaderMap::new();
            for kind in ACCEPTED {
                headers.append(ACCEPT, hyper::header::HeaderValue::from_static(kind));
            }
            // The token is the registry's: where it sends to has its own in the address.
            let token = self.token.as_ref().filter(|_| redirects == 0);
            if let Some(value) = token.and_then(|it| format!("Bearer {it}").parse().ok()) {
                headers.insert(AUTHORIZATION, value);
            }
            let answer = self.dialer.get(&uri, headers).await?;
            let status = answer.status();
            if status == StatusCode::UNAUTHORIZED && !asked_for_token && redirects == 0 {
                asked_for_token = true;
                let challenge = answer.headers().get(WWW_AUTHENTICATE);
                let challenge = challenge
                    .and_then(|it| it.to_str().ok())
                    .unwrap_or_default();
                let repository = self.reference.repository();
                self.token = token::token(&self.dialer, challenge, repository).await?;
            } else if status.is_redirection() && redirects < REDIRECTS {
                redirects += 1;
                let location = answer.headers().get(LOCATION);
                let location = location.and_then(|it| it.to_str().ok()).unwrap_or_default();
                uri = if location.starts_with('/') {
                    let authority = uri.authority().map_or("", |it| it.as_str());
                    let scheme = uri.scheme_str().unwrap_or("https");
                    parsed(&format!("{scheme}://{authority}{location}"), &host)?
                } else {
                    parsed(location, &host)?
                };
            } else if status.is_success() {
                return Ok(answer);
            } else {
                let path = path.to_owned();
                return Err(FetchError::Refused { host, status, path });
            }
        }
    }
}

fn parsed(text: &str, host: &str) -> Result<Uri, FetchError> {
    text.parse()
        .map_err(|_| host_error(host, format!("it sends to {text:?}, which is no address")))
}

fn host_error(host: &str, why: impl std::fmt::Display) -> FetchError {
    FetchError::Host {
        host: host.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::slice::from_ref;

    #[test]
    fn an_image_gets_its_name_when_its_blobs_are_there() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let blob = Descriptor::new("application/octet-stream", Digest::of(b"blob"), 4);
        let manifest = b"{}".to_vec();
        let top = Descriptor::new("application/json", Digest::of(&manifest), 2);
        let keep = || {
            let name = "localhost/app:1".parse().unwrap();
            images.keep_image(from_ref(&manifest), from_ref(&blob), name, &top)
        };
        assert!(!keep().unwrap());
        assert_eq!(images.list().unwrap().len(), 0);
        images.keep(&b"blob"[..], None).unwrap();
        assert!(keep().unwrap());
        assert_eq!(images.list().unwrap().len(), 1);
    }
}
