//! The write side: uploads of blobs in pieces or at once, and manifests, which may only refer to blobs that are here.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_RANGE, HeaderMap, HeaderName, LOCATION, RANGE};
use hyper::{Method, Request, StatusCode};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::answer::{self, Answer, RegistryError, blocking};
use super::gate::{Deed, Gate};
use super::pull::own;
use super::route::{Repository, Route, parameter};
use super::{Access, gate};
use crate::digest::Digest;
use crate::manifest::{Descriptor, MAXIMUM_MANIFEST, Manifest};
use crate::reference::{Reference, Target};
use crate::repository::{PutError, RemoveError};
use crate::store::{Images, MAXIMUM_BLOB, StoreError};
use crate::upload::UploadError;

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// A client has this long to send the next piece of a body.
const PATIENCE: Duration = Duration::from_secs(60);

impl From<UploadError> for RegistryError {
    fn from(error: UploadError) -> Self {
        let (status, code) = match error {
            UploadError::Unknown => return Self::upload_unknown(),
            UploadError::Store(error) => return error.into(),
            UploadError::Gap(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            UploadError::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<PutError> for RegistryError {
    fn from(error: PutError) -> Self {
        let message = error.to_string();
        let bad = |code, message| Self::new(StatusCode::BAD_REQUEST, code, message);
        match error {
            PutError::Manifest(_) => bad("MANIFEST_INVALID", message),
            PutError::Digest(_) => bad("DIGEST_INVALID", message),
            PutError::Tag(_) => bad("TAG_INVALID", message),
            PutError::Missing { missing, .. } => {
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                let message = format!("not in this repository: {}", missing.join(", "));
                bad("MANIFEST_BLOB_UNKNOWN", message)
            }
            PutError::TagTaken { tag, .. } => bad(
                "TAG_INVALID",
                format!(
                    "The image tag '{tag}' already exists in the repository and cannot be overwritten because the tag is immutable."
                ),
            ),
            PutError::Gone => Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message),
            PutError::Store(error) => error.into(),
        }
    }
}

impl From<RemoveError> for RegistryError {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Listed(_) => Self::new(StatusCode::CONFLICT, "DENIED", error.to_string()),
            RemoveError::Store(error) => error.into(),
        }
    }
}

pub(super) async fn dispatch(
    images: &Images,
    access: &Access,
    route: Route,
    request: Request<Incoming>,
) -> Result<Answer, RegistryError> {
    let method = request.method().clone();
    let is_judged = matches!(access, Access::Judged(_));
    match (route, method) {
        (Route::Uploads(name), Method::POST) => begin(images, access, name, request).await,
        (Route::Upload(name, id), Method::PATCH) => {
            let size = append(images, id, request).await?;
            Ok(accepted(&name, id, size))
        }
        (Route::Upload(name, id), Method::PUT) => {
            finish(images, is_judged, name, id, request).await
        }
        (Route::Upload(_, id), Method::DELETE) => {
            let images = images.clone();
            blocking(move || images.abandon_upload(id)).await?;
            Ok(answer::with(StatusCode::NO_CONTENT))
        }
        (Route::Manifest(reference), Method::PUT) => match access {
            Access::Judged(gate) => put_own(images, gate, reference, request).await,
            Access::Read | Access::PullThrough(_) | Access::Write => {
                put(images, reference, request).await
            }
        },
        (Route::Manifest(reference), Method::DELETE) => {
            if is_judged {
                delete_own(images, reference).await
            } else {
                delete(images, reference).await
            }
        }
        _ => Err(RegistryError::method()),
    }
}

/// How far an upload is.
pub(super) async fn progress(
    images: &Images,
    access: &Access,
    name: &Repository,
    id: Uuid,
) -> Result<Answer, RegistryError> {
    if access.is_read_only() {
        return Err(RegistryError::method());
    }
    let images = images.clone();
    let size = blocking(move || images.upload_size(id)).await?;
    let mut answer = accepted(name, id, size);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

fn accepted(name: &Repository, id: Uuid, size: u64) -> Answer {
    let mut answer = answer::with(StatusCode::ACCEPTED);
    let location = format!("/v2/{}/blobs/uploads/{id}{}", name.path, name.query);
    answer::set(&mut answer, LOCATION, &location);
    answer::set(&mut answer, UPLOAD_ID, &id.to_string());
    // The last byte's number, and not how many there are; the specification has no word for none.
    answer::set(&mut answer, RANGE, &format!("0-{}", size.saturating_sub(1)));
    answer
}

fn created(location: &str, digest: &Digest) -> Answer {
    let mut answer = answer::with(StatusCode::CREATED);
    answer::set(&mut answer, LOCATION, location);
    answer::set_digest(&mut answer, digest);
    answer
}

fn blob_created(name: &Repository, digest: &Digest) -> Answer {
    let location = format!("/v2/{}/blobs/{digest}{}", name.path, name.query);
    created(&location, digest)
}

async fn begin(
    images: &Images,
    access: &Access,
    name: Repository,
    request: Request<Incoming>,
) -> Result<Answer, RegistryError> {
    let query = request.uri().query();
    let mounted = parameter(query, "mount").and_then(|it| it.parse::<Digest>().ok());
    if let Some(digest) = mounted
        && mount(images, access, &name, &digest, &request).await?
    {
        return Ok(blob_created(&name, &digest));
    }
    // Before anything is begun of which the client would not know.
    let is_whole = parameter(query, "digest").is_some();
    if is_whole {
        wanted(query)?;
    }
    let is_judged = matches!(access, Access::Judged(_));
    let (store, of) = (images.clone(), name.clone());
    let client = match access {
        Access::Judged(gate) => gate::client(&**gate, &request),
        Access::Read | Access::PullThrough(_) | Access::Write => String::new(),
    };
    let begin = move || {
        if is_judged {
            own(&store, &of.registry, &of.name)?.expire()?;
        }
        Ok::<_, RegistryError>(store.begin_upload(&client)?)
    };
    let id = blocking(begin).await?;
    if is_whole {
        let finished = finish(images, is_judged, name, id, request).await;
        if finished.is_err() {
            // It may have ended with the attempt.
            let images = images.clone();
            let _ =
                blocking(move || Ok::<_, RegistryError>(images.abandon_upload(id).is_ok())).await;
        }
        return finished;
    }
    Ok(accepted(&name, id, 0))
}

/// Whether a blob of another repository is one of this from now on. A registry with accounts asks whether the sender may
/// read it there.
async fn mount(
    images: &Images,
    access: &Access,
    name: &Repository,
    digest: &Digest,
    request: &Request<Incoming>,
) -> Result<bool, RegistryError> {
    let (images, digest, to) = (images.clone(), digest.clone(), name.clone());
    let Access::Judged(gate) = access else {
        let there = blocking(move || images.blob(&digest)).await?;
        return Ok(there.is_some());
    };
    let Some(from) = parameter(request.uri().query(), "from") else {
        return Ok(false);
    };
    // Without a right to read it there the client uploads it, as if it were not there.
    if gate::may(&**gate, request, Deed::ReadLayer(from.clone())).is_err() {
        return Ok(false);
    }
    let mount = move || {
        let from = own(&images, &to.registry, &from)?;
        let to = own(&images, &to.registry, &to.name)?;
        Ok::<_, RegistryError>(to.mount(&from, &digest)?)
    };
    blocking(mount).await
}

/// Adds a body to an upload; how many bytes it has then.
async fn append(
    images: &Images,
    id: Uuid,
    request: Request<Incoming>,
) -> Result<u64, RegistryError> {
    let path = images.upload_path(id);
    let failed = || StoreError::io(path.clone());
    let file = OpenOptions::new().append(true).open(&path).await;
    let mut file = file.map_err(|_| RegistryError::upload_unknown())?;
    let mut size = file.metadata().await.map_err(failed())?.len();
    if first_byte(request.headers()).is_some_and(|first| first != size) {
        return Err(UploadError::Gap(size).into());
    }
    let mut body = request.into_body();
    while let Some(bytes) = next(&mut body).await? {
        size += bytes.len() as u64;
        if size > MAXIMUM_BLOB {
            return Err(StoreError::TooLarge.into());
        }
        file.write_all(&bytes).await.map_err(failed())?;
    }
    file.flush().await.map_err(failed())?;
    Ok(size)
}

/// The next bytes of a body.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, RegistryError> {
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        let Some(frame) = frame.map_err(|_| interrupted())? else {
            return Ok(None);
        };
        if let Ok(bytes) = frame.map_err(|_| interrupted())?.into_data() {
            return Ok(Some(bytes));
        }
    }
}

fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    text.split_once('-')?.0.parse().ok()
}

fn interrupted() -> RegistryError {
    let message = "the request ended early";
    RegistryError::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
}

/// What a blob is to be.
fn wanted(query: Option<&str>) -> Result<Digest, RegistryError> {
    let digest = parameter(query, "digest").and_then(|it| it.parse().ok());
    digest.ok_or_else(|| {
        let message = "an upload ends with ?digest=sha256:...";
        RegistryError::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    })
}

async fn finish(
    images: &Images,
    is_judged: bool,
    name: Repository,
    id: Uuid,
    request: Request<Incoming>,
) -> Result<Answer, RegistryError> {
    let digest = wanted(request.uri().query())?;
    append(images, id, request).await?;
    let (images, wanted, of) = (images.clone(), digest.clone(), name.clone());
    let keep = move || {
        if is_judged {
            let repository = own(&images, &of.registry, &of.name)?;
            repository.finish_upload(id, &wanted)?;
        } else {
            images.finish_upload(id, &wanted)?;
        }
        Ok::<_, RegistryError>(())
    };
    blocking(keep).await?;
    Ok(blob_created(&name, &digest))
}

async fn manifest_of(request: Request<Incoming>) -> Result<Bytes, RegistryError> {
    let body = Limited::new(request.into_body(), MAXIMUM_MANIFEST).collect();
    let bytes = tokio::time::timeout(PATIENCE, body).await;
    let bytes = bytes.map_err(|_| interrupted())?.map_err(|_| {
        let message = format!("a manifest is whole, and has {MAXIMUM_MANIFEST} bytes at most");
        RegistryError::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
    })?;
    Ok(bytes.to_bytes())
}

/// Puts a manifest into a repository of a registry with accounts.
async fn put_own(
    images: &Images,
    gate: &std::sync::Arc<dyn Gate>,
    reference: Reference,
    request: Request<Incoming>,
) -> Result<Answer, RegistryError> {
    let bytes = manifest_of(request).await?;
    let repository = own(images, reference.registry(), reference.repository())?;
    let (gate, name) = (
        std::sync::Arc::clone(gate),
        reference.repository().to_owned(),
    );
    let target = reference.target().clone();
    let store = move || {
        let (tag, digest) = match &target {
            Target::Tag(tag) => (Some(tag.as_str()), None),
            Target::Digest(digest) => (None, Some(digest)),
        };
        repository.put(&bytes, digest, tag, |tag| gate.moves(&name, tag))
    };
    let kept = blocking(store).await?;
    let location = format!("/v2/{}/manifests/{}", reference.repository(), kept.digest);
    Ok(created(&location, &kept.digest))
}

/// Takes a tag away, or an image with all its tags.
async fn delete_own(images: &Images, reference: Reference) -> Result<Answer, RegistryError> {
    let repository = own(images, reference.registry(), reference.repository())?;
    let gone = move || match reference.target() {
        Target::Tag(tag) => Ok::<_, RemoveError>(repository.untag(tag)?.is_some()),
        Target::Digest(digest) => Ok(repository.remove(digest)?.is_some()),
    };
    if !blocking(gone).await? {
        let message = "Requested image not found";
        return Err(RegistryError::new(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            message,
        ));
    }
    Ok(answer::with(StatusCode::ACCEPTED))
}

async fn put(
    images: &Images,
    reference: Reference,
    request: Request<Incoming>,
) -> Result<Answer, RegistryError> {
    let bytes = manifest_of(request).await?;
    let manifest = Manifest::read(&bytes).map_err(|error| {
        RegistryError::new(
            StatusCode::BAD_REQUEST,
            "MANIFEST_INVALID",
            error.to_string(),
        )
    })?;
    let digest = Digest::of(&bytes);
    if matches!(reference.target(), Target::Digest(wanted) if *wanted != digest) {
        let message = format!("the manifest is {digest}");
        return Err(RegistryError::new(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            message,
        ));
    }
    let (images, named, digest_of) = (images.clone(), reference.clone(), digest.clone());
    let store = move || {
        let lock = images.lock()?;
        let children = manifest.blobs.iter().chain(&manifest.manifests);
        let missing = children.clone().find(|it| !images.has(&it.digest, it.size));
        if let Some(missing) = missing {
            let message = format!(
                "there is no blob {} of {} bytes",
                missing.digest, missing.size
            );
            let status = StatusCode::BAD_REQUEST;
            return Err(RegistryError::new(status, "MANIFEST_BLOB_UNKNOWN", message));
        }
        images.keep(&bytes[..], Some((&digest_of, bytes.len() as u64)))?;
        if let Target::Tag(_) = named.target() {
            let image = Descriptor::new(&manifest.media_type, digest_of, bytes.len() as u64);
            images.name(&lock, &[named], &image)?;
        }
        Ok(())
    };
    blocking(store).await?;
    let location = format!(
        "/v2/{}/manifests/{digest}?ns={}",
        reference.repository(),
        reference.registry()
    );
    Ok(created(&location, &digest))
}

/// Takes a tag away. A manifest by digest goes with its last tag.
async fn delete(images: &Images, reference: Reference) -> Result<Answer, RegistryError> {
    if let Target::Digest(_) = reference.target() {
        return Err(RegistryError::method());
    }
    let images = images.clone();
    let removed = blocking(move || images.remove(&reference)).await?;
    if !removed {
        let message = "there is no such tag";
        return Err(RegistryError::new(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            message,
        ));
    }
    Ok(answer::with(StatusCode::ACCEPTED))
}
