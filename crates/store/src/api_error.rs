//! What callers of the API see of a failed store.

use lath_wire::ApiError;

use crate::StoreError;

/// Callers learn that it is our fault and that a repeat may help; the log learns why.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}
