//! EC2's errors: codes, messages and statuses as AWS gives them
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>).

use std::fmt::Display;

use lath_service::Quota;
use lath_wire::ApiError;

/// An error of the caller's with status 400, which almost all of EC2's are.
pub fn client(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(code, 400, message)
}

/// A required member is absent.
pub fn missing(parameter: &str) -> ApiError {
    client(
        "MissingParameter",
        format!("The request must contain the parameter {parameter}"),
    )
}

/// A member's value cannot be used; the message says why.
pub fn invalid_value(message: impl Into<String>) -> ApiError {
    client("InvalidParameterValue", message)
}

/// `Value (x) for parameter y is invalid. Why.`
pub fn invalid_parameter(parameter: &str, value: impl Display, why: &str) -> ApiError {
    invalid_value(format!(
        "Value ({value}) for parameter {parameter} is invalid. {why}"
    ))
}

/// Members that exclude one another, or need one another.
pub fn combination(message: impl Into<String>) -> ApiError {
    client("InvalidParameterCombination", message)
}

/// Something that AWS can do and Lath cannot.
pub fn unsupported(message: impl Into<String>) -> ApiError {
    client("UnsupportedOperation", message)
}

/// A thing that others still use: `The vpc 'vpc-...' has dependencies and cannot be deleted.`
pub fn has_dependencies(noun: &str, id: impl Display) -> ApiError {
    dependency(format!(
        "The {noun} '{id}' has dependencies and cannot be deleted."
    ))
}

/// A thing that others still use.
pub fn dependency(message: impl Into<String>) -> ApiError {
    client("DependencyViolation", message)
}

/// A quota of the account is used up.
pub fn limit(code: &'static str, what: &str) -> ApiError {
    client(
        code,
        format!("The maximum number of {what} has been reached."),
    )
}

/// As [`limit`], of a quota.
pub fn over(quota: &Quota<&str>) -> ApiError {
    limit(quota.code, quota.kind)
}

/// A thing that belongs to someone else.
pub fn unauthorized() -> ApiError {
    ApiError::new(
        "UnauthorizedOperation",
        403,
        "You are not authorized to perform this operation.",
    )
}
