//! ECR's errors, in AWS's words as far as they are known.

use std::sync::Arc;

use lath_store::View;
use lath_wire::ApiError;

use crate::Ecr;
use crate::record::Repository;

fn error(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(code, 400, message)
}

pub(crate) fn coded(code: &'static str, message: impl Into<String>) -> ApiError {
    error(code, message)
}

pub(crate) fn invalid_parameter(message: impl Into<String>) -> ApiError {
    error("InvalidParameterException", message)
}

/// A member breaks its constraint.
pub(crate) fn broken(member: &str, constraint: &str) -> ApiError {
    invalid_parameter(format!(
        "Invalid parameter at '{member}' failed to satisfy constraint: '{constraint}'"
    ))
}

/// What Lath does not do.
pub(crate) fn unsupported(what: &str) -> ApiError {
    invalid_parameter(format!("Lath does not support {what}."))
}

pub(crate) fn bad_token() -> ApiError {
    invalid_parameter("The specified nextToken is invalid.")
}

pub(crate) fn no_repository(name: &str, registry: &str) -> ApiError {
    let shown: String = name.chars().take(256).collect();
    error(
        "RepositoryNotFoundException",
        format!(
            "The repository with name '{shown}' does not exist in the registry with id '{registry}'"
        ),
    )
}

/// A repository that exists, in the registry that was meant: there is only one.
pub(crate) fn find(
    app: &Ecr,
    view: &View,
    registry: Option<&str>,
    name: &str,
) -> Result<Arc<Repository>, ApiError> {
    let own = &app.cell.account;
    let meant = registry.unwrap_or(own);
    let found = view.get::<Repository>(name).filter(|_| meant == own);
    found.ok_or_else(|| no_repository(name, meant))
}

/// The name of a repository as it may be made.
///
/// # Errors
/// It is malformed.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let length = name.chars().count();
    if !(2..=256).contains(&length) {
        let rule = "must have length between 2 and 256 characters";
        return Err(broken("repositoryName", rule));
    }
    let is_path = name.parse::<lath_registry::Reference>().is_ok();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._/-".contains(c);
    if is_path && name.chars().all(plain) {
        return Ok(());
    }
    let rule = "must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'";
    Err(broken("repositoryName", rule))
}

/// How many items a page has: 100 if it is not said.
pub(crate) fn page_size(max_results: Option<i32>) -> usize {
    max_results.map_or(100, |size| size.unsigned_abs() as usize)
}
