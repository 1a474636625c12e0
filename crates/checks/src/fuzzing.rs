//! Doors for the targets in `fuzz/`, and for nobody else.

use crate::content::{Progress, head};

/// Reads a response as a probe does; whether it holds `search`.
pub fn response(bytes: &[u8], search: &str) -> bool {
    match head(bytes) {
        Progress::Done(head) => head.search(bytes, search, true) == Progress::Done(true),
        Progress::Partial | Progress::Malformed(_) => false,
    }
}

/// Reads what a peer tells.
pub fn told(bytes: &[u8]) {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let _ = crate::told::read::<crate::told::Health>(Some(&bytes));
    let _ = crate::told::read::<crate::told::ToProbe>(Some(&bytes));
    let _ = crate::told::read::<crate::told::Names>(Some(&bytes));
}
