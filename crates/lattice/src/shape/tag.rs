use std::collections::BTreeMap;

use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use crate::constraint;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTagsForResource {
    pub(crate) resource_arn: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTagsForResourceOutput {
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TagResource {
    pub(crate) resource_arn: String,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UntagResource {
    pub(crate) resource_arn: String,
    pub(crate) tag_keys: Vec<String>,
}

impl Checked for TagResource {
    fn check(&self, p: &mut Problems) {
        constraint::tags_with_policy(p, &self.tags);
    }
}
