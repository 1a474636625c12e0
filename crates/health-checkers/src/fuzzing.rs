//! Entry points for the targets in `fuzz/` only.

use crate::content::{Progress, head};

/// Reads a response as a probe does. Returns whether it contains `search`.
pub fn response(bytes: &[u8], search: &str) -> bool {
    match head(bytes) {
        Progress::Done(head) => head.search(bytes, search, true) == Progress::Done(true),
        Progress::Partial | Progress::Malformed(_) => false,
    }
}

/// Parses a peer's message.
pub fn message(bytes: &[u8]) {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let _ = crate::messages::read::<crate::messages::Health>(Some(&bytes));
    let _ = crate::messages::read::<crate::messages::ToProbe>(Some(&bytes));
    let _ = crate::messages::read::<crate::messages::Names>(Some(&bytes));
}
