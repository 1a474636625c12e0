//! For fuzz targets.

/// Reads a stranger's archive: whatever it is, so many bytes come of it at most.
pub fn archive(bytes: &[u8]) {
    if let Ok(size) = crate::examine(bytes) {
        assert!(size <= crate::UNPACKED);
    }
}
