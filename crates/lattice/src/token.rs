//! Idempotency: a repeated create answers with the resource that the first one made.

use std::fmt::Debug;

use lath_control::{TokenUse, claim_token, fingerprint};
use lath_store::Tx;
use lath_wire::ApiError;

use crate::fault;
use crate::ident::Kind;

/// Claims a create's token. `Some` is the id of the resource that an earlier, equal request made.
/// `parameters` are the request's, without the token.
///
/// # Errors
/// `ConflictException` when a different request used the token.
pub(crate) fn claim(
    tx: &mut Tx,
    operation: &str,
    token: Option<&str>,
    parameters: &impl Debug,
    kind: Kind,
    new_id: &str,
) -> Result<Option<String>, ApiError> {
    let Some(token) = token else { return Ok(None) };
    match claim_token(tx, operation, token, fingerprint(parameters), new_id) {
        TokenUse::New => Ok(None),
        TokenUse::Repeat(id) => Ok(Some(id)),
        TokenUse::Mismatch => Err(fault::conflict(
            kind,
            token,
            "The client token was used by an earlier request with different parameters",
        )),
    }
}
