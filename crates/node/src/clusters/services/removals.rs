//! Removes volumes and what pods put there.
//!
//! The data are put aside first, which takes a moment however many there are. Then the API server decides: the volume is deleted
//! and let go as it was when it was looked at. Where it has changed, such as to the policy `Retain`, the data are put back. Data
//! that are aside when Lath starts, or after an answer that did not come, are put back where there is such a volume, and
//! removed where there is none.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use lath_feed::Snapshot;
use lath_instance::Instances;
use lath_kubernetes::node::VOLUMES;
use lath_kubernetes::{Client, ClientError};
use lath_model::WorkloadId;
use lath_model::id::InstanceId;
use serde_json::Value;
use tokio::task::JoinSet;

use super::Care;
use super::volumes::{FINALIZER, let_go, on_node};

/// What names of data that are put aside end in.
const ASIDE: &str = ".removed";
/// How many volumes of a cluster are removed at the same time.
const REMOVALS: usize = 4;

/// A volume to remove, as it was when that was decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Removal {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) instance: Option<InstanceId>,
    /// Whether it is being deleted already.
    pub(super) deleted: bool,
}

/// The removals that go on. A pod decides how long one takes, and nothing else waits for it.
#[derive(Default)]
pub(super) struct Removals {
    tasks: JoinSet<(String, bool)>,
    going: BTreeSet<String>,
    /// Whether all that is aside belongs to a removal that goes on.
    settled: bool,
}

impl Removals {
    /// Sees which have ended.
    pub(super) fn collect(&mut self) {
        // A panic has been reported, and ends the process.
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok((name, is_done)) = ended {
                self.going.remove(&name);
                self.settled &= is_done;
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
            let removed = remove(&care.client, instances, &removal).await;
            if let Err(error) = &removed {
                let volume = &removal.name;
                tracing::warn!(volume, %error, "a volume cannot be removed");
            }
            (removal.name, removed.is_ok())
        });
    }

    /// Puts back what is aside of those volumes, and removes what is aside of no volume.
    pub(super) async fn settle(
        &mut self,
        care: &Care,
        snapshot: &Snapshot,
        volumes: &BTreeSet<&str>,
    ) {
        if self.settled {
            return;
        }
        let instances = &care.shared.parts.instances;
        let mut all = true;
        let nodes = snapshot.instances.values().filter(|it| {
            let membership = it.cluster.as_ref();
            membership.is_some_and(|it| it.cluster == care.id)
        });
        for instance in nodes.map(|it| &it.id) {
            let names = match aside(instances, instance.clone()).await {
                Ok(names) => names,
                Err(error) => {
                    let instance = instance.to_string();
                    tracing::warn!(instance.id = instance, %error, "what is aside on a node is not known yet");
                    all = false;
                    continue;
                }
            };
            for name in names {
                // A volume whose own name ends so has its data there.
                let is_own = volumes.contains(format!("{name}{ASIDE}").as_str());
                if is_own || self.going.contains(&name) {
                    continue;
                }
                let settled = match volumes.contains(name.as_str()) {
                    true => put_back(instances, instance.clone(), &name).await,
                    false => drop_data(instances, instance.clone(), &name).await,
                };
                if let Err(error) = settled {
                    tracing::warn!(volume = name, %error, "a volume's data cannot be settled yet");
                    all = false;
                }
            }
        }
        self.settled = all;
    }
}

/// The names of the volumes whose data are aside on a node.
async fn aside(instances: &Instances, instance: InstanceId) -> Result<Vec<String>, Error> {
    let instances = instances.clone();
    let names = tokio::task::spawn_blocking(move || {
        instances.names_that_end(&WorkloadId::from(instance), Path::new(VOLUMES), ASIDE)
    });
    let names = names.await.map_err(Error::other).flatten();
    let names = names?.into_iter();
    let names = names.filter_map(|it| it.strip_suffix(ASIDE).map(str::to_owned));
    Ok(names.collect())
}

async fn put_aside(instances: &Instances, instance: InstanceId, name: &str) -> Result<(), Error> {
    on_node(instances, instance, name, |instances, id, within, name| {
        let aside = format!("{name}{ASIDE}");
        match instances.rename_directory(id, within, (name, &aside)) {
            // An earlier attempt did it, or a user removed the data.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    })
    .await
}

async fn put_back(instances: &Instances, instance: InstanceId, name: &str) -> Result<(), Error> {
    on_node(instances, instance, name, |instances, id, within, name| {
        let aside = format!("{name}{ASIDE}");
        match instances.rename_directory(id, within, (&aside, name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    })
    .await
}

async fn drop_data(instances: &Instances, instance: InstanceId, name: &str) -> Result<(), Error> {
    let aside = format!("{name}{ASIDE}");
    on_node(instances, instance, &aside, Instances::remove_directory).await
}

/// Removes a volume and its data, as long as it is as it was when that was decided: its data do not come back.
async fn remove(client: &Client, instances: &Instances, removal: &Removal) -> Result<(), String> {
    let of_api = |error: ClientError| error.to_string();
    let of_data = |error: Error| format!("its data: {error}");
    let Removal { name, version, .. } = removal;
    let path = format!("/api/v1/persistentvolumes/{name}");
    let Some(instance) = removal.instance.clone() else {
        return decide(client, &path, removal)
            .await
            .map(drop)
            .map_err(of_api);
    };
    let now = client.find(&path).await.map_err(of_api)?;
    if !now.is_some_and(|it| is_still(&it, version)) {
        return Ok(());
    }
    let aside = put_aside(instances, instance.clone(), name).await;
    aside.map_err(of_data)?;
    let settled = match decide(client, &path, removal).await.map_err(of_api)? {
        true => drop_data(instances, instance, name).await,
        false => put_back(instances, instance, name).await,
    };
    settled.map_err(of_data)
}

/// Deletes a volume whose policy says that its data go; whether that was still so at the end.
async fn decide(client: &Client, path: &str, removal: &Removal) -> Result<bool, ClientError> {
    if !removal.deleted && !client.delete_as(path, &removal.version).await? {
        return Ok(false);
    }
    let Some(now) = client.find(path).await? else {
        // One without finalizers went with the policy that it was seen with. One that others let go may have had another.
        return Ok(!removal.deleted);
    };
    if !deletes(&now) {
        return Ok(false);
    }
    let version = now["metadata"]["resourceVersion"].as_str();
    let version = version.unwrap_or_default();
    // Others may have let it go since: what is being deleted gets no finalizer again.
    let finalizers = now["metadata"]["finalizers"].as_array();
    let finalizers = finalizers.into_iter().flatten().filter_map(Value::as_str);
    let others: Vec<String> = finalizers
        .filter(|it| *it != FINALIZER)
        .map(str::to_owned)
        .collect();
    // The API server compares the version: a policy that is set from here on comes too late, or this does.
    let_go(client, &removal.name, version, &others).await
}

/// Whether a volume is being deleted, and its data with it.
fn deletes(volume: &Value) -> bool {
    volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        && volume["metadata"]["deletionTimestamp"].is_string()
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

    #[test]
    fn a_volume_that_is_retained_meanwhile_keeps_its_data() {
        let volume = |policy: &str, deleted: bool| {
            let at = deleted.then_some("2026-01-01T00:00:00Z");
            json!({"metadata": {"deletionTimestamp": at}, "spec": {"persistentVolumeReclaimPolicy": policy}})
        };
        assert!(deletes(&volume("Delete", true)));
        assert!(!deletes(&volume("Retain", true)));
        assert!(!deletes(&volume("Delete", false)));
    }
}
