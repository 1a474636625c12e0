//! Request bodies: whole, bounded, not compressed.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

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
pub(crate) async fn collect<B>(body: B, most: usize) -> Result<Bytes, BodyError>
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
