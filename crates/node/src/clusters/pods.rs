//! The pods of a cluster that have a node, as the API server knows them: listed once, then watched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lath_kubernetes::{Change, ChangeKind, Client, ClientError};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many pods are asked for at once.
const PAGE: usize = 100;
/// What is listed and watched.
const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName!%3D";
/// Between two tries to follow the API server.
const PAUSE: Duration = Duration::from_secs(1);

/// What counts of a pod. The rest is skipped: a user of the cluster decides how large it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: PodMetadata,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodMetadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) owner_references: Vec<Owner>,
    pub(super) annotations: Annotations,
    resource_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    pub(super) mirror: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    pub(super) kind: String,
    pub(super) controller: bool,
}

impl Owner {
    /// Pods of daemons come back to the node that they leave.
    pub(super) fn is_daemon(&self) -> bool {
        self.kind == "DaemonSet" && self.controller
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: String,
    pub(super) host_network: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
}

/// A page of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Pod>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMetadata {
    /// Where the next page begins.
    #[serde(rename = "continue")]
    rest: String,
    resource_version: String,
}

/// The pods that have a node and the version of their list, page by page. From the cache (`resourceVersion=0`) the API server
/// would give all at once.
async fn list(client: &Client) -> Result<(Vec<Pod>, String), ClientError> {
    let (mut pods, mut rest, mut most) = (Vec::new(), String::new(), PAGE);
    loop {
        let path = format!("{PODS}&limit={most}{rest}");
        let page: Page = match client.get_as(&path).await {
            Err(ClientError::TooLarge) if most > 1 => {
                most = (most / 10).max(1);
                continue;
            }
            page => page?,
        };
        pods.extend(page.items);
        if page.metadata.rest.is_empty() {
            return Ok((pods, page.metadata.resource_version));
        }
        rest = format!("&continue={}", page.metadata.rest);
    }
}

/// The pods that have a node, as they are at this moment.
pub(super) async fn now(client: &Client) -> Result<Vec<Pod>, ClientError> {
    list(client).await.map(|(pods, _)| pods)
}

/// By namespace and name.
type Known = BTreeMap<(String, String), Pod>;

/// The pods that have a node, some milliseconds behind the API server. Each look at a cluster needs them; a list of them each
/// time would cost as much as there are pods.
pub(super) struct Followed {
    known: Arc<Mutex<Option<Known>>>,
    _follows: DropGuard,
}

impl Followed {
    /// Follows until it is dropped.
    pub(super) fn begin(client: Client) -> Self {
        let known = Arc::default();
        let stop = CancellationToken::new();
        let followed = Self {
            known: Arc::clone(&known),
            _follows: stop.clone().drop_guard(),
        };
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let ended = follow(&client, &known).await;
                *lock(&known) = None;
                let error = ended.map_or_else(
                    |error| error.to_string(),
                    |()| "it ended at once".to_owned(),
                );
                tracing::debug!(error, "pods are listed anew");
                tokio::time::sleep(PAUSE).await;
            }
        }));
        followed
    }

    /// What it makes of the pods; none as long as they are not known.
    pub(super) fn with<T>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = &Pod>) -> T,
    ) -> Option<T> {
        let known = lock(&self.known);
        known.as_ref().map(|known| look(&mut known.values()))
    }
}

fn lock(known: &Mutex<Option<Known>>) -> std::sync::MutexGuard<'_, Option<Known>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until it cannot go on, or a watch ends at once. Its caller pauses and begins it again.
async fn follow(client: &Client, known: &Mutex<Option<Known>>) -> Result<(), ClientError> {
    let (pods, mut version) = list(client).await?;
    *lock(known) = Some(pods.into_iter().map(named).collect());
    loop {
        let begun = Instant::now();
        let mut changes = client.watch(PODS, &version).await?;
        while let Some(change) = changes.next::<Pod>().await? {
            version.clone_from(&change.object.metadata.resource_version);
            if let Some(known) = lock(known).as_mut() {
                apply(known, change);
            }
        }
        if begun.elapsed() < PAUSE {
            return Ok(());
        }
    }
}

fn apply(known: &mut Known, change: Change<Pod>) {
    match change.kind {
        ChangeKind::Added | ChangeKind::Modified => {
            let (name, pod) = named(change.object);
            known.insert(name, pod);
        }
        ChangeKind::Deleted => {
            known.remove(&name(&change.object));
        }
        ChangeKind::Bookmark => {}
    }
}

/// As it is kept: with the owner that counts alone, however many its maker wrote.
fn named(mut pod: Pod) -> ((String, String), Pod) {
    let owners = &mut pod.metadata.owner_references;
    owners.retain(Owner::is_daemon);
    owners.truncate(1);
    owners.shrink_to_fit();
    (name(&pod), pod)
}

fn name(pod: &Pod) -> (String, String) {
    (pod.metadata.namespace.clone(), pod.metadata.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn changes_are_applied() {
        let change = |kind: &str, pod: &str, node: &str| -> Change<Pod> {
            let metadata = json!({"name": pod, "namespace": "default", "resourceVersion": "7"});
            let object = json!({"metadata": metadata, "spec": {"nodeName": node}});
            serde_json::from_value(json!({"type": kind, "object": object})).unwrap()
        };
        let mut known = Known::new();
        for (kind, pod, node, want) in [
            ("ADDED", "a", "one", vec!["one"]),
            ("ADDED", "b", "one", vec!["one", "one"]),
            ("MODIFIED", "a", "two", vec!["two", "one"]),
            ("BOOKMARK", "", "", vec!["two", "one"]),
            ("DELETED", "a", "two", vec!["one"]),
            ("DELETED", "a", "two", vec!["one"]),
        ] {
            apply(&mut known, change(kind, pod, node));
            let nodes: Vec<_> = known
                .values()
                .map(|it| it.spec.node_name.as_str())
                .collect();
            assert_eq!(nodes, want, "{kind} {pod}");
        }
    }
}
