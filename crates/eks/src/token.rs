//! Idempotency: a repeated create answers with the resource that the first one made.

use std::fmt::Debug;

use lath_control::fingerprint;
use lath_store::Tx;
use lath_wire::ApiError;

use crate::fault;

/// Claims a create's token. `Some` is what an earlier, equal request made. `parameters` are the request's, without the
/// token.
///
/// # Errors
/// `InvalidParameterException` when a different request used the token.
pub(crate) fn claim(
    tx: &mut Tx,
    operation: &str,
    token: Option<&str>,
    parameters: &impl Debug,
    new: &str,
) -> Result<Option<String>, ApiError> {
    let scope = format!("eks.{operation}");
    let claimed = lath_service::claim(tx, &scope, token, fingerprint(parameters), new);
    claimed.map_err(|lath_service::Mismatch| {
        fault::invalid_parameter(
            "The clientRequestToken was used by an earlier request with different parameters.",
        )
    })
}
