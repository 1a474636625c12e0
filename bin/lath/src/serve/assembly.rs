//! A single region in one process: starts both planes, and stops them in reverse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_clock::Clock;
use lath_dns::{AuthorityConfig, RateLimit, Upstreams};
use lath_drill::order::Orders;
use lath_feed::stream::Source;
use lath_feed::{Observed, Topology};
use lath_net::Place;
use lath_node::{Host, Node, NodeConfig};
use lath_proxy::ProxyConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::control::{Control, ControlInputs, State};
use super::vpc_api::VpcApi;
use super::{RegistryAt, ServedControl, report};
use crate::admin;
use crate::config::Config;
use crate::installation::{self, Anew, RegionDir};
use crate::running::{self, Running};

/// Of the DNS answers beyond the rate limit, one in two is sent truncated, so that a real client retries by TCP.
const SLIP: u32 = 2;

/// A running server of one region.
pub(super) struct Assembly {
    config: Config,
    node: Option<Node>,
    /// The control plane. It stops publishing and reconciling before the node stops; its archive stops last,
    /// because it takes the node's last telemetry.
    served: ServedControl,
}

impl Assembly {
    /// Starts every part. The APIs answer when this returns.
    ///
    /// With `anew`, sets a missing or damaged state aside first.
    pub(super) async fn start(config: Config, anew: bool) -> anyhow::Result<Self> {
        let began = std::time::Instant::now();
        let run_dir = running::run_dir(&config.data_dir);
        // Ports first: a start that cannot have them must not change anything.
        let api = listen(config.listen, "listen").await?;
        let metrics = listen(config.admin_listen, "admin_listen").await?;
        let registry = RegistryAt::bind(&config, &config.data_dir).await?;
        let mut region_dir = RegionDir {
            installation: &config.data_dir,
            data_dir: &config.data_dir,
            region: &config.region,
            was_served: false,
            anew: false,
        };
        if anew {
            region_dir.anew = matches!(
                installation::set_aside_state(region_dir).await?,
                Anew::SetAside(_)
            );
        }
        let state = State::open(region_dir).await?;

        let place = lath_node::CellMembership::alone(&config.region);
        admin::make_dir(&run_dir)?;
        let status = admin::listen(&run_dir)?;
        let running = Running {
            pid: std::process::id(),
            endpoint: format!("http://{}", api.local_addr()?),
            metrics: format!("http://{}/metrics", metrics.local_addr()?),
            region: config.region.clone(),
            account: config.account.clone(),
            dns: config.dns_listen.to_string(),
            regions: Vec::new(),
        };
        // Before the front door opens, because a client that gets an answer may call `lath env` next; and before
        // anything is made that a failure here would leave behind.
        running.write(&config.data_dir)?;
        let host = Host::open(node_config(&config, place)).await?;
        let (observed_tx, observed) = watch::channel(Arc::<Observed>::default());
        let inputs = ControlInputs {
            topology: Arc::new(Topology::single(&config.region)),
            observed,
            node: host.queries(),
            mesh: None,
            registry,
        };
        let mut served = ServedControl::new(Control::start(&config, state, inputs).await?);
        let (control, doors) = (&served.control, &mut served.doors);
        let source = watch::channel(Source::Control).1;
        let sink = Arc::clone(&control.sink);
        let for_vpcs = Arc::new(VpcApi::Door(Arc::new(control.door())));
        let snapshots = control.snapshots.clone();
        let node = Node::start(host, snapshots, observed_tx, sink, source, for_vpcs)?;

        let counters = node.metrics();
        let counters = move || std::future::ready(Some(counters()));
        let reporter = report::Reporter::new(control, running.clone(), counters);
        let status_reporter = reporter.clone();
        let serve_status = admin::serve_status(
            status,
            move || status_reporter.clone().status(),
            doors.token(),
        );
        doors.spawn("the status socket", serve_status);
        let serve_metrics =
            admin::serve_metrics(metrics, move || reporter.clone().metrics(), doors.token());
        doors.spawn("the metrics port", serve_metrics);
        let trouble = control.trouble();
        let door = control.door().with_internal("/_lath/", move |request| {
            let trouble = trouble.now();
            Box::pin(async move { report::internal(&request, &trouble) })
        });
        let (door, stop) = (Arc::new(door), doors.token());
        doors.spawn(
            "the API port",
            async move { drop(door.serve(api, stop).await) },
        );
        tracing::info!(
            endpoint = %running.endpoint,
            metrics = %running.metrics,
            data_dir = %config.data_dir.display(),
            duration_ms = began.elapsed().as_millis(),
            "Lath serves; `eval \"$(lath env)\"` points the aws CLI at it"
        );
        let node = Some(node);
        Ok(Self {
            config,
            node,
            served,
        })
    }

    /// Waits until a part ends unexpectedly. Returns its name.
    pub(super) async fn failed(&mut self) -> &'static str {
        self.served.failed().await
    }

    /// Stops in reverse order: drains, then removes what it made unless `keep` is set.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let run_dir = running::run_dir(&self.config.data_dir);
        self.served.close().await;
        admin::forget(&run_dir);
        let mut outcome = Ok(());
        if let Some(node) = self.node.take() {
            let drain = Duration::from_secs(self.config.drain_seconds);
            outcome = node.shutdown(drain, self.config.keep).await;
        }
        self.served.stop().await;
        running::sweep(&run_dir, |_| true)
            .with_context(|| format!("cannot clean {}", run_dir.display()))?;
        tracing::info!("stopped");
        outcome
    }
}

pub(crate) async fn listen(at: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at)
        .await
        .with_context(|| format!("cannot listen on {at} ({key}); is another Lath running?"))
}

/// The configuration of the node of the configured region.
pub(crate) fn node_config(config: &Config, place: lath_node::CellMembership) -> NodeConfig {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if config.proxy_threads == 0 {
        cores
    } else {
        config.proxy_threads
    };
    let proxy = if config.extended {
        ProxyConfig::extended()
    } else {
        ProxyConfig::default()
    };
    NodeConfig {
        data_dir: config.data_dir.clone(),
        images: config.data_dir.join(lath_registry::DIRECTORY),
        image_sources: image_sources(config),
        run_dir: running::run_dir(&config.data_dir),
        owner: owner(&config.data_dir),
        proxy: ProxyConfig { threads, ..proxy },
        upstreams: Upstreams::host(),
        api_in_vpcs: config.api_in_vpcs,
        authority: authority(config, &place.topology),
        place,
        orders: Orders::of(&config.data_dir, Clock::system()),
        clock: Clock::system(),
    }
}

/// What nodes may have fetched from registries: nothing unless the configuration names them.
fn image_sources(config: &Config) -> lath_registry::Sources {
    lath_registry::Sources {
        registries: config.image_upstreams.keys().cloned().collect(),
        upstreams: lath_registry::Upstreams {
            hosts: config.image_upstreams.clone(),
            authorities: config.image_authorities.clone(),
            credentials: config.image_credentials.clone(),
        },
        limit: config.image_cache_bytes,
    }
}

/// The authoritative DNS server listens on this machine and, with several regions, on the underlay.
fn authority(config: &Config, topology: &Topology) -> AuthorityConfig {
    let mut listen = vec![(Place::Host, config.dns_listen)];
    if let (Some(place), true) = (topology.here(), topology.underlay.is_some()) {
        listen.push((Place::Underlay, (place.underlay, 53).into()));
    }
    let rate = config.dns_responses_per_second;
    let rate_limit = (rate > 0).then_some(RateLimit {
        responses_per_second: rate,
        slip: SLIP,
    });
    AuthorityConfig {
        listen,
        threads: 0,
        rate_limit,
    }
}

/// The owner's mark on kernel objects in the host's network. It differs between data directories.
pub(crate) fn owner(data_dir: &Path) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in data_dir.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    format!("{hash:08x}")
}
