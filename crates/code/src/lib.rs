//! The code of functions: archives that are kept in a directory by their digests, and unpacked within bounds.
//!
//! Control keeps what was uploaded ([`Archives`]), which is on disk before it is acknowledged; nodes unpack it. An archive
//! is a stranger's: [`unpack`] writes below one directory only, so many bytes and so many files.
//!
//! ```
//! # fn example(archive: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let size = lath_code::examine(archive)?;
//! let archives = lath_code::Archives::at("/var/lib/lath/functions/archives");
//! let digest = archives.keep(archive)?;
//! lath_code::unpack(&std::fs::read(archives.path(&digest))?, "/tmp/task".as_ref())?;
//! # Ok(()) }
//! ```

mod archive;
mod archives;
#[doc(hidden)]
pub mod fuzzing;

pub use archive::{Invalid, MOST_ENTRIES, UNPACKED, examine, unpack};
pub use archives::{Archives, Digest};
