//! Removes volumes and what pods put there.

use std::collections::BTreeSet;
use std::sync::Arc;

use lath_instance::Instances;
use lath_kubernetes::{Client, ClientError};
use lath_model::id::InstanceId;
use serde_json::Value;
use tokio::task::JoinSet;

use super::Care;
use super::volumes::{let_go, on_node};

/// How many volumes of a cluster are removed at the same time.
const REMOVALS: usize = 4;

/// A volume to remove, as it was when that was decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Removal {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) finalizers: Vec<String>,
    pub(super) instance: Option<InstanceId>,
}

/// The removals that go on. A pod decides how long one takes, and nothing else waits for it.
#[derive(Default)]
pub(super) struct Removals {
    tasks: JoinSet<String>,
    going: BTreeSet<String>,
}

impl Removals {
    /// Sees which have ended.
    pub(super) fn collect(&mut self) {
        // A panic has been reported, and ends the process.
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok(name) = ended {
                self.going.remove(&name);
            }
        }
    }

    /// Begins it, unless it goes on already or too many do: a later look meets it again.
    pub(super) fn begin(&mut self, care: &Arc<Care>, removal: Removal) {
        if self.going.len() >= REMOVALS || !self.going.insert(removal.name.clone()) {
            return;
        }
        let care = Arc::clone(care);
        self.tasks.spawn(async move {
            let instances = &care.shared.parts.instances;
            if let Err(error) = remove(&care.client, instances, &removal).await {
                let volume = &removal.name;
                tracing::warn!(volume, %error, "a volume cannot be removed");
            }
            removal.name
        });
    }
}

/// Removes a volume and its data, as long as it is as it was when that was decided: its data do not come back.
async fn remove(
    client: &Client,
    instances: &Instances,
    removal: &Removal,
) -> Result<(), ClientError> {
    let Removal { name, version, .. } = removal;
    let path = format!("/api/v1/persistentvolumes/{name}");
    if let Some(instance) = removal.instance.clone() {
        let now = client.find(&path).await?;
        if !now.is_some_and(|it| is_still(&it, version)) {
            return Ok(());
        }
        let removed = on_node(instances, instance, name, Instances::remove_directory);
        if let Err(error) = removed.await {
            tracing::warn!(volume = name, %error, "a volume's data cannot be removed yet");
            return Ok(());
        }
    }
    match let_go(client, name, version, &removal.finalizers).await? {
        true => client.delete(&path).await,
        false => Ok(()),
    }
}

/// Whether an object is of this version.
fn is_still(object: &Value, version: &str) -> bool {
    object["metadata"]["resourceVersion"] == version
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn a_volume_that_was_changed_is_not_as_it_was() {
        let volume = json!({"metadata": {"resourceVersion": "7"}});
        assert!(is_still(&volume, "7"));
        assert!(!is_still(&volume, "6"));
        assert!(!is_still(&json!({}), ""));
    }
}
