//! One host: applies the feed with fabric, instances, proxy, resolver, metadata service and probes, and reports the actual
//! state.
//!
//! Each part reads the same snapshots and corrects what it owns; none waits for another by a message. What
//! they say is put together in [`observed`] and sent to control. If control dies, the parts go on with the
//! snapshot they have.

mod api;
mod callers;
mod cells;
mod clusters;
mod faults;
mod instances;
mod leaving;
mod names;
mod network;
mod observed;
mod workloads;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use lath_clock::Clock;
use lath_dns::{AuthorityConfig, Dns, Upstreams};
use lath_fabric::{Fabric, FabricConfig, HostFacts, Netns};
use lath_feed::stream::Source;
use lath_feed::telemetry::Sink;
use lath_feed::{
    ConsoleOutput, Invocation, Invoke as _, Invoked, NodeQueries, Observed, SnapshotReceiver,
};
use lath_function::{Functions, FunctionsConfig};
use lath_health::{HealthConfig, HealthEngine, HealthHandle};
use lath_health_checkers::{Checks, ChecksConfig, ChecksHandle};
use lath_instance::metadata::MetadataService;
use lath_instance::{Instances, InstancesConfig};
use lath_model::id::InstanceId;
use lath_net::Network;
use lath_proxy::{Callers, Names, Proxy, ProxyConfig, ProxyHandle, Workloads};
use lath_tasks::Group;
use tokio::sync::watch;

pub use crate::api::Api;
use crate::callers::KnownCallers;
pub use crate::cells::CellMembership;
use crate::faults::FaultInjector;
use crate::leaving::Leaving;
use crate::network::NetworkObserved;

/// What a node needs to know of its host.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Instance file systems.
    pub data_dir: PathBuf,
    /// Container images for nodes of clusters, which all regions share.
    pub images: PathBuf,
    /// What of them may be fetched when a node asks for it.
    pub image_sources: lath_registry::Sources,
    /// Pins of namespaces and marks of processes, for adoption after a restart.
    pub run_dir: PathBuf,
    /// Marks what is this node's in the host's network: letters, digits and hyphens, at most 32.
    pub owner: String,
    /// The proxy's settings. Its source address, the regions and the callers are set by the node.
    pub proxy: ProxyConfig,
    /// Who is asked about names that are not Lath's.
    pub upstreams: Upstreams,
    /// This region among the others.
    pub place: CellMembership,
    /// Whether programs in VPCs reach the AWS APIs.
    pub api_in_vpcs: bool,
    /// Where public hosted zones are served.
    pub authority: AuthorityConfig,
    /// What time it is.
    pub clock: Clock,
    /// Where drills ask for faults.
    pub orders: lath_drill::order::Orders,
}

/// What answers control's questions: made before the control plane, which holds it.
#[derive(Clone)]
pub struct Queries(Instances, Functions);

#[async_trait]
impl NodeQueries for Queries {
    async fn console_output(&self, instance: &InstanceId) -> Option<ConsoleOutput> {
        let (instances, id) = (self.0.clone(), instance.clone().into());
        tokio::task::spawn_blocking(move || instances.console(&id))
            .await
            .ok()
            .flatten()
    }

    async fn invoke(&self, invocation: Invocation) -> Option<Invoked> {
        Some(self.1.invoke(invocation).await)
    }
}

/// A node's processes, found again after a restart, before it obeys anything.
pub struct Host {
    config: NodeConfig,
    facts: HostFacts,
    underlay: Option<Netns>,
    fabric: Fabric,
    instances: Instances,
    functions: Functions,
    supervisor: lath_function::Supervisor,
}

impl Host {
    /// Finds what a predecessor left.
    ///
    /// # Errors
    /// When a directory or the kernel's side cannot be used; the text says which.
    pub async fn open(config: NodeConfig) -> anyhow::Result<Self> {
        let underlay = config.place.topology.underlay.as_deref();
        let underlay = underlay.map(Netns::open);
        let underlay = underlay
            .transpose()
            .context("the region's underlay network is not there")?;
        let facts = HostFacts::probe(&config.owner, underlay.as_ref());
        let fabric_config = FabricConfig {
            run_dir: config.run_dir.clone(),
            owner: config.owner.clone(),
            host: underlay.clone(),
        };
        let instances = Instances::open(InstancesConfig {
            clock: config.clock.clone(),
            ..InstancesConfig::new(&config.data_dir, &config.run_dir)
        })
        .await
        .context("instances cannot be managed")?;
        let living = instances.networks().into_iter();
        let living = living.map(|(id, netns)| (id.as_str().to_owned(), Netns::from(netns)));
        let fabric = Fabric::adopt(fabric_config, &living.collect())
            .context("the network cannot be managed")?;
        let own = FunctionsConfig {
            data_dir: config.data_dir.clone(),
            run_dir: config.run_dir.clone(),
            clock: config.clock.clone(),
        };
        let (functions, supervisor) = Functions::open(own)
            .await
            .context("functions cannot be run")?;
        Ok(Self {
            config,
            facts,
            underlay,
            fabric,
            instances,
            functions,
            supervisor,
        })
    }

    /// Ends the processes of instances and removes the network, for a node that was never started.
    ///
    /// # Errors
    /// What could not be removed, and why.
    pub async fn remove_all(&self) -> anyhow::Result<()> {
        remove_all(&self.instances, &self.fabric).await
    }

    /// What answers control's questions.
    pub fn queries(&self) -> Arc<dyn NodeQueries> {
        Arc::new(Queries(self.instances.clone(), self.functions.clone()))
    }
}

/// A running node.
pub struct Node {
    fabric: Arc<Fabric>,
    instances: Instances,
    proxy: Arc<ProxyHandle>,
    health: Arc<HealthHandle>,
    checks: ChecksHandle,
    parts: Group,
}

impl Node {
    /// Obeys `snapshots` from now on and reports to `observed`. The first snapshot must be a real one: what
    /// it does not name is removed, but for the files of instances while `source` is not control. `api` answers for
    /// control, or says that it is dead.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        host: Host,
        snapshots: SnapshotReceiver,
        observed: watch::Sender<Arc<Observed>>,
        sink: Arc<dyn Sink>,
        source: watch::Receiver<Source>,
        api: Arc<dyn Api>,
    ) -> anyhow::Result<Self> {
        let Host {
            config,
            facts,
            underlay,
            fabric,
            instances,
            functions,
            supervisor,
        } = host;
        let fabric = Arc::new(fabric);
        let network: Arc<dyn Network> = Arc::new(fabric.network());
        let lattice_source = Some(IpAddr::V4(lath_net::LATTICE_SOURCE));
        let mut group = Group::new("the node");
        let topology = Arc::clone(&config.place.topology);
        let mesh = config.place.join(&network, &config.clock, &mut group);
        let regions = cells::regions(&topology, &mesh);
        let tunnels = cells::serve(
            &topology,
            &network,
            &snapshots,
            (&fabric, &config.clock),
            &mut group,
        );
        let checks_config = ChecksConfig {
            state: Some(config.data_dir.join("health-checks.json")),
            sink: Arc::clone(&sink),
            clock: config.clock.clone(),
            ..ChecksConfig::default()
        };
        let checks = Checks::start(
            Arc::clone(&network),
            snapshots.clone(),
            topology,
            mesh.clone(),
            checks_config,
        )
        .context("Route 53's health checks cannot be started")?;
        let health_config = HealthConfig {
            lattice_source,
            regions: regions.clone(),
            clock: config.clock.clone(),
            ..HealthConfig::default()
        };
        let health = HealthEngine::start(Arc::clone(&network), snapshots.clone(), health_config)
            .context("the health engine cannot be started")?;
        let dns = Dns::new(Arc::clone(&network), snapshots.clone(), config.upstreams)
            .with_health(checks.view(), health.view())
            .with_authority(config.authority);
        let issuer = Arc::new(lath_svid::Issuer::default());
        let proxy_config = ProxyConfig {
            names: Some(Names(Arc::new(names::KnownNames(dns.lookup())))),
            lattice_source,
            regions,
            callers: Some(Callers(Arc::new(KnownCallers::new(
                snapshots.clone(),
                config.clock.clone(),
            )))),
            workloads: Some(Workloads(Arc::new(workloads::KnownWorkloads {
                snapshots: snapshots.clone(),
                issuer: Arc::clone(&issuer),
                clock: config.clock.clone(),
            }))),
            functions: Some(lath_proxy::Functions(Arc::new(functions))),
            clock: config.clock.clone(),
            ..config.proxy
        };
        let drain = proxy_config.target_drain;
        let leaving = Leaving::new(proxy_config.listener_drain);
        let proxy = Proxy::start(
            proxy_config,
            Arc::clone(&network),
            snapshots.clone(),
            health.view(),
            Arc::clone(&sink),
        )
        .context("the proxy cannot be started")?;
        let metadata = MetadataService::new(Arc::clone(&network), snapshots.clone())
            .with_issuer(Arc::clone(&issuer))
            .with_clock(config.clock.clone());
        if config.api_in_vpcs {
            let (network, api) = (Arc::clone(&network), Arc::clone(&api));
            let serving = api::serve(network, snapshots.clone(), api, group.token());
            group.spawn("the API in VPCs", serving);
        }

        let functions = supervisor.observed();
        let keeping = supervisor.run(snapshots.clone(), Arc::clone(&sink), group.token());
        group.spawn("functions", keeping);
        let (clusters_tx, clusters) = watch::channel(clusters::ClustersObserved::default());
        let (networks_tx, networks) = watch::channel(NetworkObserved::default());
        let parts = observed::Parts {
            snapshots: snapshots.clone(),
            network: networks.clone(),
            resolvers: dns.bound(),
            metadata: metadata.bound(),
            instances: instances.watch(),
            health: health.view(),
            proxy: proxy.observed(),
            checks: checks.observed(),
            dns: dns.version(),
            tunnels: tunnels.conditions(),
            peers: mesh.peers(),
            clusters,
            functions,
            drain,
            clock: config.clock.clone(),
            cut_off: std::collections::BTreeMap::new(),
        };
        let networking = network::run(
            Arc::clone(&fabric),
            network::Outside { facts, underlay },
            leaving,
            snapshots.clone(),
            networks_tx,
            group.token(),
        );
        group.spawn("the network", networking);
        let pins = config.run_dir.join("netns");
        let (faults, down, draining) = FaultInjector::new(
            config.orders,
            pins,
            instances.clone(),
            Arc::clone(&network),
            snapshots.clone(),
        );
        group.spawn("faults of drills", faults.run(group.token()));
        let clusters = clusters::Parts {
            instances: instances.clone(),
            fabric: Arc::clone(&fabric),
            network,
            snapshots: snapshots.clone(),
            networks: networks.clone(),
            down: down.clone(),
            draining,
            source: source.clone(),
            sink,
            api,
            issuer,
            clock: config.clock,
            api_in_vpcs: config.api_in_vpcs,
            images: config.images,
            image_sources: config.image_sources,
            observed_tx: clusters_tx,
        };
        group.spawn("clusters", clusters::run(clusters, group.token()));
        let running = instances::run(
            instances.clone(),
            Arc::clone(&fabric),
            snapshots,
            networks,
            source,
            down,
            group.token(),
        );
        group.spawn("instances", running);
        group.spawn("the tunnels", tunnels.run(group.token()));
        group.spawn("the resolver", dns.run(group.token()));
        group.spawn("the metadata service", metadata.run(group.token()));
        group.spawn("the report", observed::run(parts, observed, group.token()));
        let (proxy, health) = (Arc::new(proxy), Arc::new(health));
        Ok(Self {
            fabric,
            instances,
            proxy,
            health,
            checks,
            parts: group,
        })
    }

    /// A reader of the data plane's counters as Prometheus text.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let proxy = Arc::clone(&self.proxy);
        move || proxy.prometheus()
    }

    /// Accepts nothing new, waits up to `drain` for requests in flight, ends every part. Unless `keep`, ends
    /// the processes of instances (their files stay) and removes every namespace, link and rule.
    ///
    /// # Errors
    /// What could not be removed, and why.
    pub async fn shutdown(mut self, drain: Duration, keep: bool) -> anyhow::Result<()> {
        tracing::info!(
            duration_s = drain.as_secs(),
            "requests in flight are being finished"
        );
        self.proxy.shutdown(drain).await;
        self.health.shutdown().await;
        self.checks.shutdown().await;
        self.parts.stop().await;
        if keep {
            return Ok(());
        }
        remove_all(&self.instances, &self.fabric).await
    }
}

/// The network goes even when an instance does not: it is found and ended by the next start.
async fn remove_all(instances: &Instances, fabric: &Fabric) -> anyhow::Result<()> {
    let stopped = instances::stop_all(instances).await;
    let removed = fabric.remove_all().await;
    stopped?;
    removed.context("the network could not be removed")
}
