//! A panic ends the process, because half a server is worse than none. Only panics of the storage engine are caught,
//! as a damaged file may cause them; therefore panics unwind in every profile.

use std::panic;

/// Makes every panic end the process with a message, unless [`lath_store::contain`] catches it.
pub(crate) fn abort_unless_contained() {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        if !lath_store::is_contained() {
            default_hook(about);
            std::process::abort();
        }
    }));
}
