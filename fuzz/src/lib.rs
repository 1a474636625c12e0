//! Parsers of foreign bytes under attack, as a library: the tests of this crate attack each for a moment with any
//! compiler, `libfuzzer` for as long as one likes with a nightly one. See README.md.

#[cfg(test)]
mod mutate;
#[cfg(test)]
mod session;
mod targets;

pub use targets::{TARGETS, Target};

/// The text at the beginning of some bytes.
fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
