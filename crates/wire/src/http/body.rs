//! Request bodies: whole, bounded, not compressed.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use super::{Limits, refusal};
use crate::ApiError;

/// Bodies of at most so many bytes are read at once, as many as there are connections.
const SMALL_BODY: u64 = 64 << 10;
/// So many larger ones are read at the same time; others wait for their turn.
const LARGE_BODIES: usize = 16;

/// Takes bodies in. They come before signatures can be checked: strangers share a bounded amount of memory.
#[derive(Debug)]
pub(crate) struct Intake {
    large: Semaphore,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            large: Semaphore::new(LARGE_BODIES),
        }
    }

    /// A whole body, within the limits of size and time.
    pub(crate) async fn take<B>(&self, body: B, limits: &Limits) -> Result<Bytes, ApiError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let taken = async {
            let large = body
                .size_hint()
                .upper()
                .is_none_or(|most| most > SMALL_BODY);
            let _place = if large {
                self.large.acquire().await.ok()
            } else {
                None
            };
            collect(body, limits.body).await
        };
        match tokio::time::timeout(limits.body_timeout, taken).await {
            Ok(taken) => taken.map_err(|error| refusal::body(&error)),
            Err(_) => {
                let text = "The request's body did not arrive in time.";
                Err(ApiError::new("RequestTimeoutException", 408, text))
            }
        }
    }
}

/// Why a body could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request's body exceeds the limit")]
    TooLarge,
    #[error("the request's body did not arrive")]
    Broken,
    #[error("the request's body is not valid gzip")]
    NotGzip,
    #[error("the request's body is encoded in a way that is not accepted")]
    UnknownEncoding,
}

/// Reads a body to its end.
async fn collect<B>(body: B, most: usize) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A length that is announced is believed: the client may wait for the answer before it sends.
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge);
    }
    match Limited::new(body, most).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}

/// Undoes `Content-Encoding`.
pub(crate) fn expanded(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Bytes, BodyError> {
    let encoding = headers.get(http::header::CONTENT_ENCODING);
    match encoding.map(|value| value.as_bytes()) {
        None | Some(b"identity" | b"") => Ok(body),
        Some(b"gzip") => gunzip(&body, most),
        Some(_) => Err(BodyError::UnknownEncoding),
    }
}

fn gunzip(body: &[u8], most: usize) -> Result<Bytes, BodyError> {
    let mut plain = Vec::new();
    let cap = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body)
        .take(cap)
        .read_to_end(&mut plain)
        .map_err(|_| BodyError::NotGzip)?;
    if plain.len() > most {
        return Err(BodyError::TooLarge);
    }
    Ok(plain.into())
}
