//! What a panic does: it ends the process, as half of a server is worse than none. Only the storage engine's
//! are caught, where a damaged file may bring them about; therefore panics unwind in every profile.

use std::panic;

/// From now on a panic ends the process with a message, unless [`lath_store::contain`] catches it.
pub(crate) fn abort_unless_contained() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        if !lath_store::is_contained() {
            say(about);
            std::process::abort();
        }
    }));
}
