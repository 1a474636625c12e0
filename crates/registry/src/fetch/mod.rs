//! Fetching images from the registries that their names say: when a user asks for it, and for nodes from those registries
//! that the configuration names.

mod connection;
mod credentials;
mod token;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Response, StatusCode, Uri};
use tokio::io::AsyncWriteExt as _;

use crate::archive::Loaded;
use crate::digest::Digest;
use crate::manifest::{ACCEPTED, Descriptor, InvalidManifest, MAXIMUM_MANIFEST, Manifest};
use crate::pull_through::Room;
use crate::reference::{Reference, Target};
use crate::store::{Entry, Images, MAXIMUM_BLOB, Staged, StoreError};

use connection::Dialer;

pub use credentials::{Credentials, InvalidCredentials};

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
    /// The image is larger than the cache.
    #[error("{name} has {size} bytes, and the cache may have {limit}")]
    TooLarge {
        /// The image.
        name: Reference,
        /// Its bytes.
        size: u64,
        /// The most that the cache may have.
        limit: u64,
    },
    /// Too many images are being fetched.
    #[error("too many images are being fetched; ask for it again")]
    TooMany,
    /// The file of credentials is malformed.
    #[error(transparent)]
    Credentials(#[from] InvalidCredentials),
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

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Upstreams {
    /// The host, with a port or without, that is asked in place of a registry.
    pub hosts: BTreeMap<String, String>,
    /// A PEM file of the certificate authorities that registries are trusted by. A registry on `localhost` or a loopback
    /// address is asked by HTTP, unless there is a host for it here with `https://` before it.
    pub authorities: PathBuf,
    /// A file with user names and passwords, as `docker login` writes it.
    pub credentials: Option<PathBuf>,
}

/// A registry that is asked for one repository.
struct Upstream<'a> {
    dialer: Dialer,
    reference: &'a Reference,
    /// `http` or `https`, and the host.
    at: (&'static str, String),
    /// The registry's user, for `Authorization`.
    login: Option<String>,
    /// What it is asked with, for `Authorization`.
    authorization: Option<String>,
}

impl Images {
    /// Fetches an image from the registry of its name, for this machine's architecture, and keeps it under the name.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses, what it gives is not what it says, or the store failed.
    pub async fn fetch(
        &self,
        reference: &Reference,
        upstreams: &Upstreams,
    ) -> Result<Loaded, FetchError> {
        self.fetch_within(reference, upstreams, None).await
    }

    /// As [`Images::fetch`]; the image is marked as one of the cache, and is no larger than `room`, where it takes its place
    /// until it is named.
    pub(crate) async fn fetch_cached(
        &self,
        reference: &Reference,
        upstreams: &Upstreams,
        room: &Room,
    ) -> Result<Loaded, FetchError> {
        self.fetch_within(reference, upstreams, Some(room)).await
    }

    async fn fetch_within(
        &self,
        reference: &Reference,
        upstreams: &Upstreams,
        room: Option<&Room>,
    ) -> Result<Loaded, FetchError> {
        let limit = room.map(Room::limit);
        let mut upstream = Upstream::new(reference, upstreams)?;
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
        let whole = image.blobs.iter().map(|it| it.size);
        let manifests = all.iter().map(|it| it.len() as u64);
        let whole = whole.chain(manifests).fold(0, u64::saturating_add);
        if let Some(limit) = limit.filter(|it| whole > *it) {
            return Err(FetchError::TooLarge {
                name: reference.clone(),
                size: whole,
                limit,
            });
        }
        let place = match room {
            Some(room) => Some(room.take(whole).await),
            None => None,
        };
        let all = Arc::new(all);
        let mut staged: BTreeMap<Digest, Staged> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for blob in &image.blobs {
                if !staged.contains_key(&blob.digest) && !self.has(&blob.digest, blob.size) {
                    let content = upstream.blob(self, blob).await?;
                    staged.insert(blob.digest.clone(), content);
                }
            }
            let entry = Entry::new(reference, top.clone(), self.clock.system_time());
            let entry = match limit {
                Some(_) => entry.cached(),
                None => entry,
            };
            let (images, all, blobs) = (self.clone(), Arc::clone(&all), image.blobs.clone());
            let keep = move || images.keep_image(&all, &blobs, staged, entry);
            match run(keep).await? {
                None => {
                    drop(place);
                    return Ok(Loaded {
                        names: vec![reference.clone()],
                        digest,
                    });
                }
                Some(left) => staged = left,
            }
        }
        Err(FetchError::Removed(reference.clone()))
    }

    /// Keeps an image, its manifests and the blobs that were fetched for it, and names it; gives those blobs back if others,
    /// which were there, went meanwhile with an image that was removed.
    fn keep_image(
        &self,
        manifests: &[Vec<u8>],
        blobs: &[Descriptor],
        staged: BTreeMap<Digest, Staged>,
        entry: Entry,
    ) -> Result<Option<BTreeMap<Digest, Staged>>, StoreError> {
        let lock = self.lock()?;
        let mut there = blobs.iter().filter(|it| !staged.contains_key(&it.digest));
        if !there.all(|it| self.has(&it.digest, it.size)) {
            return Ok(Some(staged));
        }
        for (_, it) in staged {
            self.settle(it)?;
        }
        for bytes in manifests {
            self.keep(&bytes[..], None)?;
        }
        self.enter(&lock, vec![entry])?;
        Ok(None)
    }
}

pub(crate) async fn run<T: Send + 'static>(
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

impl<'a> Upstream<'a> {
    fn new(reference: &'a Reference, upstreams: &Upstreams) -> Result<Self, FetchError> {
        let registry = reference.registry();
        let host = match upstreams.hosts.get(registry) {
            Some(host) => host.as_str(),
            None if registry == DOCKER.0 => DOCKER.1,
            None => registry,
        };
        let at = match host.strip_prefix("https://") {
            Some(host) => ("https", host.trim_end_matches('/').to_owned()),
            None => (connection::scheme(host), host.to_owned()),
        };
        let credentials = upstreams.credentials.as_deref().map(Credentials::open);
        let credentials = credentials.transpose()?.unwrap_or_default();
        Ok(Self {
            dialer: Dialer::new(&upstreams.authorities, at.0 == "http")?,
            reference,
            at,
            login: credentials.basic(registry),
            authorization: None,
        })
    }

    fn host(&self) -> &str {
        &self.at.1
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

    /// The blob goes to a file as it comes. It is no blob of the store before all of its image is there: what comes of a fetch
    /// that fails goes with it.
    async fn blob(&mut self, images: &Images, blob: &Descriptor) -> Result<Staged, FetchError> {
        let path = format!("/v2/{}/blobs/{}", self.reference.repository(), blob.digest);
        let mut body = self.get(&path).await?.into_body();
        let directory = images.unfinished();
        let failed = || StoreError::io(&directory);
        let file = images.fetched_file()?;
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
        let blob = blob.clone();
        Ok(run(move || Staged::checked(file, &blob.digest, blob.size)).await?)
    }

    /// A good answer of the registry, or of where it sends to.
    async fn get(&mut self, path: &str) -> Result<Response<Incoming>, FetchError> {
        let host = self.host().to_owned();
        let scheme = self.at.0;
        let mut uri = parsed(&format!("{scheme}://{host}{path}"), &host)?;
        let (mut asked_for_token, mut redirects) = (false, 0);
        loop {
            let mut headers = HeaderMap::new();
            for kind in ACCEPTED {
                headers.append(ACCEPT, hyper::header::HeaderValue::from_static(kind));
            }
            // It is the registry's: where it sends to has its own in the address.
            let authorization = self.authorization.as_ref().filter(|_| redirects == 0);
            if let Some(value) = authorization.and_then(|it| it.parse().ok()) {
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
                let login = self.login.as_deref();
                let answer = token::answer(&self.dialer, challenge, repository, login).await?;
                self.authorization = answer;
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
        let keep = |staged: BTreeMap<Digest, Staged>| {
            let entry = Entry::new(
                &"localhost/app:1".parse().unwrap(),
                top.clone(),
                images.clock.system_time(),
            );
            images.keep_image(from_ref(&manifest), from_ref(&blob), staged, entry)
        };
        assert!(keep(BTreeMap::new()).unwrap().is_some());
        assert_eq!(images.list().unwrap().len(), 0);
        let file = images.fetched_file().unwrap();
        std::fs::write(file.path(), b"blob").unwrap();
        let staged = Staged::checked(file, &blob.digest, 4).unwrap();
        assert!(images.blob(&blob.digest).unwrap().is_none());
        assert!(
            keep([(blob.digest.clone(), staged)].into())
                .unwrap()
                .is_none()
        );
        assert_eq!(images.list().unwrap().len(), 1);
        assert!(keep(BTreeMap::new()).unwrap().is_none());
    }

    #[test]
    fn what_a_killed_process_was_fetching_goes_with_the_next_fetch() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let going = images.fetched_file().unwrap();
        let left = images.unfinished().join("fetched-left");
        std::fs::write(&left, b"half").unwrap();
        let file = std::fs::File::options().write(true).open(&left).unwrap();
        let long_ago =
            lath_clock::Clock::system().system_time() - std::time::Duration::from_secs(3600);
        file.set_modified(long_ago).unwrap();
        going.as_file().set_modified(long_ago).unwrap();
        drop(file);
        images.drop_unfetched();
        assert!(!left.exists() && going.path().exists());
    }
}
