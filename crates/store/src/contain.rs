//! Contains panics: the storage engine may panic on a damaged file, and that must end the call, not the process.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f` and turns a panic in it into an error with the panic's text.
///
/// Data that `f` changed by reference must not be used after a panic. A panic hook can call [`is_contained`].
///
/// # Errors
/// The panic's text.
pub fn contain<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    DEPTH.set(DEPTH.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    DEPTH.set(DEPTH.get() - 1);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "it gave no reason".into())
    })
}

/// Whether a panic of this thread would be caught by [`contain`].
pub fn is_contained() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_text() {
        assert_eq!(contain(|| 1), Ok(1));
        assert_eq!(
            contain(|| panic!("on page {}", 7)),
            Err::<(), _>("on page 7".into())
        );
        assert!(!is_contained());
        assert_eq!(contain(is_contained), Ok(true));
    }
}
