//! Lambda's errors, in AWS's words as far as they are known.

use lath_wire::{ApiError, Doc};

fn of_user(code: &'static str, status: u16, message: impl Into<String>) -> ApiError {
    ApiError::new(code, status, message).with_field("Type", Doc::String("User".to_owned()))
}

/// 400: a member is wrong.
pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    of_user("InvalidParameterValueException", 400, message)
}

/// 400: what Lath does not do.
pub(crate) fn unsupported(what: &str) -> ApiError {
    invalid(format!("Lath does not support {what}."))
}

/// 404.
pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    of_user("ResourceNotFoundException", 404, message)
}

/// 409.
pub(crate) fn conflict(message: impl Into<String>) -> ApiError {
    of_user("ResourceConflictException", 409, message)
}

/// 412: the resource is of another revision.
pub(crate) fn other_revision() -> ApiError {
    let text = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id";
    of_user("PreconditionFailedException", 412, text)
}

/// 413: the request is too long.
pub(crate) fn too_large(message: impl Into<String>) -> ApiError {
    of_user("RequestTooLargeException", 413, message)
}

/// 400: the event is no JSON.
pub(crate) fn no_json(reason: &str) -> ApiError {
    let text = format!("Could not parse request body into json: {reason}");
    of_user("InvalidRequestContentException", 400, text)
}

/// 429.
pub(crate) fn throttled(reserved: bool) -> ApiError {
    let reason = match reserved {
        true => "ReservedFunctionConcurrentInvocationLimitExceeded",
        false => "ConcurrentInvocationLimitExceeded",
    };
    of_user("TooManyRequestsException", 429, "Rate Exceeded.")
        .with_field("Reason", Doc::String(reason.to_owned()))
}

/// 500: the node does not do it.
pub(crate) fn service(message: impl Into<String>) -> ApiError {
    ApiError::new("ServiceException", 500, message)
        .with_field("Type", Doc::String("Service".to_owned()))
}
