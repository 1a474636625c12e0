//! The standard output of commands.

use std::io::{ErrorKind, Write as _};

/// Prints to standard output. A closed pipe is no error: in `lath status | head` the reader stops early.
///
/// # Errors
/// When writing fails for another reason, such as a full disk.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
