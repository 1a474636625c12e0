//! Tags of resources, which are records of their own
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>).

use std::collections::BTreeMap;

use lath_store::{Tx, View};
use serde::{Deserialize, Serialize};

use crate::ResourceTags;

/// A tag as answers show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The tags of a resource, by ascending key.
pub fn of(view: &View, resource: &str) -> Vec<Tag> {
    view.get::<ResourceTags>(resource)
        .map(|record| shown(&record.tags))
        .unwrap_or_default()
}

/// Tags as answers show them.
pub fn shown(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

/// Removes all tags of a resource that is being deleted.
pub fn forget(tx: &mut Tx, resource: &str) {
    tx.delete::<ResourceTags>(resource);
}

/// Gives tags to a new resource.
pub fn put(tx: &mut Tx, resource: &str, tags: BTreeMap<String, String>) {
    if !tags.is_empty() {
        tx.put(ResourceTags {
            resource: resource.to_owned(),
            tags,
        });
    }
}
