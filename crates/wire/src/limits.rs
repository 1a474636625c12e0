//! Caps on what strangers send.

use std::cell::Cell;

/// Deepest nesting of any request.
pub const MAX_DEPTH: usize = 32;

/// Most values (members and list items at every level) in one request. The largest request AWS itself
/// takes, 10,000 log events, has some 30,000.
pub const MAX_VALUES: usize = 500_000;

/// Most values in a request of EC2's that is judged. What it needs permission for is found with the functions that carry
/// it out, some of which compare what they are given with one another. The largest that EC2 takes, a thousand rules with
/// all their members, have less than half of it.
pub(crate) const MAX_EC2_VALUES: usize = 20_000;

/// The bytes are not of the format, or exceed a cap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Counts values while a tree is built.
#[derive(Debug)]
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(Cell::new(MAX_VALUES))
    }

    /// Takes one value at `depth` levels below the top.
    pub(crate) fn take(&self, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::new(format!(
                "nested deeper than {MAX_DEPTH} levels"
            )));
        }
        match self.0.get().checked_sub(1) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(Malformed::new(format!("more than {MAX_VALUES} values"))),
        }
    }
}
