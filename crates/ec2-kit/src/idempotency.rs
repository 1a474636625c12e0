//! `ClientToken`: a repeated create answers as the first one did
//! (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>).

pub use lath_control::fingerprint;
use lath_ec2_records::errors::{client, invalid_value};
use lath_service::Mismatch;
use lath_store::Tx;
use lath_wire::ApiError;

/// Claims the token, if there is one, for a new resource. `Some` is the id of the resource that an earlier, equal request
/// made.
///
/// # Errors
/// `IdempotentParameterMismatch`, `InvalidParameterValue` for a token that is too long.
pub fn claim(
    tx: &mut Tx,
    operation: &str,
    token: Option<&str>,
    fingerprint: u64,
    new_id: &str,
) -> Result<Option<String>, ApiError> {
    check_token(
        token,
        "The client token must be at most 64 ASCII characters.",
    )?;
    let claimed = lath_service::claim(tx, &format!("ec2.{operation}"), token, fingerprint, new_id);
    claimed.map_err(|Mismatch| {
        mismatch("The client token you have provided was used with different request parameters.")
    })
}

/// # Errors
/// `InvalidParameterValue` in these words for a token that is too long.
pub fn check_token(token: Option<&str>, why: &'static str) -> Result<(), ApiError> {
    match token {
        Some(token) if token.len() > 64 || !token.is_ascii() => Err(invalid_value(why)),
        _ => Ok(()),
    }
}

/// The token was used by a request with other parameters.
pub fn mismatch(message: impl Into<String>) -> ApiError {
    client("IdempotentParameterMismatch", message)
}
