//! Route 53's errors.

use lath_service::{Violation, detected};
use lath_wire::ApiError;

/// An error whose status is 400.
pub(crate) fn fault(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(code, 400, message)
}

/// `InvalidInput`.
pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    fault("InvalidInput", message)
}

/// `InvalidInput`, as the service words what breaks a constraint of its model.
pub(crate) fn constraint(member: &str, value: &str, rule: &str) -> ApiError {
    invalid(detected(&[Violation::new(member, value, rule)]))
}

/// `InvalidChangeBatch` with every message, in brackets.
pub(crate) fn invalid_batch(messages: &[String]) -> ApiError {
    fault("InvalidChangeBatch", format!("[{}]", messages.join(", ")))
}

pub(crate) fn no_such_zone(id: &str) -> ApiError {
    let id: String = id.chars().take(64).collect();
    ApiError::new(
        "NoSuchHostedZone",
        404,
        format!("No hosted zone found with ID: {id}"),
    )
}

pub(crate) fn no_such_check(id: &str) -> ApiError {
    let id: String = id.chars().take(64).collect();
    ApiError::new(
        "NoSuchHealthCheck",
        404,
        format!("A health check with id {id} does not exist."),
    )
}

pub(crate) fn invalid_name(name: &str) -> ApiError {
    let name: String = name.chars().take(256).collect();
    fault(
        "InvalidDomainName",
        format!("{name} is not a valid domain name"),
    )
}

pub(crate) fn invalid_vpc(text: &str) -> ApiError {
    fault("InvalidVPCId", text)
}

pub(crate) fn bad_token() -> ApiError {
    fault(
        "InvalidPaginationToken",
        "The pagination token is not valid.",
    )
}

pub(crate) fn not_home(home: &str) -> ApiError {
    ApiError::new(
        "ServiceUnavailable",
        503,
        format!(
            "Route 53 keeps its state in its home region {home}, which has to be asked. DNS answers and health checks go on without it."
        ),
    )
}
