//! Entry points for the targets in `fuzz/` only.

use crate::webhook::review;

/// The answers to the review of a new object, without the gate and with it; `None` for bytes that are no review.
pub fn review(bytes: &[u8]) -> Option<[Vec<u8>; 2]> {
    let asked = review::read(bytes).ok()?;
    Some([false, true].map(|inject| review::answer(&asked, inject)))
}
