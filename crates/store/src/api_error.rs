//! The API error of a failed store.

use lath_wire::ApiError;

use crate::StoreError;

/// Callers get a server error that they may retry. The log gets the cause.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            // AWS's common error for failures that a retry may fix.
            StoreError::Full(_) => Self::new("ServiceUnavailable", 503, error.to_string()),
            error => Self::internal(error),
        }
    }
}
