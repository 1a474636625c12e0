//! The main functions of a cell's processes: control, node, witness.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_clock::Clock;
use lath_door::{Outlook, Relay, Way};
use lath_feed::stream::{
    self, Address, Follower, Listener, Outbox, RemoteNodes, SnapshotFile, Source,
};
use lath_feed::{CONTROL_PORT, Mesh, NodeId, Observed, Placement, Snapshot};
use lath_health_checkers::Witness;
use lath_mesh::Underlay;
use lath_net::Network;
use lath_node::{CellMembership, Host, Node, NodeConfig};
use lath_tasks::Group;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::layout::{CellFile, Reason, open_link_key};
use super::process::{Role, take_role, unblock_signals};
use crate::installation::{Refused, RegionDir};
use crate::running::{self, Running};
use crate::serve::{
    Control, ControlInputs, RegistryAt, Reporter, ServedControl, State, VpcApi, internal,
    node_config, raise_descriptor_limit,
};
use crate::{cli, telemetry};

/// Concurrent probes of the witness.
const PROBES: usize = 1024;
/// How long a stopping node waits for control to take its last telemetry.
const TELEMETRY_FLUSH: Duration = Duration::from_secs(2);

/// Runs a role until a signal ends it.
fn run<F, Fut>(flags: &cli::Role, role: Role, threads: &str, work: F) -> anyhow::Result<()>
where
    F: FnOnce(CellFile) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let cell = CellFile::read(&flags.cell)?;
    telemetry::init(cell.config.log_json);
    raise_descriptor_limit();
    let run_dir = running::run_dir(&cell.config.data_dir);
    let _until_the_end = take_role(&run_dir, role, &flags.cell)?;
    let failure = cell.layout().failure(&cell.topology.region, role);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(threads)
        .build()
        .context("cannot start threads")?;
    let span = tracing::info_span!("cell", region = cell.topology.region, role = role.name());
    let outcome = runtime.block_on(tracing::Instrument::instrument(work(cell), span));
    // Tasks on other threads are not needed any more: do not wait for them.
    runtime.shutdown_background();
    outcome.inspect_err(|error| failure.write(error))
}

/// `lath control`.
///
/// # Errors
/// When it cannot start or does not end cleanly.
pub(crate) fn control(flags: &cli::Role) -> anyhow::Result<()> {
    run(flags, Role::Control, "lath-control", run_control)
}

/// `lath node`.
///
/// # Errors
/// When it cannot start or does not end cleanly.
pub(crate) fn node(flags: &cli::Role) -> anyhow::Result<()> {
    run(flags, Role::Node, "lath-node", run_node)
}

/// `lath witness`.
///
/// # Errors
/// When it cannot start or does not end cleanly.
pub(crate) fn witness(flags: &cli::Role) -> anyhow::Result<()> {
    run(flags, Role::Witness, "lath-witness", run_witness)
}

/// The signals that end a process.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    leave: Signal,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Removes everything it made.
    Clean,
    /// Leaves everything to a successor.
    Leave,
}

impl EndSignals {
    fn new() -> anyhow::Result<Self> {
        let ends = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            leave: signal(SignalKind::user_defined2())?,
        };
        unblock_signals()?;
        Ok(ends)
    }

    async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.terminate.recv() => End::Clean,
            _ = self.interrupt.recv() => End::Clean,
            _ = self.leave.recv() => End::Leave,
        }
    }
}

async fn run_control(cell: CellFile) -> anyhow::Result<()> {
    let mut ends = EndSignals::new()?;
    let (layout, config) = (cell.layout(), &cell.config);
    let region = config.region.clone();
    let state = open_state(&cell).await?;
    let (observed_tx, observed) = watch::channel(Arc::<Observed>::default());
    let nodes = RemoteNodes::default();
    let (mesh, carrier) = Mesh::new();
    let topology = Arc::new(cell.topology.clone());
    let inputs = ControlInputs {
        topology: Arc::clone(&topology),
        observed,
        node: Arc::new(nodes.clone()),
        mesh: Some(mesh),
        registry: RegistryAt::bind_when_free(config, layout.installation()).await?,
    };
    let mut served = ServedControl::new(Control::start(config, state, inputs).await?);
    let (control, doors, links) = (&served.control, &mut served.doors, &mut served.links);

    // The links belong to the node: while it is down, control cannot reach other regions.
    let network = Arc::new(Underlay::of(&topology));
    let carried = lath_mesh::carry(
        topology,
        CONTROL_PORT,
        network,
        carrier,
        Clock::system(),
        links.token(),
    );
    links.spawn("the mesh", carried);
    let feed = listen(&layout.feed_socket(&region))?;
    let feeding = stream::serve(
        vec![Listener::Socket(feed)],
        nodes.clone(),
        control.snapshots.clone(),
        // One machine: its node has all.
        watch::channel(Placement::default()).1,
        observed_tx,
        Arc::clone(&control.sink) as Arc<_>,
        links.token(),
    );
    links.spawn("the feed", feeding);
    let running = Running {
        pid: std::process::id(),
        endpoint: String::new(),
        metrics: String::new(),
        region: region.clone(),
        account: config.account.clone(),
        dns: config.dns_listen.to_string(),
        regions: Vec::new(),
    };
    let counters = move || {
        let nodes = nodes.clone();
        async move { nodes.metrics_text().await }
    };
    let reporter = Reporter::new(control, running, counters);
    let trouble = control.trouble();
    let door = control.door().with_internal("/_lath/", move |request| {
        let (reporter, trouble) = (reporter.clone(), trouble.now());
        Box::pin(async move {
            match request.uri().path() {
                "/_lath/status" => http::Response::new(reporter.status().await.into()),
                "/_lath/metrics" => http::Response::new(reporter.metrics().await.into()),
                _ => internal(&request, &trouble),
            }
        })
    });
    let api = listen(&layout.api_socket(&region))?;
    let serving = Arc::new(door).serve_relayed(api, doors.token());
    doors.spawn("the API", serving);
    tracing::info!("the control plane is ready");

    let ended = tokio::select! {
        _ = ends.next() => None,
        part = served.failed() => Some(part),
    };
    served.stop().await;
    if let Some(part) = ended {
        anyhow::bail!("a part of the control plane ended by itself: {part}");
    }
    Ok(())
}

/// Opens the region's state. On failure it writes the reason for the supervisor, which answers for the region.
async fn open_state(cell: &CellFile) -> anyhow::Result<State> {
    let layout = cell.layout();
    let region = &cell.config.region;
    let region_dir = RegionDir {
        installation: &cell.installation,
        data_dir: &cell.config.data_dir,
        region,
        was_served: layout.was_served(region)?,
        anew: false,
    };
    let opened = State::open(region_dir).await;
    let refusal = layout.refusal(region);
    match &opened {
        Ok(_) => refusal.remove(),
        Err(error) => {
            let refused = error.downcast_ref::<Refused>();
            refusal.write(&Reason {
                summary: refused
                    .map_or("it cannot be started", |it| it.summary)
                    .into(),
                text: format!("{error:#}"),
            })?;
        }
    }
    opened
}

fn listen(path: &Path) -> anyhow::Result<tokio::net::UnixListener> {
    stream::listen(path).with_context(|| format!("cannot listen at {}", path.display()))
}

async fn run_node(cell: CellFile) -> anyhow::Result<()> {
    let mut ends = EndSignals::new()?;
    let (layout, config) = (cell.layout(), &cell.config);
    let region = config.region.clone();
    let place = place(&cell)?;
    let node_config = NodeConfig {
        orders: layout.orders(),
        images: layout.installation().join(lath_registry::DIRECTORY),
        ..node_config(config, place)
    };
    let host = Host::open(node_config).await?;
    let (snapshots_tx, snapshots) = watch::channel(Arc::<Snapshot>::default());
    let (source_tx, mut source) = watch::channel(Source::Nothing);
    let (observed_tx, observed) = watch::channel(Arc::<Observed>::default());
    let (metrics_tx, metrics) = watch::channel(None);
    let (outbox, kept) = (
        Arc::new(Outbox::default()),
        SnapshotFile::at(&layout.snapshot_file(&region)),
    );
    let follower = Follower {
        control: Address::Socket(layout.feed_socket(&region)),
        region: region.clone(),
        node: NodeId::default(),
        kept: kept.clone(),
        snapshots: snapshots_tx,
        source: source_tx,
        observed,
        outbox: Arc::clone(&outbox),
        queries: host.queries(),
        metrics,
    };
    let mut following = Group::new("the feed follower");
    following.spawn("the feed follower", follower.run(following.token()));

    // Change nothing before the first snapshot: no snapshot is not an empty one.
    let end = tokio::select! {
        found = source.wait_for(|source| *source != Source::Nothing) => {
            found.context("the feed follower ended")?;
            None
        }
        end = ends.next() => Some(end),
    };
    let removes = |end| end == End::Clean && !config.keep;
    let outcome = match end {
        Some(end) if removes(end) => host.remove_all().await,
        Some(_) => Ok(()),
        None => {
            let keeping = kept.clone().keep(snapshots.clone(), following.token());
            following.spawn("the kept snapshot", keeping);
            let node = Node::start(
                host,
                snapshots,
                observed_tx,
                Arc::clone(&outbox) as _,
                source,
                Arc::new(VpcApi::Relay(Arc::new(relay(&cell)))),
            )?;
            let counters: stream::Metrics = Arc::new(node.metrics());
            metrics_tx.send_replace(Some(counters));
            tracing::info!("the node is ready");
            let end = ends.next().await;
            let drain = Duration::from_secs(config.drain_seconds);
            let outcome = node.shutdown(drain, !removes(end)).await;
            // Control may be down: wait only briefly.
            let _ = tokio::time::timeout(TELEMETRY_FLUSH, outbox.emptied()).await;
            if removes(end) {
                kept.forget();
            }
            outcome
        }
    };
    following.stop().await;
    outcome
}

/// To the control planes of all regions of this machine. While one is dead, who supervises it begins it again.
fn relay(cell: &CellFile) -> Relay {
    let layout = cell.layout();
    let outlook = Outlook {
        expected: true,
        reason: None,
    };
    let regions = cell.topology.regions.keys();
    regions.fold(Relay::new(&cell.topology.home), |relay, region| {
        let way = Way::Socket(layout.api_socket(region));
        let (_, outlook) = watch::channel(outlook.clone());
        relay.with_region(region, way, outlook)
    })
}

fn place(cell: &CellFile) -> anyhow::Result<CellMembership> {
    Ok(CellMembership {
        topology: Arc::new(cell.topology.clone()),
        link_key: Some(open_link_key(&cell.config.data_dir)?),
    })
}

async fn run_witness(cell: CellFile) -> anyhow::Result<()> {
    let mut ends = EndSignals::new()?;
    let network: Arc<dyn Network> = Arc::new(Underlay::of(&cell.topology));
    let place = place(&cell)?;
    let topology = Arc::clone(&place.topology);
    let mut links = Group::new("the mesh");
    let mesh = place.join(&network, &Clock::system(), &mut links);
    let witness = Witness::start(network, topology, mesh, PROBES, Clock::system())?;
    tracing::info!("the witness is ready");
    ends.next().await;
    witness.shutdown().await;
    links.stop().await;
    Ok(())
}
