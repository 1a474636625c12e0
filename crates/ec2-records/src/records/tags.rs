use std::collections::BTreeMap;

use lath_store::Record;
use serde::{Deserialize, Serialize};

/// The tags of one resource, of whatever kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceTags {
    /// The resource's id.
    pub resource: String,
    /// Keys and values.
    pub tags: BTreeMap<String, String>,
}

impl Record for ResourceTags {
    const KIND: &'static str = "ec2.tags";
    fn id(&self) -> String {
        self.resource.clone()
    }
}
