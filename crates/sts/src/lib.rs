//! The Security Token Service: sessions of roles, for callers, for tokens of identity providers and for pods of clusters.
//!
//! Not here: who callers are and what they may do (`lath-judge`), what a session's token holds (`lath-session`), tokens of
//! identity providers (`lath-oidc`).
//!
//! ```
//! use std::sync::Arc;
//! use lath_judge::Judge;
//! use lath_secrets::RootKey;
//! use lath_sts::Sts;
//!
//! let judge = Judge::new(RootKey::random().unwrap(), "123456789012");
//! let sts = lath_sts::sts_service(&Arc::new(Sts::new(Arc::new(judge))));
//! assert_eq!(sts.info().signing_name, "sts");
//! ```

mod assume_role;
mod bounds;
mod issuers;
mod pod_identity;
mod sts;
mod trust;
mod web_identity;

pub use issuers::{Issuers, LocalKeys};
pub use pod_identity::{PodIdentities, PodIdentityAssociation, TokenCluster, eks_auth_service};
pub use sts::{CallerIdentity, GetCallerIdentity, Sts, sts_service};
