//! Room that a thread lends for a moment, so that what waits has none of its own.

use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 * 1024].into_boxed_slice());
}

/// Lends the thread's room: 64 KiB of whatever was written there last.
pub(crate) fn with_scratch<T>(look: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| look(scratch))
}
