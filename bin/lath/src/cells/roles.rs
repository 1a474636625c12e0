//! What the processes of a cell do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_checks::Witness;
use lath_feed::stream::{self, Follower, Kept, Outbox, RemoteNode, Source};
use lath_feed::{CONTROL_PORT, Mesh, Observed, Snapshot};
use lath_mesh::Underlay;
use lath_net::Network;
use lath_node::{Host, Node, NodeConfig, Place};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::layout::{CellFile, Reason, open_link_key};
use super::process::{Role, let_signals_through, take_role};
use crate::installation::{Refused, Seat};
use crate::running::{self, Running};
use crate::serve::{
    Around, Control, Reporter, State, internal, node_config, raise_descriptor_limit,
};
use crate::{cli, telemetry};

/// Probes of the witness at the same time.
const PROBES: usize = 1024;
/// How long telemetry of a node that ends may take to reach control.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(threads)
        .build()
        .context("cannot start threads")?;
    let span = tracing::info_span!("cell", region = cell.topology.region, role = role.name());
    let outcome = runtime.block_on(tracing::Instrument::instrument(work(cell), span));
    // What still runs on other threads has nothing more to say.
    runtime.shutdown_background();
    outcome
}

/// `lath control`.
///
/// # Errors
/// Why it could not start, or not end well.
pub(crate) fn control(flags: &cli::Role) -> anyhow::Result<()> {
    run(flags, Role::Control, "lath-control", run_control)
}

/// `lath node`.
///
/// # Errors
/// Why it could not start, or not end well.
pub(crate) fn node(flags: &cli::Role) -> anyhow::Result<()> {
    run(flags, Role::Node, "lath-node", run_node)
}

/// `lath witness`.
///
/// # Errors
/// Why it could not start, or not end well.
pub(crate) fn witness(flags: &cli::Role) -> anyhow::Result<()> {
    run(flags, Role::Witness, "lath-witness", run_witness)
}

/// A signal that ends a process.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    leave: Signal,
}

/// How a process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Remove what was made.
    Clean,
    /// Leave it to a successor.
    Leave,
}

impl Ends {
    fn new() -> anyhow::Result<Self> {
        let ends = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            leave: signal(SignalKind::user_defined2())?,
        };
        let_signals_through()?;
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
    let mut ends = Ends::new()?;
    let (layout, config) = (cell.layout(), &cell.config);
    let region = config.region.clone();
    let state = open_state(&cell).await?;
    let (say_observed, observed) = watch::channel(Arc::<Observed>::default());
    let (node, asks) = RemoteNode::new();
    let (mesh, carrier) = Mesh::new();
    let topology = Arc::new(cell.topology.clone());
    let around = Around {
        topology: Arc::clone(&topology),
        observed,
        node: Arc::new(node.clone()),
        mesh: Some(mesh),
    };
    let mut control = Control::start(config, state, around).await?;

    let (stop, feed_stop) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    // The links are the node's: while it is away, so are the other regions.
    let network = Arc::new(Underlay::of(&topology));
    let carried = lath_mesh::carry(topology, CONTROL_PORT, network, carrier, feed_stop.clone());
    tasks.spawn(carried);
    let feed = listen(&layout.feed_socket(&region))?;
    tasks.spawn(stream::serve(
        feed,
        asks,
        control.snapshots.clone(),
        say_observed,
        Arc::clone(&control.delivery) as Arc<_>,
        feed_stop.clone(),
    ));
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
        let node = node.clone();
        async move { node.metrics().await }
    };
    let reporter = Reporter::new(&control, running, counters);
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
    let mut doors = JoinSet::new();
    doors.spawn(Arc::new(door).serve_relayed(api, stop.clone()));
    tracing::info!("the control plane serves");

    tokio::select! {
        _ = ends.next() => {}
        _ = doors.join_next() => tracing::error!("the API ended: stopping"),
        _ = tasks.join_next() => tracing::error!("the feed ended: stopping"),
        part = control.failed() => tracing::error!(part, "a part ended: stopping"),
    }
    stop.cancel();
    while doors.join_next().await.is_some() {}
    control.rest().await;
    feed_stop.cancel();
    while tasks.join_next().await.is_some() {}
    control.stop().await;
    Ok(())
}

/// The state of the region. Why it is refused is left for the supervisor, which speaks for the region.
async fn open_state(cell: &CellFile) -> anyhow::Result<State> {
    let layout = cell.layout();
    let region = &cell.config.region;
    let seat = Seat {
        installation: &cell.installation,
        data_dir: &cell.config.data_dir,
        region,
        was_served: layout.was_served(region)?,
        anew: false,
    };
    let opened = State::open(seat).await;
    let refusal = layout.refusal(region);
    match &opened {
        Ok(_) => refusal.withdraw(),
        Err(error) => {
            let refused = error.downcast_ref::<Refused>();
            refusal.say(&Reason {
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
    let mut ends = Ends::new()?;
    let (layout, config) = (cell.layout(), &cell.config);
    let region = config.region.clone();
    let place = place(&cell)?;
    let node_config = NodeConfig {
        orders: layout.orders(),
        ..node_config(config, place)
    };
    let host = Host::open(node_config).await?;
    let (say_snapshots, snapshots) = watch::channel(Arc::<Snapshot>::default());
    let (say_source, mut source) = watch::channel(Source::Nothing);
    let (say_observed, observed) = watch::channel(Arc::<Observed>::default());
    let (say_metrics, metrics) = watch::channel(None);
    let (outbox, kept) = (Arc::new(Outbox::default()), Kept::at(&layout.kept(&region)));
    let follower = Follower {
        socket: layout.feed_socket(&region),
        region: region.clone(),
        kept: kept.clone(),
        snapshots: say_snapshots,
        source: say_source,
        observed,
        outbox: Arc::clone(&outbox),
        queries: host.queries(),
        metrics,
    };
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(follower.run(stop.clone()));

    // Nothing is obeyed, and nothing removed, before there is something to obey.
    let end = tokio::select! {
        found = source.wait_for(|source| *source != Source::Nothing) => {
            found.context("control is not followed any more")?;
            None
        }
        end = ends.next() => Some(end),
    };
    let removes = |end| end == End::Clean && !config.keep;
    let outcome = match end {
        Some(end) if removes(end) => host.remove_all().await,
        Some(_) => Ok(()),
        None => {
            tasks.spawn(kept.clone().keep(snapshots.clone(), stop.clone()));
            let node = Node::start(
                host,
                snapshots,
                say_observed,
                Arc::clone(&outbox) as _,
                source,
            )?;
            let counters: stream::Metrics = Arc::new(node.metrics());
            say_metrics.send_replace(Some(counters));
            tracing::info!("the node serves");
            let end = ends.next().await;
            let drain = Duration::from_secs(config.drain_seconds);
            let outcome = node.shutdown(drain, !removes(end)).await;
            // Control may be away: it is not waited for in vain.
            let _ = tokio::time::timeout(LAST_WORDS, outbox.emptied()).await;
            if removes(end) {
                kept.forget();
            }
            outcome
        }
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    outcome
}

fn place(cell: &CellFile) -> anyhow::Result<Place> {
    Ok(Place {
        topology: Arc::new(cell.topology.clone()),
        link_key: Some(open_link_key(&cell.config.data_dir)?),
    })
}

async fn run_witness(cell: CellFile) -> anyhow::Result<()> {
    let mut ends = Ends::new()?;
    let network: Arc<dyn Network> = Arc::new(Underlay::of(&cell.topology));
    let place = place(&cell)?;
    let topology = Arc::clone(&place.topology);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let mesh = place.join(&network, &stop, &mut tasks);
    let witness = Witness::start(network, topology, mesh, PROBES)?;
    tracing::info!("the witness observes");
    ends.next().await;
    witness.shutdown().await;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}
