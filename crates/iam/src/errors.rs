//! IAM's errors.

use lath_service::{Violation, detected};
use lath_wire::ApiError;

pub(crate) fn no_such_entity(text: impl Into<String>) -> ApiError {
    ApiError::new("NoSuchEntity", 404, text)
}

pub(crate) fn exists(noun: &str, name: &str) -> ApiError {
    let text = format!("{noun} with name {name} already exists.");
    ApiError::new("EntityAlreadyExists", 409, text)
}

pub(crate) fn conflict(text: impl Into<String>) -> ApiError {
    ApiError::new("DeleteConflict", 409, text)
}

pub(crate) fn limit(what: &str, most: usize) -> ApiError {
    let text = format!("Cannot exceed quota for {what}: {most}");
    ApiError::new("LimitExceeded", 409, text)
}

pub(crate) fn validation(text: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", 400, text)
}

pub(crate) fn invalid_input(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidInput", 400, text)
}

pub(crate) fn malformed(text: impl Into<String>) -> ApiError {
    ApiError::new("MalformedPolicyDocument", 400, text)
}

/// AWS's own roles.
pub(crate) fn protected(role: &str) -> ApiError {
    let text = format!(
        "Cannot perform the operation on the protected role '{role}' - this role is only modifiable by AWS"
    );
    ApiError::new("UnmodifiableEntity", 400, text)
}

/// `1 validation error detected: Value 'x' at 'member' failed to satisfy constraint: rule`.
pub(crate) fn constraint(member: &str, value: &str, rule: &str) -> ApiError {
    validation(detected(&[Violation::new(member, value, rule)]))
}
