//! `ClientToken`: a repeated create answers as the first one did
//! (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>).

pub(crate) use lath_control::fingerprint;
use lath_control::{TokenUse, claim_token};
use lath_store::Tx;
use lath_wire::ApiError;

use crate::errors::{client, invalid_value};

/// Claims the token, if there is one, for a new resource. Never answers [`TokenUse::Mismatch`].
///
/// # Errors
/// `IdempotentParameterMismatch`, `InvalidParameterValue` for a token that is too long.
pub(crate) fn claim(
    tx: &mut Tx,
    operation: &str,
    token: Option<&str>,
    fingerprint: u64,
    new_id: &str,
) -> Result<TokenUse, ApiError> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(TokenUse::New);
    };
    if token.len() > 64 || !token.is_ascii() {
        return Err(invalid_value(
            "The client token must be at most 64 ASCII characters.",
        ));
    }
    let scope = format!("ec2.{operation}");
    match claim_token(tx, &scope, token, fingerprint, new_id) {
        TokenUse::Mismatch => Err(client(
            "IdempotentParameterMismatch",
            "The client token you have provided was used with different request parameters.",
        )),
        other => Ok(other),
    }
}
