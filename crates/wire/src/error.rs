//! The error that every operation may answer.

use std::borrow::Cow;
use std::fmt;

use lath_model::Outage;

use crate::Doc;

/// Whose fault an error is (`Sender` and `Receiver` in the query protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's.
    Sender,
    /// Ours.
    Receiver,
}

/// An error as the caller sees it. The cause goes to the log only.
#[derive(Debug)]
pub struct ApiError {
    /// AWS's error code, such as `InvalidVpcID.NotFound` or `ValidationException`.
    pub code: Cow<'static, str>,
    /// The code that the query protocol has for it, where it differs from [`ApiError::code`] (the
    /// awsQueryCompatible trait): printed in query bodies and in `x-amzn-query-error`.
    pub query_code: Option<&'static str>,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, in a sentence for the caller.
    pub message: String,
    /// Further members of a modelled exception, such as `resourceId`.
    pub fields: Vec<(&'static str, Doc)>,
    /// Headers, such as `Retry-After`.
    pub headers: Vec<(&'static str, String)>,
    /// Why, for the log.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    /// An error with this code, status and message.
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            query_code: None,
            status,
            message: message.into(),
            fields: Vec::new(),
            headers: Vec::new(),
            cause: None,
        }
    }

    /// A failure of Lath's: the caller learns nothing but that; the log gets the cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let mut error = Self::new(
            "InternalFailure",
            500,
            "The request processing has failed because of an unknown error, exception or failure.",
        );
        error.cause = Some(cause.into());
        error
    }

    /// Names the query protocol's code where it differs.
    #[must_use]
    pub fn with_query_code(mut self, code: &'static str) -> Self {
        self.query_code = Some(code);
        self
    }

    /// Adds a member of a modelled exception.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: Doc) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds the cause for the log.
    #[must_use]
    pub fn with_cause(
        mut self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Whose fault it is, by the status.
    pub fn fault(&self) -> Fault {
        if self.status >= 500 {
            Fault::Receiver
        } else {
            Fault::Sender
        }
    }
}

/// Callers get a server error. The log gets the cause of one that a retry does not fix.
impl<E: Outage> From<E> for ApiError {
    fn from(error: E) -> Self {
        match error.passes() {
            // AWS's common error for failures that a retry may fix.
            true => Self::new("ServiceUnavailable", 503, error.to_string()),
            false => Self::internal(error),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}
