//! Doors for the targets in `fuzz/`, and for nobody else.

use crate::Record;

/// Reads a stored record.
///
/// # Errors
/// Why it cannot be read.
pub fn decode<R: Record>(id: &str, stored: &[u8]) -> Result<R, String> {
    crate::record::decode(id, stored)
}

/// A record as it is stored.
///
/// # Errors
/// Why it cannot be written.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, String> {
    crate::record::encode(record)
}

/// Reads a stored entry; what it holds is printed as the same bytes again.
///
/// # Errors
/// Why it cannot be read.
pub fn entry(key: &str, stored: &[u8]) -> Result<Vec<u8>, &'static str> {
    use crate::embedded::format::{join, split};
    split(key, stored).map(|(revision, value)| join(key, revision, value))
}

/// Reads a high-water mark; what it says is printed as the same bytes again.
pub fn mark(bytes: &[u8]) -> Option<[u8; 32]> {
    use crate::embedded::mark::{decode, encode};
    decode(bytes).map(encode)
}
