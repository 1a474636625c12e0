//! Sessions of temporary access keys, and the key that seals them into tokens.
//!
//! A token carries all that has to be known of its session, so that nobody has to be asked: the front door
//! of every region opens it, and so does every node. Plain values: this crate reads no files and knows
//! neither control nor nodes.
//!
//! ```
//! use lath_session::{Purpose, SealingKey};
//! let key = SealingKey::random();
//! let sealed = key.seal(Purpose::Session, b"text");
//! let same = SealingKey::parse(key.reveal().as_bytes()).unwrap();
//! assert_eq!(same.open(Purpose::Session, &sealed).as_deref(), Some(&b"text"[..]));
//! ```

mod seal;
mod session;

pub use seal::{Purpose, SealingKey};
pub use session::{Holder, Session, Sessions, SourceInstance};
