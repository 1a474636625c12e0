//! Authentication and authorization of callers: the root access key, users' keys and sessions, the decision at the
//! front door, STS, and the one operation of Secrets Manager that needs no stored secret.
//!
//! Not here: signatures (`lath-sigv4`), the records of users, roles and policies (`lath-iam`), the policy
//! language (`lath-policy`), tokens of identity providers (`lath-oidc`).
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

mod assume_role;
mod behalf;
mod bounds;
mod credentials;
mod issuers;
mod judge;
mod pod_identity;
mod random_password;
mod refusal;
mod registry_login;
mod root_key;
mod seal;
mod sts;
mod subject;
mod trust;
mod web_identity;

pub use credentials::{Identity, ResourcePolicy};
pub use issuers::{Issuers, LocalKeys};
pub use lath_session::SealingKey;
pub use pod_identity::{PodIdentities, PodIdentityAssociation, TokenCluster, eks_auth_service};
pub use random_password::{GetRandomPassword, RandomPassword, secretsmanager_service};
pub use root_key::{KeyError, RootKey};
pub use seal::{kept, sealing_key};
pub use sts::{CallerIdentity, GetCallerIdentity, sts_service};
