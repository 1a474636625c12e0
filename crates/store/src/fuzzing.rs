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
