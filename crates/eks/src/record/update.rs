use lath_model::Timestamp;
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::key;
use crate::shape::{ErrorDetail, UpdateParam, UpdateStatus, UpdateType};

/// A change of a cluster, or of something in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Update {
    /// A UUID.
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) of: UpdateOf,
    pub(crate) kind: UpdateType,
    pub(crate) status: UpdateStatus,
    pub(crate) params: Vec<UpdateParam>,
    pub(crate) errors: Vec<ErrorDetail>,
    /// The state's revision before the one that asked for it, or that told nodes of it.
    pub(crate) after: u64,
    pub(crate) created_at: Timestamp,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UpdateOf {
    /// The cluster.
    Cluster,
    /// A node group of it.
    NodeGroup(String),
    /// An add-on of it.
    Addon(String),
}

impl Record for Update {
    const KIND: &'static str = "eks.update";
    fn id(&self) -> String {
        key(&self.cluster, &self.id)
    }
}
