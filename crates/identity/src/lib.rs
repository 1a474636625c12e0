//! Who calls, and what identity services answer: the root access key, STS and the one operation of
//! Secrets Manager that needs no stored secret.
//!
//! Not here: signatures (`lath-sigv4`), roles, users and policies (IAM does not exist yet, so the only
//! principal is the account's root).
//!
//! ```
//! use std::sync::Arc;
//! use lath_identity::{Identity, RootKey};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let key = RootKey::load_or_create(dir.path()).unwrap();
//! let identity = Arc::new(Identity::new(key, "123456789012"));
//! let sts = lath_identity::sts_service(&identity);
//! assert_eq!(sts.info().signing_name, "sts");
//! ```

mod credentials;
mod random_password;
mod root_key;
mod sts;

pub use credentials::Identity;
pub use random_password::{GetRandomPassword, RandomPassword, secretsmanager_service};
pub use root_key::{KeyError, RootKey};
pub use sts::{CallerIdentity, GetCallerIdentity, sts_service};
