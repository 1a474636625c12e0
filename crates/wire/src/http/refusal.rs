//! What a bad signature is called, by protocol.

use lath_sigv4::SigError;

use super::body::BodyError;
use crate::{ApiError, Protocol};

/// The error that AWS answers in this protocol.
pub(crate) fn signature(protocol: Protocol, error: &SigError) -> ApiError {
    match protocol {
        Protocol::Ec2Query => ec2(error),
        Protocol::Query | Protocol::RestXml => query(error),
        Protocol::RestJson => json(error, 403),
        Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => json(error, 400),
    }
}

fn ec2(error: &SigError) -> ApiError {
    let (code, status, text) = match error {
        SigError::Missing => ("MissingAuthenticationToken", 403, error.to_string()),
        SigError::Incomplete(text) => ("IncompleteSignature", 400, text.clone()),
        SigError::UnknownKey | SigError::BadToken | SigError::Mismatch => {
            let text = "AWS was not able to validate the provided access credentials";
            ("AuthFailure", 401, text.to_owned())
        }
        SigError::ExpiredToken
        | SigError::Expired { .. }
        | SigError::NotYetCurrent { .. }
        | SigError::PresignExpired => ("RequestExpired", 400, "Request has expired.".to_owned()),
    };
    ApiError::new(code, status, text)
}

fn query(error: &SigError) -> ApiError {
    let (code, status) = match error {
        SigError::Missing => ("MissingAuthenticationToken", 403),
        SigError::Incomplete(_) => ("IncompleteSignature", 400),
        SigError::UnknownKey | SigError::BadToken => ("InvalidClientTokenId", 403),
        SigError::ExpiredToken => ("ExpiredToken", 403),
        SigError::Mismatch
        | SigError::Expired { .. }
        | SigError::NotYetCurrent { .. }
        | SigError::PresignExpired => ("SignatureDoesNotMatch", 403),
    };
    ApiError::new(code, status, error.to_string())
}

fn json(error: &SigError, status: u16) -> ApiError {
    let code = match error {
        SigError::Missing => "MissingAuthenticationTokenException",
        SigError::Incomplete(_) => "IncompleteSignatureException",
        SigError::UnknownKey | SigError::BadToken => "UnrecognizedClientException",
        SigError::ExpiredToken => "ExpiredTokenException",
        SigError::Mismatch
        | SigError::Expired { .. }
        | SigError::NotYetCurrent { .. }
        | SigError::PresignExpired => "InvalidSignatureException",
    };
    ApiError::new(code, status, error.to_string())
}

/// A scope whose region or service is not here.
pub(crate) fn scope(protocol: Protocol, text: String) -> ApiError {
    match protocol {
        Protocol::Ec2Query => ApiError::new("AuthFailure", 401, text),
        Protocol::Query | Protocol::RestXml => ApiError::new("SignatureDoesNotMatch", 403, text),
        Protocol::RestJson => ApiError::new("InvalidSignatureException", 403, text),
        Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => {
            ApiError::new("InvalidSignatureException", 400, text)
        }
    }
}

/// A body that could not be had.
pub(crate) fn body(error: &BodyError) -> ApiError {
    let (code, status) = match error {
        BodyError::TooLarge => ("RequestEntityTooLargeException", 413),
        BodyError::Broken => ("RequestAbortedException", 400),
        BodyError::Late => ("RequestTimeoutException", 408),
        BodyError::TooMany => ("ServiceUnavailable", 503),
        BodyError::NotGzip => ("MalformedHttpRequestException", 400),
        BodyError::UnknownEncoding => ("UnsupportedMediaTypeException", 415),
    };
    ApiError::new(code, status, error.to_string())
}
