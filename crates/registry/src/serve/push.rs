//! The write side: uploads of blobs in pieces or at once, and manifests, which may only refer to blobs that are here.

use std::path::PathBuf;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, HeaderMap, HeaderName, LOCATION, RANGE};
use hyper::{Method, Request, StatusCode};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::Access;
use super::answer::{self, Answer, Refusal, blocking};
use super::route::{Repository, Route, parameter};
use crate::digest::Digest;
use crate::manifest::{Descriptor, MAXIMUM_MANIFEST, Manifest};
use crate::reference::{Reference, Target};
use crate::store::{Images, MAXIMUM_BLOB, StoreError};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

pub(super) async fn dispatch(
    images: &Images,
    route: Route,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let method = request.method().clone();
    match (route, method) {
        (Route::Uploads(name), Method::POST) => begin(images, name, request).await,
        (Route::Upload(name, id), Method::PATCH) => {
            let size = append(images, id, request).await?;
            Ok(accepted(&name, id, size))
        }
        (Route::Upload(name, id), Method::PUT) => finish(images, name, id, request).await,
        (Route::Upload(_, id), Method::DELETE) => {
            let gone = tokio::fs::remove_file(path(images, id)).await;
            gone.map_err(|_| Refusal::upload_unknown())?;
            Ok(answer::with(StatusCode::NO_CONTENT))
        }
        (Route::Manifest(reference), Method::PUT) => put(images, reference, request).await,
        (Route::Manifest(reference), Method::DELETE) => delete(images, reference).await,
        _ => Err(Refusal::method()),
    }
}

/// How far an upload is.
pub(super) async fn progress(
    images: &Images,
    access: Access,
    name: &Repository,
    id: Uuid,
) -> Result<Answer, Refusal> {
    if access == Access::Read {
        return Err(Refusal::method());
    }
    let file = tokio::fs::metadata(path(images, id)).await;
    let size = file.map_err(|_| Refusal::upload_unknown())?.len();
    let mut answer = accepted(name, id, size);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

fn path(images: &Images, id: Uuid) -> PathBuf {
    images.unfinished().join(format!("upload-{id}"))
}

fn accepted(name: &Repository, id: Uuid, size: u64) -> Answer {
    let mut answer = answer::with(StatusCode::ACCEPTED);
    let location = format!("/v2/{}/blobs/uploads/{id}?ns={}", name.path, name.registry);
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
    let location = format!("/v2/{}/blobs/{digest}?ns={}", name.path, name.registry);
    created(&location, digest)
}

async fn begin(
    images: &Images,
    name: Repository,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let query = request.uri().query();
    let mounted = parameter(query, "mount").and_then(|it| it.parse::<Digest>().ok());
    if let Some(digest) = mounted {
        let (images, wanted) = (images.clone(), digest.clone());
        if blocking(move || images.blob(&wanted)).await?.is_some() {
            return Ok(blob_created(&name, &digest));
        }
    }
    let id = Uuid::new_v4();
    let file = File::create_new(path(images, id)).await;
    file.map_err(StoreError::io(path(images, id)))?;
    if parameter(query, "digest").is_some() {
        return finish(images, name, id, request).await;
    }
    Ok(accepted(&name, id, 0))
}

/// Adds a body to an upload; how many bytes it has then.
async fn append(images: &Images, id: Uuid, request: Request<Incoming>) -> Result<u64, Refusal> {
    let path = path(images, id);
    let failed = || StoreError::io(path.clone());
    let file = OpenOptions::new().append(true).open(&path).await;
    let mut file = file.map_err(|_| Refusal::upload_unknown())?;
    let mut size = file.metadata().await.map_err(failed())?.len();
    if first_byte(request.headers()).is_some_and(|first| first != size) {
        let message = format!("the upload goes on at byte {size}");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        return Err(Refusal::new(status, "BLOB_UPLOAD_INVALID", message));
    }
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(|_| interrupted())?.into_data() else {
            continue;
        };
        size += bytes.len() as u64;
        if size > MAXIMUM_BLOB {
            return Err(StoreError::TooLarge.into());
        }
        file.write_all(&bytes).await.map_err(failed())?;
    }
    file.flush().await.map_err(failed())?;
    Ok(size)
}

fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    text.split_once('-')?.0.parse().ok()
}

fn interrupted() -> Refusal {
    let message = "the request ended early";
    Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
}

async fn finish(
    images: &Images,
    name: Repository,
    id: Uuid,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let digest = parameter(request.uri().query(), "digest");
    let digest = digest.and_then(|it| it.parse::<Digest>().ok());
    let Some(digest) = digest else {
        let message = "an upload ends with ?digest=sha256:...";
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            message,
        ));
    };
    let size = append(images, id, request).await?;
    let (images, wanted, path) = (images.clone(), digest.clone(), path(images, id));
    let keep = move || {
        let file = std::fs::File::open(&path).map_err(StoreError::io(&path))?;
        let kept = images.keep(file, Some((&wanted, size)));
        // Kept or not what it says it is: this upload is over.
        std::fs::remove_file(&path).map_err(StoreError::io(&path))?;
        kept.map(drop)
    };
    blocking(keep).await?;
    Ok(blob_created(&name, &digest))
}

async fn put(
    images: &Images,
    reference: Reference,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let body = Limited::new(request.into_body(), MAXIMUM_MANIFEST);
    let bytes = body.collect().await.map_err(|_| {
        let message = format!("a manifest is whole, and has {MAXIMUM_MANIFEST} bytes at most");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
    })?;
    let bytes = bytes.to_bytes();
    let manifest = Manifest::read(&bytes).map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "MANIFEST_INVALID",
            error.to_string(),
        )
    })?;
    let digest = Digest::of(&bytes);
    if matches!(reference.target(), Target::Digest(wanted) if *wanted != digest) {
        let message = format!("the manifest is {digest}");
        return Err(Refusal::new(
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
            return Err(Refusal::new(status, "MANIFEST_BLOB_UNKNOWN", message));
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
async fn delete(images: &Images, reference: Reference) -> Result<Answer, Refusal> {
    if let Target::Digest(_) = reference.target() {
        return Err(Refusal::method());
    }
    let images = images.clone();
    let removed = blocking(move || images.remove(&reference)).await?;
    if !removed {
        let message = "there is no such tag";
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            message,
        ));
    }
    Ok(answer::with(StatusCode::ACCEPTED))
}
