//! Answers, and errors as the specification writes them.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::digest::Digest;
use crate::store::StoreError;

pub(crate) type Answer = Response<BoxBody<Bytes, io::Error>>;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct RegistryError {
    pub(crate) status: StatusCode,
    /// Of the specification's list.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl RegistryError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    pub(crate) fn unknown(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "UNSUPPORTED", message)
    }

    pub(crate) fn method() -> Self {
        let message = "this cannot be done here";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    pub(crate) fn upload_unknown() -> Self {
        let message = "there is no such upload";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)
    }

    pub(crate) fn into_answer(self) -> Answer {
        let errors = serde_json::json!({"errors": [{"code": self.code, "message": self.message}]});
        let mut answer = json(&errors);
        *answer.status_mut() = self.status;
        answer
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for RegistryError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Mismatch { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string())
            }
            StoreError::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "SIZE_INVALID",
                error.to_string(),
            ),
            StoreError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "DENIED",
                error.to_string(),
            ),
            StoreError::Io { .. } | StoreError::Damaged { .. } => {
                tracing::warn!(%error, "the image store");
                // Paths of this machine are no affair of a node's pods.
                let message = "the image store cannot be read or written";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message)
            }
        }
    }
}

/// Runs file operations where they block no task.
pub(crate) async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, RegistryError>
where
    RegistryError: From<E>,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(RegistryError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "UNKNOWN",
                "Lath is stopping",
            )),
        },
    }
}

pub(crate) fn with(status: StatusCode) -> Answer {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(VERSION, HeaderValue::from_static("registry/2.0"));
    answer
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(0));
    answer
}

pub(crate) fn bytes(bytes: Vec<u8>, media_type: &str) -> Answer {
    let length = bytes.len() as u64;
    let body = Full::from(bytes).map_err(|never| match never {}).boxed();
    streamed(body, length, media_type)
}

pub(crate) fn streamed(body: BoxBody<Bytes, io::Error>, length: u64, media_type: &str) -> Answer {
    let mut answer = with(StatusCode::OK);
    *answer.body_mut() = body;
    set(&mut answer, CONTENT_LENGTH, &length.to_string());
    set(&mut answer, CONTENT_TYPE, media_type);
    answer
}

pub(crate) fn json(value: &serde_json::Value) -> Answer {
    bytes(value.to_string().into_bytes(), "application/json")
}

pub(crate) fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

pub(crate) fn set_digest(answer: &mut Answer, digest: &Digest) {
    set(answer, CONTENT_DIGEST, &digest.to_string());
}

/// To HEAD: its headers are those of GET.
pub(crate) fn without_body(answer: Answer) -> Answer {
    answer.map(|_| Empty::new().map_err(|never| match never {}).boxed())
}
