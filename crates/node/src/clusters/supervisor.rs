//! Keeps one cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_feed::stream::Source;
use lath_feed::{
    ClusterNodeObserved, ClusterObserved, Condition, ControlPlane, Hidden, POD_IDENTITY_AGENT,
    Snapshot, WaitingPods,
};
use lath_kubernetes::Client;
use lath_kubernetes::pki::Authority;
use lath_model::ManagedId;
use lath_model::id::InstanceId;
use lath_net::Place;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::authentication::Authentication;
use super::endpoint::Endpoint;
use super::logs::Logs;
use super::managed_objects::ManagedObjects;
use super::pods::Followed;
use super::services::pod_groups::Decided;
use super::webhook::Knowledge;
use super::{Shared, endpoint, injection, objects, plane, services, waiting, webhook};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// The same until the cluster is ready for the first time: its creator waits.
const FIRST_PERIOD: Duration = Duration::from_millis(200);
/// Between two looks at what people change by hand: bindings and `aws-auth`.
const SLOW_PERIOD: Duration = Duration::from_secs(5);
/// How long a new control plane may take before it is said not to work.
const STARTING: Duration = Duration::from_secs(60);
/// A client's certificate is renewed long before it ends.
const CLIENT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

const SERVICE_ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";

/// Why a cluster does not work (yet).
enum Trouble {
    /// It has been begun, and takes its time.
    Starting(String),
    /// It does not work.
    Broken(String),
}

/// What was made for one cluster.
struct Supervisor {
    shared: Arc<Shared>,
    id: ManagedId,
    knowledge: Arc<Knowledge>,
    client: Option<Known>,
    /// With the namespace that it is in.
    webhook: Option<(u64, DropGuard)>,
    /// With the namespace that it is in, the key that it is vouched for with, and since when.
    injection: Option<(u64, Hidden, Instant, DropGuard)>,
    endpoint: Option<Endpoint>,
    nodes: BTreeMap<InstanceId, ClusterNodeObserved>,
    waiting: Vec<WaitingPods>,
    logged_waiting: Option<String>,
    /// The boot of control's that was ready, and since when one is not.
    ready: Option<u64>,
    unready_since: Instant,
    objects: ManagedObjects,
    looked_slowly: Option<Instant>,
    logged: Option<String>,
    logs: Logs,
    authentication: Authentication,
    decided: Arc<Decided>,
}

/// A client, and what it was made of.
struct Known {
    client: Client,
    pods: Followed,
    key: Hidden,
    address: SocketAddr,
    made: Instant,
    /// The namespace of the control plane that it is in.
    netns: Option<u64>,
    _services: DropGuard,
}

/// Keeps the cluster until `stop`, or until it is not wanted any more.
pub(super) async fn run(shared: Arc<Shared>, id: ManagedId, stop: CancellationToken) {
    let mut snapshots = shared.parts.snapshots.clone();
    let mut draining = shared.parts.draining.clone();
    let mut supervisor = Supervisor {
        shared,
        id: id.clone(),
        knowledge: Arc::default(),
        client: None,
        webhook: None,
        injection: None,
        endpoint: None,
        nodes: BTreeMap::new(),
        waiting: Vec::new(),
        logged_waiting: None,
        ready: None,
        unready_since: Instant::now(),
        objects: ManagedObjects::default(),
        looked_slowly: None,
        logged: None,
        logs: Logs::default(),
        authentication: Authentication::default(),
        decided: Arc::default(),
    };
    let decided = Arc::clone(&supervisor.decided);
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let Some(wanted) = snapshot.control_planes.get(&id) else {
            return;
        };
        let boot = wanted.boot;
        let look = supervisor.look(&snapshot, wanted);
        let Some(outcome) = stop.run_until_cancelled(look).await else {
            return;
        };
        supervisor.report(&snapshot, wanted, outcome);
        let parts = &supervisor.shared.parts;
        let decisions = supervisor.knowledge.take_lines();
        let to = (&parts.instances, &*parts.sink, &parts.clock);
        supervisor.logs.ship(to, wanted, decisions).await;
        tokio::select! {
            () = stop.cancelled() => return,
            gone = snapshots.changed() => if gone.is_err() { return },
            Ok(()) = draining.changed() => {}
            () = decided.changed.notified() => {}
            () = tokio::time::sleep(supervisor.period(boot)) => {}
        }
    }
}

impl Supervisor {
    /// How long nothing may happen until it looks again.
    fn period(&self, boot: u64) -> Duration {
        let is_starting = self.ready != Some(boot) && self.unready_since.elapsed() < STARTING;
        if is_starting { FIRST_PERIOD } else { PERIOD }
    }

    /// Makes everything of the cluster as it should be, as far as that goes now.
    async fn look(&mut self, snapshot: &Snapshot, wanted: &ControlPlane) -> Result<(), Trouble> {
        super::binaries().map_err(Trouble::Broken)?;
        let shared = Arc::clone(&self.shared);
        let parts = &shared.parts;
        let workload = plane::workload(wanted);
        if parts.down.borrow().contains(&workload) {
            return Err(Trouble::Broken("a drill keeps its processes down".into()));
        }
        let network = parts.networks.borrow().clone();
        let (instances, fabric) = (&parts.instances, &*parts.fabric);
        plane::ensure(
            (instances, fabric, &parts.clock),
            snapshot,
            &network,
            wanted,
        )
        .await
        .map_err(Trouble::Starting)?;
        self.open_doors(wanted).await.map_err(Trouble::Broken)?;
        self.renew_client(wanted)?;
        let Some(known) = &self.client else {
            return Ok(());
        };
        let client = &known.client;
        let not_ready = |error: lath_kubernetes::ClientError| Trouble::Starting(error.to_string());
        client.ready().await.map_err(not_ready)?;
        let is_due = |at: Instant| at.elapsed() >= SLOW_PERIOD;
        let slowly = self.looked_slowly.is_none_or(is_due);
        // Before anything that the cluster's own rules may hinder: who is taken out of the map is out.
        if slowly {
            let map = match wanted.access.config_map_counts {
                true => objects::auth_map(client).await.map_err(not_ready)?,
                false => Ok(None),
            };
            let map = map.unwrap_or_else(|reason| {
                tracing::warn!(cluster = wanted.name, reason, "aws-auth cannot be read");
                None
            });
            self.knowledge.set_auth_map(map);
        }
        let strangers = *parts.source.borrow() == Source::Control;
        let draining = parts.draining.borrow().clone();
        let pods = &known.pods;
        let look = objects::look(client, pods, snapshot, &self.id, &draining, strangers);
        let look = look.await.map_err(not_ready)?;
        self.nodes = look.nodes;
        // Any user who may create pods decides how many wait: the rest of the cluster is kept all the same.
        match wanted.scales {
            true => match waiting::look(client).await {
                Ok(waiting) => {
                    self.waiting = waiting;
                    self.logged_waiting = None;
                }
                Err(error) => {
                    let reason = error.to_string();
                    if self.logged_waiting.as_ref() != Some(&reason) {
                        tracing::warn!(
                            cluster = wanted.name,
                            reason,
                            "it is not known which pods wait for nodes"
                        );
                        self.logged_waiting = Some(reason);
                    }
                }
            },
            false => self.waiting.clear(),
        }
        for work in &look.work {
            if let Err(error) = objects::perform(client, work).await {
                tracing::warn!(cluster = wanted.name, ?work, %error, "a node cannot be changed");
            }
        }
        let ensured = self.objects.ensure(client, wanted, slowly);
        ensured.await.map_err(not_ready)?;
        let configured = self
            .authentication
            .ensure(instances, client, wanted, slowly);
        configured.await;
        if slowly {
            self.looked_slowly = Some(Instant::now());
        }
        if self.ready == Some(wanted.boot) {
            return Ok(());
        }
        if let Some(reason) = self.objects.awaited() {
            return Err(Trouble::Starting(reason));
        }
        // The first that its controllers make; without it no pod can be made.
        match client.find(SERVICE_ACCOUNT).await.map_err(not_ready)? {
            Some(_) => Ok(()),
            None => Err(Trouble::Starting(
                "its controllers have not begun".to_owned(),
            )),
        }
    }

    /// The webhook inside, and the endpoint outside.
    async fn open_doors(&mut self, wanted: &ControlPlane) -> Result<(), String> {
        let workload = plane::workload(wanted);
        let netns = self.shared.parts.fabric.workload_netns(&workload);
        let netns = netns.and_then(|netns| inode(&netns));
        let netns = netns.map_err(|error| format!("its network: {error}"))?;
        if self.webhook.as_ref().is_none_or(|(of, _)| *of != netns) {
            // The old one is given up first: it may have the same address.
            self.webhook = None;
            let served = webhook::serve(&self.shared, wanted, &self.knowledge).await;
            let served = served.map_err(|error| format!("its token webhook: {error}"))?;
            self.webhook = Some((netns, served));
        }
        let Some(address) = address(wanted) else {
            return Err("it has no address".to_owned());
        };
        let key = &wanted.keys.authority_key;
        let is_good = |it: &(u64, Hidden, Instant, DropGuard)| {
            it.0 == netns && it.1 == *key && it.2.elapsed() < CLIENT_AGE
        };
        if !self.injection.as_ref().is_some_and(is_good) {
            self.injection = None;
            let served = injection::serve(&self.shared, wanted, address).await;
            let served = served.map_err(|error| format!("its webhook for pods: {error}"))?;
            self.injection = Some((netns, key.clone(), Instant::now(), served));
        }
        let known = self.endpoint.take();
        let wanted = wanted.public_endpoint.as_ref();
        let to = (&workload, address);
        self.endpoint = endpoint::ensure(&self.shared, known, wanted, to).await?;
        Ok(())
    }

    fn renew_client(&mut self, wanted: &ControlPlane) -> Result<(), Trouble> {
        let Some(address) = address(wanted) else {
            return Err(Trouble::Broken("it has no address".to_owned()));
        };
        let key = &wanted.keys.authority_key;
        let netns = self.webhook.as_ref().map(|(netns, _)| *netns);
        let is_good = |it: &Known| {
            it.key == *key
                && it.address == address
                && it.netns == netns
                && it.made.elapsed() < CLIENT_AGE
        };
        if self.client.as_ref().is_some_and(is_good) {
            return Ok(());
        }
        let broken = |error: &dyn std::error::Error| Trouble::Broken(error.to_string());
        let authority = Authority::open(&wanted.keys, &self.shared.parts.clock)
            .map_err(|error| broken(&error))?;
        let client = || {
            let network = Arc::clone(&self.shared.parts.network);
            let place = Place::Workload(plane::workload(wanted));
            Client::new(&authority, network, place, address).map_err(|error| broken(&error))
        };
        // The second has a connection of its own: a list of pods holds nothing else up.
        let (client, pods) = (client()?, client()?);
        // The old ones are given up first: they may have the same addresses.
        self.client = None;
        let services = services::begin(&self.shared, wanted, address, &self.decided);
        self.client = Some(Known {
            client,
            pods: Followed::begin(pods),
            netns,
            _services: services.map_err(Trouble::Broken)?,
            key: key.clone(),
            address,
            made: Instant::now(),
        });
        Ok(())
    }

    fn report(&mut self, snapshot: &Snapshot, wanted: &ControlPlane, outcome: Result<(), Trouble>) {
        let condition = match outcome {
            Ok(()) => {
                if self.ready.replace(wanted.boot) != Some(wanted.boot) {
                    tracing::info!(cluster = wanted.name, "a cluster is ready");
                }
                self.logged = None;
                self.unready_since = Instant::now();
                Condition::Ready {
                    version: snapshot.version,
                }
            }
            Err(trouble) => {
                let (reason, starting) = match trouble {
                    Trouble::Starting(reason) => (reason, true),
                    Trouble::Broken(reason) => (reason, false),
                };
                if self.logged.as_ref() != Some(&reason) {
                    tracing::info!(cluster = wanted.name, reason, "a cluster is not ready");
                    self.logged = Some(reason.clone());
                }
                let is_new = self.ready != Some(wanted.boot);
                if starting && is_new && self.unready_since.elapsed() < STARTING {
                    // It is not known yet.
                    return;
                }
                Condition::Failed { reason }
            }
        };
        let mut refused_addons = self.objects.refused_addons(wanted);
        if wanted.has_pod_identity_agent() {
            let reason = self.shared.agents.missing(&self.nodes);
            refused_addons.extend(reason.map(|it| (POD_IDENTITY_AGENT.to_owned(), it)));
        }
        let observed = ClusterObserved {
            condition,
            version: super::binaries().ok().map(|it| it.version.clone()),
            nodes: self.nodes.clone(),
            refused_addons,
            identity_provider: self.authentication.in_force().cloned(),
            identity_provider_known: self.authentication.is_known(),
            waiting: self.waiting.clone(),
            branches: self.decided.wanted(),
        };
        self.shared.parts.observed_tx.send_if_modified(|known| {
            let differs = known.get(&self.id) != Some(&observed);
            if differs {
                Arc::make_mut(known).insert(self.id.clone(), observed);
            }
            differs
        });
    }
}

/// Where the API server is, in its VPC.
pub(super) fn address(plane: &ControlPlane) -> Option<SocketAddr> {
    let first = plane.addresses.first()?;
    Some(SocketAddr::new((*first).into(), 443))
}

/// What tells one network namespace from another.
pub(super) fn inode(netns: &OwnedFd) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::File::from(netns.try_clone()?);
    Ok(file.metadata()?.ino())
}
