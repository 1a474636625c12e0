//! The read side.

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderMap, LINK, RANGE};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::Access;
use super::answer::{self, Answer, RegistryError, blocking};
use super::route::{Repository, parameter};
use crate::digest::Digest;
use crate::fetch::FetchError;
use crate::reference::Reference;
use crate::store::{Images, StoreError};

/// Bytes of a blob that are in memory at once.
const CHUNK: usize = 64 << 10;
/// Most names in one answer.
const PAGE: usize = 1000;

/// A repository of a registry that knows what is its own.
pub(super) fn own(
    images: &Images,
    registry: &str,
    name: &str,
) -> Result<crate::repository::Repository, RegistryError> {
    images.repository(registry, name).map_err(|error| {
        RegistryError::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.to_string())
    })
}

/// Cuts a page out of a list in order; the last of it if more follows.
fn cut(all: &mut Vec<String>, query: Option<&str>) -> (usize, Option<String>) {
    if let Some(last) = parameter(query, "last") {
        all.retain(|it| *it > last);
    }
    let wanted = parameter(query, "n").and_then(|it| it.parse().ok());
    let count = wanted.unwrap_or(PAGE).min(PAGE);
    let more = all.len() > count;
    all.truncate(count);
    (count, all.last().filter(|_| more).cloned())
}

pub(super) async fn catalog(
    images: &Images,
    access: &Access,
    query: Option<&str>,
) -> Result<Answer, RegistryError> {
    let mut all = match access {
        Access::Judged(gate) => gate.repositories(),
        Access::Read | Access::PullThrough(_) | Access::Write => {
            let images = images.clone();
            blocking(move || images.repositories(None)).await?
        }
    };
    let (count, next) = cut(&mut all, query);
    let mut answer = answer::json(&serde_json::json!({"repositories": all}));
    if let Some(last) = next {
        let next = format!("</v2/_catalog?n={count}&last={last}>; rel=\"next\"");
        answer::set(&mut answer, LINK, &next);
    }
    Ok(answer)
}

pub(super) async fn tags(
    images: &Images,
    access: &Access,
    name: Repository,
    query: Option<&str>,
) -> Result<Answer, RegistryError> {
    let (images, repository) = (images.clone(), name.clone());
    let mut tags = blocking(move || images.tags(&repository.registry, &repository.name)).await?;
    // A registry with accounts knows repositories without images.
    if tags.is_empty() && !matches!(access, Access::Judged(_)) {
        let message = format!("there is no image of {}/{}", name.registry, name.name);
        return Err(RegistryError::new(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            message,
        ));
    }
    let (count, next) = cut(&mut tags, query);
    let mut answer = answer::json(&serde_json::json!({"name": name.path, "tags": tags}));
    if let Some(last) = next {
        let of_registry = name.query.replacen('?', "&", 1);
        let next = format!(
            "</v2/{}/tags/list?n={count}&last={last}{of_registry}>; rel=\"next\"",
            name.path
        );
        answer::set(&mut answer, LINK, &next);
    }
    Ok(answer)
}

/// An image that is not here and was not fetched either.
fn not_fetched(error: &FetchError) -> RegistryError {
    let message = error.to_string();
    match error {
        // What the other registry gave is its fault, and not that of the node that asks.
        FetchError::Store(error)
            if !matches!(error, StoreError::Mismatch { .. } | StoreError::TooLarge) =>
        {
            error.into()
        }
        FetchError::Refused { status, .. } if status.is_client_error() => {
            RegistryError::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
        }
        _ => {
            tracing::warn!(error = message, "an image for a node was not fetched");
            RegistryError::new(StatusCode::BAD_GATEWAY, "UNKNOWN", message)
        }
    }
}

pub(super) async fn manifest(
    images: &Images,
    access: &Access,
    reference: Reference,
) -> Result<Answer, RegistryError> {
    let through = match access {
        Access::PullThrough(through) => {
            let ensured = through.ensure(&reference).await;
            ensured.map_err(|error| not_fetched(&error))
        }
        Access::Read | Access::Write | Access::Judged(_) => Ok(()),
    };
    through?;
    let (images, wanted) = (images.clone(), reference.clone());
    let is_judged = matches!(access, Access::Judged(_));
    let counts_uses = matches!(access, Access::PullThrough(_));
    let find = move || {
        if is_judged {
            let repository = own(&images, wanted.registry(), wanted.repository())?;
            let found = repository.manifest(wanted.target())?;
            return Ok(found.map(|(digest, manifest, bytes)| (digest, manifest.media_type, bytes)));
        }
        let Some(image) = images.find(&wanted)? else {
            return Ok::<_, RegistryError>(None);
        };
        let manifest = images.manifest(&image.digest)?;
        if counts_uses {
            images.touch(&image.digest);
        }
        Ok(manifest.map(|(manifest, bytes)| (image.digest, manifest.media_type, bytes)))
    };
    let Some((digest, media_type, bytes)) = blocking(find).await? else {
        let message = match (access, reference.target()) {
            (Access::Judged(_), _) => "Requested image not found".to_owned(),
            _ => format!("there is no image {reference} here: `lath image load` adds images"),
        };
        return Err(RegistryError::new(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            message,
        ));
    };
    let mut answer = answer::bytes(bytes, &media_type);
    answer::set_digest(&mut answer, &digest);
    Ok(answer)
}

pub(super) async fn blob(
    images: &Images,
    access: &Access,
    name: Repository,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Answer, RegistryError> {
    let (images, wanted) = (images.clone(), digest.clone());
    let is_judged = matches!(access, Access::Judged(_));
    let find = move || {
        if is_judged {
            let found = own(&images, &name.registry, &name.name)?.layer(&wanted)?;
            return Ok::<_, RegistryError>(found);
        }
        Ok(images.blob(&wanted)?)
    };
    let Some((file, size)) = blocking(find).await? else {
        let message = format!("there is no blob {digest} here");
        return Err(RegistryError::new(
            StatusCode::NOT_FOUND,
            "BLOB_UNKNOWN",
            message,
        ));
    };
    let range = headers.get(RANGE).and_then(|it| it.to_str().ok());
    let range = range.map_or(Range::Whole, |text| Range::of(text, size));
    let (first, length) = match range {
        Range::Whole => (0, size),
        Range::Part { first, length } => (first, length),
        Range::Outside => {
            let mut answer = RegistryError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "SIZE_INVALID",
                format!("the blob has {size} bytes"),
            )
            .into_answer();
            answer::set(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(answer);
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(std::io::SeekFrom::Start(first))
        .await
        .map_err(|error| {
            tracing::warn!(%error, %digest, "a blob cannot be read");
            RegistryError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "UNKNOWN",
                "a blob cannot be read",
            )
        })?;
    let chunks = ReaderStream::with_capacity(file.take(length), CHUNK);
    let frames = chunks.map(|chunk: std::io::Result<Bytes>| chunk.map(Frame::data));
    let body = BodyExt::boxed(StreamBody::new(frames));
    let mut answer = answer::streamed(body, length, "application/octet-stream");
    answer::set(&mut answer, ACCEPT_RANGES, "bytes");
    answer::set_digest(&mut answer, &digest);
    if let Range::Part { .. } = range {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = first + length - 1;
        answer::set(
            &mut answer,
            CONTENT_RANGE,
            &format!("bytes {first}-{last}/{size}"),
        );
    }
    Ok(answer)
}

/// What a `Range` asks for. RFC 9110: one that is malformed, or asks for several parts, may be answered as if it were not
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Whole,
    Part { first: u64, length: u64 },
    Outside,
}

impl Range {
    fn of(text: &str, size: u64) -> Self {
        let Some((first, last)) = text
            .strip_prefix("bytes=")
            .and_then(|it| it.split_once('-'))
        else {
            return Self::Whole;
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (first, end) = match (number(first.trim()), number(last.trim())) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
            (Some(first), None) if last.trim().is_empty() => (first, size),
            (None, Some(suffix)) if first.trim().is_empty() => (size.saturating_sub(suffix), size),
            _ => return Self::Whole,
        };
        if first >= end {
            return Self::Outside;
        }
        Self::Part {
            first,
            length: end - first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, length| Range::Part { first, length };
        for (text, range) in [
            ("bytes=0-", part(0, 10)),
            ("bytes=0-0", part(0, 1)),
            ("bytes=3-5", part(3, 3)),
            ("bytes=3-500", part(3, 7)),
            ("bytes=-4", part(6, 4)),
            ("bytes=-400", part(0, 10)),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=99999999999999999999999-", Range::Outside),
            ("bytes=5-3", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("lines=1-2", Range::Whole),
        ] {
            assert_eq!(Range::of(text, 10), range, "{text}");
        }
        assert_eq!(Range::of("bytes=0-", 0), Range::Outside);
    }
}
