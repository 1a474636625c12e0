use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::{Issue, key};
use crate::shape::AddonStatus;

/// An add-on that EKS manages in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addon {
    pub(crate) cluster: String,
    pub(crate) name: String,
    /// The end of its ARN.
    pub(crate) uuid: String,
    pub(crate) version: String,
    pub(crate) role: Option<String>,
    pub(crate) configuration: Option<String>,
    /// Ids of pod identity associations that came with it.
    pub(crate) associations: Vec<String>,
    /// Whether what it put into the cluster stays when it goes.
    pub(crate) preserve: bool,
    pub(crate) status: AddonStatus,
    /// The state's revision before the one in which `status` began.
    pub(crate) status_after: u64,
    pub(crate) issues: Vec<Issue>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
}

impl Record for Addon {
    const KIND: &'static str = "eks.addon";
    fn id(&self) -> String {
        key(&self.cluster, &self.name)
    }
}
