use std::collections::BTreeMap;

use lath_model::arn::Arn;
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

fn arn(p: &mut Problems, value: &str) {
    constraint::length(p, "resourceArn", value, 0, 1224);
    let good = value
        .parse::<Arn>()
        .is_ok_and(|arn| arn.service == "vpc-lattice");
    let pattern = r"arn:[a-z0-9][-.a-z0-9]{0,62}:vpc-lattice:([a-z0-9][-.a-z0-9]{0,62})?:\d{12}?:[^/].{0,1023}";
    constraint::pattern(p, "resourceArn", good, pattern);
}

impl Checked for ListTagsForResource {
    fn check(&self, p: &mut Problems) {
        arn(p, &self.resource_arn);
    }
}

impl Checked for TagResource {
    fn check(&self, p: &mut Problems) {
        arn(p, &self.resource_arn);
        constraint::tags_with_policy(p, &self.tags);
    }
}

impl Checked for UntagResource {
    fn check(&self, p: &mut Problems) {
        arn(p, &self.resource_arn);
        constraint::count(p, "tagKeys", self.tag_keys.len(), 0, 200);
        for (index, key) in self.tag_keys.iter().enumerate().take(200) {
            constraint::length(p, &format!("tagKeys.{index}"), key, 1, 128);
        }
    }
}
