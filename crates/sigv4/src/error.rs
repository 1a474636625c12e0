use std::time::SystemTime;

use crate::date;

/// Why a signature is refused. Each protocol has its own code and status for each of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigError {
    /// Neither an `Authorization` header nor a presigned query.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// Parts of the signature are missing or malformed; the text says which.
    #[error("{0}")]
    Incomplete(String),
    /// The access key does not exist.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The session token does not belong to the key.
    #[error("The security token included in the request is invalid.")]
    BadToken,
    /// The session has expired.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The signature does not match the request and the secret.
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
        /// The oldest accepted date.
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
        /// The newest accepted date.
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
