//! Sessions of temporary access keys, and the key that encrypts them into tokens.
//!
//! A token contains all data of its session, so that every region's front door and every node can open it without
//! asking another process. This crate works on plain values: it reads no files and knows neither control nor nodes.
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
