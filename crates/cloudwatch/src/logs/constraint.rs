//! What is asked of values beside the model's own bounds, which are checked before.

use lath_wire::ApiError;

use super::invalid;

/// Longest names of groups and streams.
const NAME: usize = 512;

/// # Errors
/// `InvalidParameterException` for a longer name of a group or stream, or a longer beginning of one.
pub(super) fn check_length(name: &str) -> Result<(), ApiError> {
    if name.chars().count() <= NAME {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid LogGroup or LogStream, both must have length less than or equal to {NAME}."
    )))
}

/// How many items are wanted; absent means `most`.
pub(super) fn at_most(limit: Option<i64>, most: usize) -> usize {
    limit.map_or(most, |it| usize::try_from(it).unwrap_or(most).min(most))
}
