use std::collections::BTreeMap;

use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::key;
use crate::shape::IdentityProviderStatus;

/// The OpenID Connect issuer whose tokens a cluster takes from users. A cluster has one at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdentityProvider {
    pub(crate) cluster: String,
    /// The last part of its ARN.
    pub(crate) uuid: String,
    /// As the API server's configuration has it.
    pub(crate) settings: lath_feed::IdentityProvider,
    pub(crate) status: IdentityProviderStatus,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) tags: BTreeMap<String, String>,
}

impl IdentityProvider {
    pub(crate) fn key_of(cluster: &str, name: &str) -> String {
        key(cluster, &format!("oidc/{name}"))
    }
}

impl Record for IdentityProvider {
    const KIND: &'static str = "eks.identity-provider";
    fn id(&self) -> String {
        Self::key_of(&self.cluster, &self.settings.name)
    }
}
