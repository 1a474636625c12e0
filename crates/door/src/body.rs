//! Request bodies: whole, bounded, not compressed.

use std::io::Read as _;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use lath_net::Place;
use lath_net::accept::{Acceptor, ConnectionLimits, Source};
use tokio::time::Instant;

use lath_wire::ApiError;

use crate::Limits;

/// The part of a body that is read at once.
const SMALL_BODY: usize = 64 << 10;
/// So many bodies are on their way at the same time, half of them of one source; further requests are
/// refused. It takes many HTTP/2 streams to get there.
const BODIES: usize = 2048;
/// So many of those are larger, half of them of one source; others wait for their turn.
const LARGE_BODIES: usize = 16;
/// So many of those are code of functions, half of them of one source; others wait for their turn.
const HUGE_BODIES: usize = 4;
/// A large body arrives at least this fast, or it is given up: so many bytes in such a time.
const PACE: (usize, Duration) = (64 << 10, Duration::from_secs(5));

/// Takes bodies in. They come before signatures can be checked: strangers share a bounded amount of memory.
#[derive(Debug)]
pub(crate) struct Intake {
    all: Acceptor,
    large: Acceptor,
    huge: Acceptor,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            all: Acceptor::new("request bodies", half_each(BODIES)),
            large: Acceptor::new("large request bodies", half_each(LARGE_BODIES)),
            huge: Acceptor::new("request bodies with code", half_each(HUGE_BODIES)),
        }
    }

    /// A whole body that `peer` sends, within the limits of size and time.
    pub(crate) async fn take<B>(
        &self,
        body: B,
        peer: IpAddr,
        limits: &Limits,
        most: usize,
    ) -> Result<Bytes, ApiError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let source = Source::of(peer);
        let Some(place) = self.all.admit(&Place::Host, source.clone()).await else {
            return Err(BodyError::TooMany.answer());
        };
        let _busy = place.busy();
        let sizes = (limits.body, most);
        let taken = tokio::time::timeout(limits.body_timeout, self.collect(body, source, sizes));
        let taken = taken.await.unwrap_or(Err(BodyError::Late));
        taken.map_err(|error| error.answer())
    }

    /// Reads a body to its end.
    ///
    /// `usual` is how much one of the large ones may have; few at a time may have up to `most`.
    async fn collect<B>(
        &self,
        body: B,
        source: Source,
        (usual, most): (usize, usize),
    ) -> Result<Bytes, BodyError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // A length that is announced is believed: the client may wait for the answer before it sends.
        if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Err(BodyError::TooLarge);
        }
        let mut body = std::pin::pin!(body);
        let mut whole = Vec::new();
        while whole.len() <= SMALL_BODY {
            match next(body.as_mut()).await? {
                Some(data) => extend(&mut whole, &data, most)?,
                None => return Ok(whole.into()),
            }
        }
        // The time for the whole body ends this.
        let turn = self
            .large
            .admit_within(Duration::MAX, &Place::Host, source.clone());
        let place = turn.await.ok_or(BodyError::Late)?;
        let _busy = place.busy();
        let mut huge = None;
        let mut expected = (whole.len() + PACE.0, Instant::now() + PACE.1);
        loop {
            let data = tokio::time::timeout_at(expected.1, next(body.as_mut()));
            match data.await.map_err(|_| BodyError::Late)?? {
                Some(data) => extend(&mut whole, &data, most)?,
                None => return Ok(whole.into()),
            }
            if whole.len() > usual && huge.is_none() {
                let turn = self
                    .huge
                    .admit_within(Duration::MAX, &Place::Host, source.clone());
                let place = turn.await.ok_or(BodyError::Late)?;
                huge = Some((place.busy(), place));
                expected.1 = Instant::now() + PACE.1;
            }
            if whole.len() >= expected.0 {
                expected = (whole.len() + PACE.0, Instant::now() + PACE.1);
            }
        }
    }
}

/// Half of them for one source.
pub(crate) fn half_each(total: usize) -> ConnectionLimits {
    ConnectionLimits {
        total,
        per_place: total,
        per_source: total / 2,
        idle: Duration::MAX,
    }
}

/// The next data of a body; nothing at its end.
async fn next<B>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, BodyError>
where
    B: http_body::Body<Data = Bytes>,
{
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn extend(whole: &mut Vec<u8>, data: &[u8], most: usize) -> Result<(), BodyError> {
    if whole.len() + data.len() > most {
        return Err(BodyError::TooLarge);
    }
    whole.extend_from_slice(data);
    Ok(())
}

/// Why a body could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request's body exceeds the limit")]
    TooLarge,
    #[error("the request's body did not arrive")]
    Broken,
    #[error("The request's body did not arrive in time.")]
    Late,
    #[error("Too many requests are being sent at the same time. Try again in a moment.")]
    TooMany,
    #[error("the request's body is not valid gzip")]
    NotGzip,
    #[error("the request's body is encoded in a way that is not accepted")]
    UnknownEncoding,
}

impl BodyError {
    /// What the caller is answered.
    pub(crate) fn answer(&self) -> ApiError {
        let (code, status) = match self {
            Self::TooLarge => ("RequestEntityTooLargeException", 413),
            Self::Broken => ("RequestAbortedException", 400),
            Self::Late => ("RequestTimeoutException", 408),
            Self::TooMany => ("ServiceUnavailable", 503),
            Self::NotGzip => ("MalformedHttpRequestException", 400),
            Self::UnknownEncoding => ("UnsupportedMediaTypeException", 415),
        };
        ApiError::new(code, status, self.to_string())
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
