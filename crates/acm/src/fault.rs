//! ACM's errors, in AWS's words as far as they are known.

use std::sync::Arc;

use lath_control::Cell;
use lath_service::{Violation, detected};
use lath_store::View;
use lath_wire::{ApiError, Problems};

use crate::record::Certificate;
use crate::resource_types;

/// What the model says of ARNs.
const ARN_RULE: &str = "Member must satisfy regular expression pattern: arn:[\\w+=/,.@-]+:acm:[\\w+=/,.@-]*:[0-9]+:[\\w+=,.@-]+(/[\\w+=,.@-]+)*";

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

/// A certificate's ARN as the model has it.
pub(crate) fn check_arn(member: &str, arn: &str, service: &str) -> Result<(), ApiError> {
    let word = |text: &str, more: &str| {
        text.chars()
            .all(|it| it.is_alphanumeric() || "_+=,.@-".contains(it) || more.contains(it))
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let fits = match parts.as_slice() {
        ["arn", partition, of, region, account, resource] => {
            !partition.is_empty()
                && word(partition, "/")
                && *of == service
                && word(region, "/")
                && !account.is_empty()
                && account.bytes().all(|it| it.is_ascii_digit())
                && resource.split('/').all(|it| !it.is_empty() && word(it, ""))
        }
        _ => false,
    };
    if fits && (20..=2048).contains(&arn.len()) {
        return Ok(());
    }
    let rule = ARN_RULE.replacen(":acm:", &format!(":{service}:"), 1);
    Err(broken(member, arn, &rule))
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
/// The ARN is malformed, or of no certificate of this account and region.
pub(crate) fn find(cell: &Cell, view: &View, arn: &str) -> Result<Arc<Certificate>, ApiError> {
    check_arn("certificateArn", arn, "acm")?;
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

/// Reports where text has another length than it may have.
pub(crate) fn length(
    problems: &mut Problems,
    member: &str,
    count: usize,
    least: usize,
    most: usize,
) {
    let rule = if count < least {
        format!("Member must have length greater than or equal to {least}")
    } else if count > most {
        format!("Member must have length less than or equal to {most}")
    } else {
        return;
    };
    problems.add(member, rule);
}
