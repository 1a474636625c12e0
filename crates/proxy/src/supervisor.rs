//! Turns snapshots and health into the compiled state and listening sockets, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_feed::{
    Condition, Ejection, Listener, Service, Snapshot, SnapshotReceiver, TargetKey, Vpc, VpcEndpoint,
};
use lath_health::{HealthReceiver, Regions};
use lath_model::id::{ServiceNetworkId, ServiceNetworkResourceAssociationId, VpcId};
use lath_model::lattice::ListenerProtocol;
use lath_net::Place;
use tokio::sync::{mpsc, oneshot, watch};

use crate::compile::compile;
use crate::core::Shared;
use crate::ejection;
use crate::listener::{Entrance, ListenerKey};
use crate::metrics::Reporter;
use crate::namespaces::Namespaces;
use crate::observed::ProxyObserved;
use crate::slot::Members;
use crate::state::{ResourceKey, State};
use crate::thread::Command;

/// How soon a listener that could not be bound is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Asks the supervisor to end everything within the time; it says when that is done.
pub(crate) struct Stop(pub(crate) Duration, pub(crate) oneshot::Sender<()>);

pub(crate) struct Supervisor {
    pub(crate) shared: Shared,
    pub(crate) cores: Vec<mpsc::UnboundedSender<Command>>,
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) health: HealthReceiver,
    pub(crate) observed: watch::Sender<ProxyObserved>,
    pub(crate) bound: BTreeSet<ListenerKey>,
    pub(crate) namespaces: Namespaces,
    pub(crate) failed: BTreeMap<ListenerKey, Unbound>,
    /// The other regions, and those of them that do not answer.
    pub(crate) regions: Option<Regions>,
    pub(crate) lost: BTreeSet<String>,
    /// Among how many nodes global limits are divided.
    pub(crate) among: u32,
}

/// A listener that cannot be bound.
pub(crate) struct Unbound {
    since: Instant,
    reason: String,
}

impl Supervisor {
    /// Works until it gets the order to stop, or until the sender of orders is gone.
    pub(crate) async fn run(mut self, mut stop: mpsc::Receiver<Stop>) {
        let mut reporter = Reporter::new(&self.shared);
        let mut flush = tokio::time::interval(self.shared.config.flush);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut obeyed = None;
        let stop = loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            self.obey(&snapshot, &mut obeyed).await;
            tokio::select! {
                asked = stop.recv() => break asked,
                Ok(()) = self.snapshots.changed() => {}
                Ok(()) = self.health.changed() => {}
                () = Regions::changed(self.regions.as_mut()) => {}
                () = tokio::time::sleep(RETRY), if self.is_restless() => {}
                _ = flush.tick() => {
                    reporter.report(&snapshot.region);
                    self.examine();
                }
            }
        };
        self.stop(stop).await;
        reporter.report(&self.snapshots.borrow().region);
    }

    /// Compares the targets of groups with outlier detection.
    fn examine(&self) {
        for group in self.shared.state.load().groups.values() {
            let members = group.members.load();
            if let Some(policy) = &members.policy {
                ejection::examine(
                    group,
                    &members,
                    policy,
                    ejection::Now::of(&self.shared.config.clock),
                );
            }
        }
    }

    fn is_restless(&self) -> bool {
        !self.failed.is_empty() || !self.observed.borrow().in_flight.is_empty()
    }

    async fn obey(
        &mut self,
        snapshot: &Arc<Snapshot>,
        obeyed: &mut Option<(Arc<Snapshot>, Arc<lath_health::HealthView>)>,
    ) {
        let health = Arc::clone(&self.health.borrow_and_update());
        let lost = Regions::lost(self.regions.as_mut(), snapshot);
        let relinked = std::mem::replace(&mut self.lost, lost) != self.lost;
        let regions = Regions::connected(self.regions.as_mut()) + 1;
        let among = u32::try_from(regions)
            .unwrap_or(u32::MAX)
            .saturating_mul(snapshot.nodes);
        let known = obeyed
            .as_ref()
            .is_some_and(|(s, h)| Arc::ptr_eq(s, snapshot) && Arc::ptr_eq(h, &health));
        if !known || relinked {
            let threads = self.shared.config.threads;
            let state = compile(
                snapshot,
                &health,
                &self.shared.state.load(),
                &self.lost,
                threads,
            );
            self.among = among;
            divide(&state, among);
            self.shared.state.store(Arc::new(state));
            if relinked {
                self.broadcast(|| Command::Relinked);
            }
            *obeyed = Some((Arc::clone(snapshot), health));
        } else if among != self.among {
            // A region came or went of which no target is known here.
            self.among = among;
            divide(&self.shared.state.load(), among);
        }
        let wanted = wanted(snapshot);
        self.leave_old_networks(snapshot, &wanted).await;
        self.bind(&wanted).await;
        let now = self.observe(snapshot);
        self.observed.send_if_modified(|known| {
            let differs = *known != now;
            *known = now;
            differs
        });
    }

    /// Closes what is in a network that its VPC has no more, so that it is opened in the new one.
    async fn leave_old_networks(&mut self, snapshot: &Snapshot, wanted: &BTreeSet<ListenerKey>) {
        let groups = snapshot.target_groups.values();
        let here = groups.filter(|group| group.region.is_none());
        let groups = here.map(|group| &group.vpc);
        let vpcs = wanted.iter().map(|key| &key.vpc).chain(groups).collect();
        let changed = self.namespaces.changed(&self.shared.network, &vpcs).await;
        for vpc in changed {
            tracing::info!(vpc.id = %vpc, "the VPC's network was made anew; sockets move into it");
            self.broadcast(|| Command::Forget(vpc.clone()));
            let old: Vec<ListenerKey> = self
                .bound
                .iter()
                .filter(|key| key.vpc == vpc)
                .cloned()
                .collect();
            for key in old {
                self.broadcast(|| Command::Close(key.clone()));
                self.bound.remove(&key);
            }
        }
    }

    async fn bind(&mut self, wanted: &BTreeSet<ListenerKey>) {
        let gone: Vec<ListenerKey> = self.bound.difference(wanted).cloned().collect();
        for key in gone {
            self.broadcast(|| Command::Close(key.clone()));
            self.bound.remove(&key);
        }
        self.failed.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if self.bound.contains(key) {
                continue;
            }
            match self.open(key).await {
                Ok(()) => {
                    self.failed.remove(key);
                    self.bound.insert(key.clone());
                }
                Err(error) => {
                    let reason = format!(
                        "port {} cannot be opened on {}: {error}",
                        key.at.port(),
                        key.at.ip()
                    );
                    let since = self
                        .failed
                        .get(key)
                        .map_or_else(Instant::now, |known| known.since);
                    self.failed.insert(key.clone(), Unbound { since, reason });
                }
            }
        }
    }

    /// One socket for each thread: the kernel spreads connections over them.
    async fn open(&mut self, key: &ListenerKey) -> std::io::Result<()> {
        let place = Place::Vpc(key.vpc.clone());
        let mut sockets = Vec::new();
        for _ in &self.cores {
            let socket = lath_net::listen(&self.shared.network, &place, key.at).await?;
            self.namespaces.note(&key.vpc, &socket);
            sockets.push(socket);
        }
        for (core, socket) in self.cores.iter().zip(sockets) {
            let _ = core.send(Command::Listen(key.clone(), socket));
        }
        Ok(())
    }

    fn broadcast(&self, command: impl Fn() -> Command) {
        for core in &self.cores {
            let _ = core.send(command());
        }
    }

    fn observe(&self, snapshot: &Snapshot) -> ProxyObserved {
        let mut observed = ProxyObserved {
            version: snapshot.version,
            ..ProxyObserved::default()
        };
        let mut by_service: BTreeMap<_, Vec<Option<Condition>>> = snapshot
            .services
            .keys()
            .map(|id| (id.clone(), Vec::new()))
            .collect();
        let mut by_resource: BTreeMap<_, Vec<Option<Condition>>> = snapshot
            .resource_associations
            .keys()
            .map(|id| (id.clone(), Vec::new()))
            .collect();
        for vpc in snapshot.vpcs.values() {
            let Some(association) = &vpc.lattice else {
                continue;
            };
            let mut conditions = Vec::new();
            for (id, key) in resource_keys(snapshot, vpc) {
                let condition = self.bound(snapshot, &key);
                by_resource.entry(id).or_default().push(condition.clone());
                conditions.push(condition);
            }
            for service in services_in(snapshot, vpc) {
                let condition = self.condition(snapshot, &vpc.id, service);
                by_service
                    .entry(service.id.clone())
                    .or_default()
                    .push(condition.clone());
                conditions.push(condition);
            }
            if let Some(condition) = all(conditions, snapshot.version) {
                observed
                    .vpc_associations
                    .insert(association.id.clone(), condition);
            }
        }
        for vpc in snapshot.vpcs.values() {
            for endpoint in vpc.endpoints.values() {
                let keys = endpoint_keys(snapshot, &vpc.id, endpoint);
                let conditions = keys.iter().map(|key| self.bound(snapshot, key)).collect();
                if let Some(condition) = all(conditions, snapshot.version) {
                    observed
                        .vpc_endpoints
                        .insert(endpoint.id.clone(), condition);
                }
            }
        }
        for (id, conditions) in by_resource {
            if let Some(condition) = all(conditions, snapshot.version) {
                observed.resource_associations.insert(id, condition);
            }
        }
        for (id, conditions) in by_service {
            if let Some(condition) = all(conditions, snapshot.version) {
                observed.services.insert(id, condition);
            }
        }
        for (id, group) in &self.shared.state.load().groups {
            let members = group.members.load();
            let ejected = ejected(&members);
            if !ejected.is_empty() {
                observed.ejected.insert(id.clone(), ejected);
            }
            if !members.draining.is_empty() {
                let counts = members.draining.iter().map(|key| {
                    (
                        key.clone(),
                        members
                            .known
                            .get(key)
                            .map_or(0, |target| target.in_flight()),
                    )
                });
                observed.in_flight.insert(id.clone(), counts.collect());
            }
        }
        observed
    }

    /// Whether a service's listeners are open in a VPC; `None` while that may still come.
    fn condition(&self, snapshot: &Snapshot, vpc: &VpcId, service: &Service) -> Option<Condition> {
        let conditions = service.listeners.values().map(|listener| {
            // What it presents is on its way.
            let is_bare = snapshot.lattice_certificate.is_none() && service.certificate.is_none();
            if listener.protocol == ListenerProtocol::Https && is_bare {
                return None;
            }
            self.bound(snapshot, &service_key(vpc, service, listener))
        });
        all(conditions.collect(), snapshot.version)
    }

    /// Whether a listening socket is open; `None` while that may still come.
    fn bound(&self, snapshot: &Snapshot, key: &ListenerKey) -> Option<Condition> {
        if self.bound.contains(key) {
            return Some(Condition::Ready {
                version: snapshot.version,
            });
        }
        self.failed
            .get(key)
            .filter(|unbound| unbound.since.elapsed() >= self.shared.config.bind_grace)
            .map(|unbound| Condition::Failed {
                reason: unbound.reason.clone(),
            })
    }

    async fn stop(&self, stop: Option<Stop>) {
        let Some(Stop(deadline, done)) = stop else {
            return;
        };
        let mut waiting = Vec::new();
        for core in &self.cores {
            let (ended_tx, ended) = oneshot::channel();
            let _ = core.send(Command::Shutdown(deadline, ended_tx));
            waiting.push(ended);
        }
        for ended in waiting {
            let _ = ended.await;
        }
        let _ = done.send(());
    }
}

/// Divides the global rate limits of all services among so many nodes.
fn divide(state: &State, among: u32) {
    for (_, limiter) in state.services.values().flat_map(|it| it.limiters()) {
        limiter.divide(among);
    }
}

/// The targets that outlier detection leaves out.
fn ejected(members: &Members) -> BTreeMap<TargetKey, Ejection> {
    if members.policy.is_none() {
        return BTreeMap::new();
    }
    let known = members.known.iter();
    known
        .filter_map(|(key, target)| Some((key.clone(), target.outlier.ejection()?)))
        .collect()
}

/// Ready when all are; failed when one is; else not known.
fn all(conditions: Vec<Option<Condition>>, version: u64) -> Option<Condition> {
    let failed = conditions
        .iter()
        .flatten()
        .find(|c| matches!(c, Condition::Failed { .. }));
    match failed {
        Some(failed) => Some(failed.clone()),
        None if conditions.iter().all(Option::is_some) => Some(Condition::Ready { version }),
        None => None,
    }
}

fn services_of<'a>(
    snapshot: &'a Snapshot,
    network: Option<&ServiceNetworkId>,
) -> impl Iterator<Item = &'a Arc<Service>> {
    network
        .and_then(|id| snapshot.service_networks.get(id))
        .into_iter()
        .flat_map(|network| &network.services)
        .filter_map(|id| snapshot.services.get(id))
}

fn services_in<'a>(snapshot: &'a Snapshot, vpc: &'a Vpc) -> impl Iterator<Item = &'a Arc<Service>> {
    let network = vpc.lattice.as_ref().map(|known| &known.service_network);
    services_of(snapshot, network)
}

/// Where a service's listener is reached in an associated VPC.
fn service_key(vpc: &VpcId, service: &Service, listener: &Listener) -> ListenerKey {
    ListenerKey {
        vpc: vpc.clone(),
        at: SocketAddr::new(IpAddr::V4(service.address), listener.port),
        entrance: Entrance::Association,
    }
}

/// Where the resources of an associated network are reached: at the first port of each, to which the VPC's router leads
/// the others.
fn resource_keys(
    snapshot: &Snapshot,
    vpc: &Vpc,
) -> impl Iterator<Item = (ServiceNetworkResourceAssociationId, ListenerKey)> {
    snapshot.resources_from(vpc).filter_map(|(it, resource)| {
        let (port, _) = resource.ports.first()?;
        let key = ListenerKey {
            vpc: vpc.id.clone(),
            at: SocketAddr::new(IpAddr::V4(it.address), *port),
            entrance: Entrance::Resource(ResourceKey::Association(it.id.clone())),
        };
        Some((it.id.clone(), key))
    })
}

/// Every socket of an endpoint: at each of its addresses, each port of its network's services; at each address of a
/// resource, the resource's first port.
fn endpoint_keys(
    snapshot: &Snapshot,
    vpc: &VpcId,
    endpoint: &VpcEndpoint,
) -> BTreeSet<ListenerKey> {
    let key = |address: Ipv4Addr, port: u16, entrance: &Entrance| ListenerKey {
        vpc: vpc.clone(),
        at: SocketAddr::new(IpAddr::V4(address), port),
        entrance: entrance.clone(),
    };
    let ports: BTreeSet<u16> = services_of(snapshot, endpoint.service_network.as_ref())
        .flat_map(|service| service.listeners.values())
        .map(|listener| listener.port)
        .collect();
    let mut keys = BTreeSet::new();
    let entrance = Entrance::Endpoint(endpoint.id.clone());
    for (_, address) in endpoint.addresses.values() {
        keys.extend(ports.iter().map(|port| key(*address, *port, &entrance)));
    }
    for (id, at) in &endpoint.resources {
        let resource = snapshot.resources.get(id);
        let Some((port, _)) = resource.and_then(|it| it.ports.first()) else {
            continue;
        };
        let entrance = ResourceKey::Endpoint(endpoint.id.clone(), id.clone());
        let entrance = Entrance::Resource(entrance);
        keys.extend(at.addresses.values().map(|it| key(*it, *port, &entrance)));
    }
    keys
}

/// Every place where a service must be reached.
fn wanted(snapshot: &Snapshot) -> BTreeSet<ListenerKey> {
    let mut wanted = BTreeSet::new();
    for vpc in snapshot.vpcs.values() {
        for service in services_in(snapshot, vpc) {
            let listeners = service.listeners.values();
            wanted.extend(listeners.map(|listener| service_key(&vpc.id, service, listener)));
        }
        wanted.extend(resource_keys(snapshot, vpc).map(|(_, key)| key));
        for endpoint in vpc.endpoints.values() {
            wanted.extend(endpoint_keys(snapshot, &vpc.id, endpoint));
        }
    }
    wanted
}
