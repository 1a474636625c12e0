//! Entry points for the targets in `fuzz/` only.

use crate::Record;

/// Decodes a stored record.
///
/// # Errors
/// When it cannot be decoded.
pub fn decode<R: Record>(id: &str, stored: &[u8]) -> Result<R, String> {
    crate::record::decode(id, stored)
}

/// Encodes a record.
///
/// # Errors
/// When it cannot be encoded.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, String> {
    crate::record::encode(record)
}

/// Decodes a stored entry and encodes it again.
///
/// # Errors
/// When it cannot be decoded.
pub fn entry(key: &str, stored: &[u8]) -> Result<Vec<u8>, &'static str> {
    use crate::embedded::format::{join, split};
    split(key, stored).map(|(revision, value)| join(key, revision, value))
}

/// Decodes a high-water mark and encodes it again.
pub fn mark(bytes: &[u8]) -> Option<[u8; 32]> {
    use crate::embedded::mark::{decode, encode};
    decode(bytes).map(encode)
}
