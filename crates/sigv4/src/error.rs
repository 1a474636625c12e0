use std::time::SystemTime;

use crate::date;

/// Why a request is not believed. Each protocol has its own code and status for each of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigError {
    /// Neither an `Authorization` header nor a presigned query.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// The signature's parts are incomplete or malformed; the text says which.
    #[error("{0}")]
    Incomplete(String),
    /// No such access key.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The session token is not the key's.
    #[error("The security token included in the request is invalid.")]
    BadToken,
    /// The session has ended.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The signature is not the one that the request and the secret give.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your \
         AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
    /// The request was signed too long ago.
    #[error("Signature expired: {} is now earlier than {} ({} - {} min.)",
        date::print(*.signed), date::print(*.oldest), date::print(*.now), .minutes)]
    Expired {
        /// The date of the signature.
        signed: SystemTime,
        /// The oldest date that would still do.
        oldest: SystemTime,
        /// The verifier's clock.
        now: SystemTime,
        /// The tolerance.
        minutes: u64,
    },
    /// The request was signed in the future.
    #[error("Signature not yet current: {} is still later than {} ({} + {} min.)",
        date::print(*.signed), date::print(*.newest), date::print(*.now), .minutes)]
    NotYetCurrent {
        /// The date of the signature.
        signed: SystemTime,
        /// The newest date that would do.
        newest: SystemTime,
        /// The verifier's clock.
        now: SystemTime,
        /// The tolerance.
        minutes: u64,
    },
    /// A presigned request whose `X-Amz-Expires` has passed.
    #[error("Request has expired.")]
    PresignExpired,
}
