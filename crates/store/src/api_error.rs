//! What callers of the API see of a failed store.

use lath_wire::ApiError;

use crate::StoreError;

/// Callers learn that it is our fault and that a repeat may help; the log learns why.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            // AWS's common error for what a repeat may mend.
            StoreError::Full(_) => Self::new("ServiceUnavailable", 503, error.to_string()),
            error => Self::internal(error),
        }
    }
}
