//! Secrets of an installation, and Secrets Manager.
//!
//! [`RootKey`] and the key that seals tokens are files of the installation's directory, which only their owner reads
//! ([`kept`]). Secrets Manager has the one operation that needs no stored secret.
//!
//! Not here: the keys of users (`lath-iam`), what is sealed (`lath-session`).
//!
//! ```
//! use lath_secrets::RootKey;
//!
//! let dir = tempfile::tempdir().unwrap();
//! let made = RootKey::load_or_create(dir.path()).unwrap();
//! let read = RootKey::load_or_create(dir.path()).unwrap();
//! assert_eq!(made.access_key_id, read.access_key_id);
//! ```

mod bounds;
mod random_password;
mod root_key;
mod seal;

pub use lath_session::SealingKey;
pub use random_password::{
    GetRandomPassword, RandomPassword, SecretsManager, secretsmanager_service,
};
pub use root_key::{KeyError, RootKey};
pub use seal::{kept, sealing_key};
