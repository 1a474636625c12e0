//! What Lath itself does in a cluster that others do by pods: it answers the metrics of nodes and pods, makes volumes, says
//! of services why they get no load balancer, and gives pods security groups. Two tasks of each cluster do it; everything that it knows it can read
//! again.

mod balancers;
mod events;
mod metrics;
pub(super) mod pod_groups;
mod removals;
mod volumes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_feed::stream::Source;
use lath_feed::{ControlPlane, Snapshot};
use lath_kubernetes::pki::Authority;
use lath_kubernetes::services::{METRICS_ADDON, VOLUMES_ADDON};
use lath_kubernetes::{Client, ClientError};
use lath_model::ManagedId;
use lath_net::Place;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Shared, plane};
use balancers::Balancers;
use events::Events;
use metrics::Metrics;
use pod_groups::{Decided, PodGroups};
use removals::Removals;

/// Between two looks at volumes.
const PERIOD: Duration = Duration::from_secs(2);
/// Between two looks at services.
const SLOW_PERIOD: Duration = Duration::from_secs(5);
/// How many objects are asked for at once.
const PAGE: usize = 500;

/// What all of them need.
struct Care {
    shared: Arc<Shared>,
    id: ManagedId,
    place: Place,
    /// Of the API server.
    address: SocketAddr,
    authority: Authority,
    /// With a connection of its own: what is done here holds nothing else up.
    client: Client,
    /// Of security groups of pods.
    decided: Arc<Decided>,
}

/// Begins to care for a cluster whose API server is at `address`, until what it returns is dropped.
///
/// # Errors
/// When the cluster's keys are none.
pub(super) fn begin(
    shared: &Arc<Shared>,
    wanted: &ControlPlane,
    address: SocketAddr,
    decided: &Arc<Decided>,
) -> Result<DropGuard, String> {
    let authority =
        Authority::open(&wanted.keys, &shared.parts.clock).map_err(|error| error.to_string())?;
    let place = Place::Workload(plane::workload(wanted));
    let network = Arc::clone(&shared.parts.network);
    let client = Client::new(&authority, network, place.clone(), address);
    let care = Arc::new(Care {
        shared: Arc::clone(shared),
        id: wanted.id.clone(),
        place,
        address,
        client: client.map_err(|error| error.to_string())?,
        authority,
        decided: Arc::clone(decided),
    });
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    tokio::spawn(async move {
        // Neither waits for the other: a pod of which it is not known what it gets does not begin.
        let groups = PodGroups::new(care.shared.parts.clock.clone());
        let both = async { tokio::join!(care.run(), groups.run(&care)) };
        stop.run_until_cancelled(both).await
    });
    Ok(guard)
}

impl Care {
    async fn run(self: &Arc<Self>) {
        let mut metrics: Option<Metrics> = None;
        let mut balancers = Balancers::default();
        let mut events = Events::new(self.shared.parts.clock.clone());
        let mut removals = Removals::default();
        let mut looked_slowly: Option<Instant> = None;
        let mut logged = None;
        loop {
            let snapshot = self.snapshot();
            let Some(wanted) = snapshot.control_planes.get(&self.id) else {
                return;
            };
            let mut troubles = Vec::new();
            match (wanted.addons.contains_key(METRICS_ADDON), &metrics) {
                (true, None) => match Metrics::serve(self).await {
                    Ok(serving) => metrics = Some(serving),
                    Err(reason) => troubles.push(format!("metrics of nodes: {reason}")),
                },
                (false, Some(_)) => metrics = None,
                _ => {}
            }
            if wanted.addons.contains_key(VOLUMES_ADDON) {
                let done = volumes::look(self, &snapshot, &mut events, &mut removals).await;
                troubles.extend(trouble("volumes", done));
            }
            if looked_slowly.is_none_or(|at| at.elapsed() >= SLOW_PERIOD) {
                looked_slowly = Some(Instant::now());
                let done = balancers.look(&self.client, &mut events).await;
                troubles.extend(trouble("services", done));
            }
            let trouble = troubles.into_iter().next();
            if logged != trouble {
                if let Some(reason) = &trouble {
                    tracing::warn!(cluster = wanted.name, reason, "a service of a cluster");
                }
                logged = trouble;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.parts.snapshots.borrow())
    }

    /// Whether the snapshot is known to be the newest, so that what it lacks is gone.
    fn is_current(&self) -> bool {
        *self.shared.parts.source.borrow() == Source::Control
    }
}

/// What is wrong, in words. That an API server is not there is said by who keeps it.
fn trouble(what: &str, done: Result<(), ClientError>) -> Option<String> {
    let error = done.err()?;
    if matches!(error, ClientError::Unreachable(_)) {
        return None;
    }
    Some(format!("{what}: {error}"))
}

/// A page of a list of which only what counts is read: a user of the cluster decides how large the rest is.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Page<T> {
    metadata: PageMetadata,
    items: Vec<T>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            metadata: PageMetadata::default(),
            items: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    /// Where the next page begins.
    #[serde(rename = "continue")]
    rest: String,
}

/// Which members of objects are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Metadata,
}

/// All objects of a list, page by page. From the cache (`resourceVersion=0`) the API server would give all at once.
async fn all<T: DeserializeOwned + Send + 'static>(
    client: &Client,
    path: &str,
    query: &str,
    part: Part,
) -> Result<Vec<T>, ClientError> {
    let (mut objects, mut rest, mut most) = (Vec::new(), String::new(), PAGE);
    loop {
        let path = format!("{path}?{query}&limit={most}{rest}");
        let page: Result<Page<T>, ClientError> = match part {
            Part::Whole => client.get_as(&path).await,
            Part::Metadata => client.get_metadata(&path).await,
        };
        let page = match page {
            Err(ClientError::TooLarge) if most > 1 => {
                most = (most / 10).max(1);
                continue;
            }
            page => page?,
        };
        objects.extend(page.items);
        if page.metadata.rest.is_empty() {
            return Ok(objects);
        }
        rest = format!("&continue={}", page.metadata.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_told_and_what_is_not_there_is_not() {
        assert!(trouble("volumes", Err(ClientError::TooLarge)).is_some());
        let gone = ClientError::Unreachable("gone".into());
        assert_eq!(trouble("volumes", Err(gone)), None);
        assert_eq!(trouble("volumes", Ok(())), None);
    }
}
