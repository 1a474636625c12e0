use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::key;
use crate::shape::AccessScope;

/// What a principal is in a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccessEntry {
    pub(crate) cluster: String,
    pub(crate) principal: String,
    /// Its unique id when the entry was made: a later role or user of the same name is not meant.
    #[serde(default)]
    pub(crate) unique_id: Option<String>,
    /// The end of its ARN.
    pub(crate) uuid: String,
    /// Such as `STANDARD` or `EC2_LINUX`.
    pub(crate) kind: String,
    pub(crate) username: String,
    pub(crate) groups: Vec<String>,
    pub(crate) policies: Vec<AssociatedPolicy>,
    /// Whether a node group made it, and takes it away when it is the last with its role.
    pub(crate) of_node_groups: bool,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
}

/// An access policy of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AssociatedPolicy {
    /// Such as `AmazonEKSViewPolicy`.
    pub(crate) name: String,
    pub(crate) scope: AccessScope,
    pub(crate) associated_at: Timestamp,
    pub(crate) modified_at: Timestamp,
}

impl Record for AccessEntry {
    const KIND: &'static str = "eks.access-entry";
    fn id(&self) -> String {
        key(&self.cluster, &self.principal)
    }
}
