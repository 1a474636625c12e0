//! Lattice's errors, with the members that its model demands.

use lath_wire::{ApiError, Doc};

use crate::ident::Kind;

fn text(value: impl Into<String>) -> Doc {
    Doc::String(value.into())
}

fn about(error: ApiError, resource_type: &str, id: &str) -> ApiError {
    error
        .with_field("resourceId", text(id))
        .with_field("resourceType", text(resource_type))
}

/// 404: there is no such resource.
pub(crate) fn not_found(kind: Kind, id: &str) -> ApiError {
    missing(kind.type_name(), kind.label(), id)
}

/// 404 for what other services own: VPCs, security groups, log groups.
pub(crate) fn missing(resource_type: &str, label: &str, id: &str) -> ApiError {
    let message = format!("{label} {id} not found");
    about(
        ApiError::new("ResourceNotFoundException", 404, message),
        resource_type,
        id,
    )
}

/// 409: the state of things forbids it.
pub(crate) fn conflict(kind: Kind, id: &str, message: impl Into<String>) -> ApiError {
    about(
        ApiError::new("ConflictException", 409, message),
        kind.type_name(),
        id,
    )
}

/// 409: a resource is not in a state that allows the operation.
pub(crate) fn wrong_status(kind: Kind, id: &str, status: &str) -> ApiError {
    conflict(
        kind,
        id,
        format!("Invalid resource status for this operation, resource id {id}, status: {status}"),
    )
}

/// 409: the name is taken.
pub(crate) fn name_taken(kind: Kind, id: &str, name: &str, account: &str) -> ApiError {
    let label = kind.label();
    conflict(
        kind,
        id,
        format!("Resource of type {label} with name {name} already exists in {account}"),
    )
}

/// 400: one member is wrong in a way that only the state can tell.
pub(crate) fn invalid(member: &str, message: impl Into<String>) -> ApiError {
    let message = message.into();
    let field = Doc::Map(vec![
        ("name".to_owned(), text(member)),
        ("message".to_owned(), text(&message)),
    ]);
    ApiError::new("ValidationException", 400, message)
        .with_field("reason", text("fieldValidationFailed"))
        .with_field("fieldList", Doc::List(vec![field]))
}

/// 400: the request is well formed but not possible.
pub(crate) fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", 400, message).with_field("reason", text("other"))
}

/// 403: the caller may not do this to that.
pub(crate) fn denied(message: impl Into<String>) -> ApiError {
    ApiError::new("AccessDeniedException", 403, message)
}

/// 402: one more would be too many.
pub(crate) fn quota_exceeded(kind: Kind, quota: &'static str, limit: usize) -> ApiError {
    ApiError::new(
        "ServiceQuotaExceededException",
        402,
        format!("The quota of {limit} ({quota}) has been reached"),
    )
    .with_field("resourceType", text(kind.type_name()))
    .with_field("serviceCode", text("vpc-lattice"))
    .with_field("quotaCode", text(quota))
}
