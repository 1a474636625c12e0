//! Policy documents as callers give them.

use lath_wire::ApiError;
use serde_json::Value;

use crate::fault;

/// Refuses what is not an auth policy.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_auth(text: &str) -> Result<(), ApiError> {
    if text.contains(['\n', '\r']) {
        let message = "The auth policy must not contain newlines or blank lines";
        return Err(fault::invalid("policy", message));
    }
    read(text).map(drop)
}

/// Refuses what is not a resource policy.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_resource(text: &str) -> Result<(), ApiError> {
    read(text).map(drop)
}

fn read(text: &str) -> Result<Value, ApiError> {
    let invalid = |reason: String| fault::invalid("policy", format!("Invalid policy: {reason}"));
    let value: Value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    if value.get("Statement").is_none() {
        return Err(invalid("Statement is missing".to_owned()));
    }
    Ok(value)
}
