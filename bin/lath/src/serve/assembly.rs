//! One region alone in one process: puts the two halves together, and takes them apart in reverse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_dns::{AuthorityConfig, RateLimit, Upstreams};
use lath_drill::order::Orders;
use lath_feed::stream::Source;
use lath_feed::{Observed, Topology};
use lath_net::Place;
use lath_node::{Host, Node, NodeConfig};
use lath_proxy::ProxyConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::control::{Around, Control, State};
use super::report;
use crate::admin;
use crate::config::Config;
use crate::installation::{self, Anew, Seat};
use crate::running::{self, Running};

/// One in so many answers beyond the rate leads the client to TCP: half, as other servers do.
const SLIP: u32 = 2;

/// Everything that runs.
pub(super) struct Assembly {
    config: Config,
    node: Option<Node>,
    /// Stops the front door first, so that no call is answered by half a server.
    door_stop: CancellationToken,
    doors: JoinSet<&'static str>,
    /// Then rests: nothing is published or reconciled while the node takes itself apart. Its archive is
    /// the last to stop: it still gets what the node counted.
    control: Control,
}

impl Assembly {
    /// Starts every part; the APIs answer when this returns.
    ///
    /// With `anew`, a state that is missing or damaged is put aside first.
    pub(super) async fn start(config: Config, anew: bool) -> anyhow::Result<Self> {
        let began = std::time::Instant::now();
        let run_dir = running::run_dir(&config.data_dir);
        // Ports first: who cannot have them must not touch anything.
        let api = listen(config.listen, "listen").await?;
        let metrics = listen(config.admin_listen, "admin_listen").await?;
        let mut seat = Seat {
            installation: &config.data_dir,
            data_dir: &config.data_dir,
            region: &config.region,
            was_served: false,
            anew: false,
        };
        if anew {
            seat.anew = matches!(
                installation::set_aside_state(seat).await?,
                Anew::SetAside(_)
            );
        }
        let state = State::open(seat).await?;

        let place = lath_node::Place::alone(&config.region);
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
        // Before the door opens: a client that got an answer may ask `lath env` next. And before anything is made
        // that would be left behind if this failed.
        running.write(&config.data_dir)?;
        let host = Host::open(node_config(&config, place)).await?;
        let (say_observed, observed) = watch::channel(Arc::<Observed>::default());
        let around = Around {
            topology: Arc::new(Topology::single(&config.region)),
            observed,
            node: host.queries(),
            mesh: None,
        };
        let control = Control::start(&config, state, around).await?;
        let source = watch::channel(Source::Control).1;
        let sink = Arc::clone(&control.delivery);
        let node = Node::start(host, control.snapshots.clone(), say_observed, sink, source)?;

        let door_stop = CancellationToken::new();
        let mut doors = JoinSet::new();
        let counters = node.metrics();
        let counters = move || std::future::ready(Some(counters()));
        let reporter = report::Reporter::new(&control, running.clone(), counters);
        let told = reporter.clone();
        let tell = admin::tell_status(status, move || told.clone().status(), door_stop.clone());
        doors.spawn(named("the status socket", tell));
        let serve_metrics = admin::serve_metrics(
            metrics,
            move || reporter.clone().metrics(),
            door_stop.clone(),
        );
        doors.spawn(named("the metrics port", serve_metrics));
        let trouble = control.trouble();
        let door = control.door().with_internal("/_lath/", move |request| {
            let trouble = trouble.now();
            Box::pin(async move { report::internal(&request, &trouble) })
        });
        let (door, stop) = (Arc::new(door), door_stop.clone());
        doors.spawn(named("the API port", async move {
            drop(door.serve(api, stop).await)
        }));
        tracing::info!(
            endpoint = %running.endpoint,
            metrics = %running.metrics,
            data_dir = %config.data_dir.display(),
            started_ms = began.elapsed().as_millis(),
            "Lath serves; `eval \"$(lath env)\"` points the aws CLI at it"
        );
        let node = Some(node);
        Ok(Self {
            config,
            node,
            door_stop,
            doors,
            control,
        })
    }

    /// Returns the name of a part that ended though nobody stopped it.
    pub(super) async fn failed(&mut self) -> &'static str {
        tokio::select! {
            Some(ended) = self.doors.join_next() => ended.unwrap_or("a listener"),
            part = self.control.failed() => part,
        }
    }

    /// Stops in reverse: drains, then removes what was made unless it is to be kept.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.door_stop.cancel();
        while self.doors.join_next().await.is_some() {}
        let run_dir = running::run_dir(&self.config.data_dir);
        admin::forget(&run_dir);
        self.control.rest().await;
        let mut outcome = Ok(());
        if let Some(node) = self.node.take() {
            let drain = Duration::from_secs(self.config.drain_seconds);
            outcome = node.shutdown(drain, self.config.keep).await;
        }
        self.control.stop().await;
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

/// The node of the region whose data directory the configuration names.
pub(crate) fn node_config(config: &Config, place: lath_node::Place) -> NodeConfig {
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
        run_dir: running::run_dir(&config.data_dir),
        owner: owner(&config.data_dir),
        proxy: ProxyConfig { threads, ..proxy },
        upstreams: Upstreams::host(),
        authority: authority(config, &place.topology),
        place,
        orders: Orders::of(&config.data_dir),
    }
}

/// Public hosted zones are served on this machine, and to the other regions.
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

/// A name for what is ours in the host's network: two servers with two data directories never meet.
pub(crate) fn owner(data_dir: &Path) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in data_dir.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    format!("{hash:08x}")
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}
