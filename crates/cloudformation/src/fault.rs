//! CloudFormation's errors, in its words as far as they are known.

use std::sync::Arc;

use lath_control::BadToken;
use lath_store::View;
use lath_wire::ApiError;

use crate::record::Stack;
use crate::template::cut;

pub(crate) fn validation(text: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", 400, text)
}

pub(crate) fn token(_: BadToken) -> ApiError {
    validation("The specified nextToken is invalid.")
}

pub(crate) fn absent(name: &str) -> ApiError {
    validation(format!("Stack with id {} does not exist", cut(name)))
}

/// What Lath does not do.
pub(crate) fn unsupported(what: &str) -> ApiError {
    validation(format!("Lath does not support {what}."))
}

/// A stack by its ARN, also a deleted one, or by the name of a living one.
pub(crate) fn lookup(view: &View, name: &str) -> Option<Arc<Stack>> {
    if name.starts_with("arn:") {
        let uuid = name.rsplit('/').next().unwrap_or_default();
        return view.get::<Stack>(uuid).filter(|it| it.arn == name);
    }
    view.by::<Stack>("name", name).next()
}

/// As [`lookup`].
///
/// # Errors
/// There is none.
pub(crate) fn find(view: &View, name: &str) -> Result<Arc<Stack>, ApiError> {
    lookup(view, name).ok_or_else(|| absent(name))
}
