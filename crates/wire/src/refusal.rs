//! What requests are refused with before an operation is found, by protocol.

use lath_sigv4::SigError;

use crate::{ApiError, Protocol};

/// A signature that does not hold: the error that AWS answers in this protocol.
pub fn signature(protocol: Protocol, error: &SigError) -> ApiError {
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
pub fn scope(protocol: Protocol, text: String) -> ApiError {
    match protocol {
        Protocol::Ec2Query => ApiError::new("AuthFailure", 401, text),
        Protocol::Query | Protocol::RestXml => ApiError::new("SignatureDoesNotMatch", 403, text),
        Protocol::RestJson => ApiError::new("InvalidSignatureException", 403, text),
        Protocol::Json10 | Protocol::Json11 | Protocol::RpcV2Cbor => {
            ApiError::new("InvalidSignatureException", 400, text)
        }
    }
}

/// An action that the service does not have, in the query protocols.
pub fn invalid_action(action: &str) -> ApiError {
    let shown: String = action.chars().take(128).collect();
    let text = format!("The action {shown} is not valid for this web service.");
    ApiError::new("InvalidAction", 400, text)
}
