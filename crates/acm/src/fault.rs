//! ACM's errors, in AWS's words as far as they are known.

use std::sync::Arc;

use lath_control::Cell;
use lath_service::{Violation, detected};
use lath_store::View;
use lath_wire::ApiError;

use crate::record::Certificate;
use crate::resource_types;

pub(crate) fn coded(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(code, 400, message)
}

pub(crate) fn validation(message: impl Into<String>) -> ApiError {
    coded("ValidationException", message)
}

pub(crate) fn invalid_parameter(message: impl Into<String>) -> ApiError {
    coded("InvalidParameterException", message)
}

pub(crate) fn invalid_state(message: impl Into<String>) -> ApiError {
    coded("InvalidStateException", message)
}

pub(crate) fn limit(message: impl Into<String>) -> ApiError {
    coded("LimitExceededException", message)
}

/// What Lath does not do.
pub(crate) fn unsupported(what: &str) -> ApiError {
    invalid_parameter(format!("Lath does not support {what}."))
}

/// A member breaks its constraint.
pub(crate) fn broken(member: &str, value: &str, rule: &str) -> ApiError {
    validation(detected(&[Violation::new(member, value, rule)]))
}

pub(crate) fn not_found(arn: &str) -> ApiError {
    coded(
        "ResourceNotFoundException",
        format!("Could not find certificate {arn}."),
    )
}

/// The certificate of an ARN.
///
/// # Errors
/// The ARN is of no certificate of this account and region.
pub(crate) fn find(cell: &Cell, view: &View, arn: &str) -> Result<Arc<Certificate>, ApiError> {
    let found = resource_types::own_id(cell, arn).and_then(|id| view.get::<Certificate>(id));
    found.ok_or_else(|| not_found(arn))
}

/// It is not issued yet.
pub(crate) fn in_progress(arn: &str) -> ApiError {
    coded(
        "RequestInProgressException",
        format!("Certificate request for certificate {arn} is in progress."),
    )
}

pub(crate) fn in_use(arn: &str, account: &str) -> ApiError {
    coded(
        "ResourceInUseException",
        format!("Certificate {arn} in account {account} is in use."),
    )
}
