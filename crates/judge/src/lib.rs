//! Who callers are, and what they may do: the root access key, users' keys and sessions, and the decision on every call.
//!
//! Not here: signatures (`lath-sigv4`), the records of users, roles and policies (`lath-iam`), the policy language
//! (`lath-policy`), operations that give out sessions (`lath-sts`).
//!
//! ```
//! use lath_judge::Judge;
//! use lath_secrets::RootKey;
//!
//! let judge = Judge::new(RootKey::random().unwrap(), "123456789012");
//! assert_eq!(judge.root().arn, "arn:aws:iam::123456789012:root");
//! ```

mod behalf;
mod credentials;
mod judge;
mod refusal;
mod registry_login;
mod subject;

pub use credentials::{Judge, ResourcePolicy};
pub use judge::{SET_SOURCE_IDENTITY, TAG_SESSION, TRANSITIVE_TAG_KEYS};
pub use subject::Subject;
