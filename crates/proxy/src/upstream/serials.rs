//! Finding things by serial numbers of targets and callers.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashes serial numbers, which no client chooses.
pub(super) type Serials = BuildHasherDefault<SerialHasher>;

#[derive(Default)]
pub(super) struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, serial: u64) {
        // Spreads neighbours over the high bits, which the table looks at too.
        self.0 = (self.0 ^ serial)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(32);
    }
}
