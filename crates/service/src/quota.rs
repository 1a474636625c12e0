use lath_control::{Cell, Mode};
use lath_wire::ApiError;

/// A limit of AWS's on how many there are of something. It holds in strict mode only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota<K> {
    /// What it is about, as the service's error names it.
    pub kind: K,
    /// Its code, such as `L-9CAD07FB`, or the code of the error.
    pub code: &'static str,
    /// The most that there may be.
    pub limit: usize,
}

impl<K> Quota<K> {
    /// A quota.
    pub const fn new(kind: K, code: &'static str, limit: usize) -> Self {
        Self { kind, code, limit }
    }

    /// Checks that `count`, the new one included, is within the quota; `error` words that it is not.
    ///
    /// # Errors
    /// What `error` makes of the quota, in strict mode.
    pub fn check(
        &self,
        cell: &Cell,
        count: usize,
        error: impl FnOnce(&Self) -> ApiError,
    ) -> Result<(), ApiError> {
        if cell.mode == Mode::Strict && count > self.limit {
            return Err(error(self));
        }
        Ok(())
    }
}
