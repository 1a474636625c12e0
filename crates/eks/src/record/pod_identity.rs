use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::key;

/// A role for the pods of a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodIdentity {
    /// `a-...`.
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) role_arn: String,
    /// The add-on that it came with.
    pub(crate) owner: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
}

impl Record for PodIdentity {
    const KIND: &'static str = "eks.pod-identity";
    fn id(&self) -> String {
        key(&self.cluster, &self.id)
    }
}
