//! Idempotency: a repeated create answers with the resource that the first one made.

use std::fmt::Debug;

use lath_control::fingerprint;
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
    let claimed = lath_service::claim(tx, operation, token, fingerprint(parameters), new_id);
    claimed.map_err(|lath_service::Mismatch| {
        let text = "The client token was used by an earlier request with different parameters";
        fault::conflict(kind, token.unwrap_or_default(), text)
    })
}
