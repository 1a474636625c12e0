//! Puts the parts of a server together, and takes them apart in reverse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_control::{Cell, Mode, compile, publish};
use lath_dns::Upstreams;
use lath_ec2::images::{ImageDirectory, offer_directories};
use lath_feed::{Observed, Snapshot, Topology};
use lath_identity::{Identity, RootKey};
use lath_node::{Host, Node, NodeConfig};
use lath_observe::{Delivery, Limits, Observe};
use lath_proxy::ProxyConfig;
use lath_store::Db;
use lath_wire::http::FrontDoor;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::report;
use crate::admin;
use crate::config::Config;
use crate::running::{self, Running};
use crate::services::{Apps, CONTRIBUTIONS, kinds};

/// How often what has expired is swept: logs, metrics, idempotency tokens.
const SWEEP: Duration = Duration::from_secs(60);

/// Everything that runs.
pub(super) struct Assembly {
    config: Config,
    node: Option<Node>,
    /// Stops the front door first, so that no call is answered by half a server.
    door_stop: CancellationToken,
    doors: JoinSet<&'static str>,
    /// Then control: nothing is published or reconciled while the node takes itself apart.
    control_stop: CancellationToken,
    control: JoinSet<()>,
    /// Last the archive, which still gets what the node counted.
    archive_stop: CancellationToken,
    archive: JoinSet<()>,
}

impl Assembly {
    /// Starts every part; the APIs answer when this returns.
    pub(super) async fn start(config: Config) -> anyhow::Result<Self> {
        let began = std::time::Instant::now();
        let run_dir = running::run_dir(&config.data_dir);
        let db = open_state(&config.data_dir).await?;
        let key = RootKey::load_or_create(&config.data_dir)?;
        let identity = Arc::new(Identity::new(key, config.account.clone()));
        // Ports first: who cannot have them must not touch anything.
        let api = listen(config.listen, "listen").await?;
        let metrics = listen(config.admin_listen, "admin_listen").await?;

        let host = Host::open(node_config(&config, &run_dir)).await?;
        let (say_observed, observed) = watch::channel(Arc::<Observed>::default());
        let cell = Cell {
            region: config.region.clone(),
            account: config.account.clone(),
            mode: if config.extended {
                Mode::Extended
            } else {
                Mode::Strict
            },
            topology: Arc::new(Topology::single(&config.region)),
            db,
            observed,
            node: host.queries(),
        };
        offer_directories(&cell, image_directories(&config)).await?;

        let limits = Limits {
            log_bytes: config.log_bytes,
            ..Limits::default()
        };
        let observe = Observe::open(cell.clone(), &config.data_dir, limits)?;
        let (delivery, writer) = Delivery::new(Arc::clone(&observe));
        let archive_stop = CancellationToken::new();
        let mut archive = JoinSet::new();
        archive.spawn(writer.run(archive_stop.clone()));

        let first = compile(&cell, &cell.db.view(), &CONTRIBUTIONS, &Snapshot::default());
        let (feed, snapshots) = watch::channel(Arc::new(first));
        let sink = Arc::clone(&delivery);
        let node = Node::start(host, snapshots.clone(), say_observed, sink)?;

        let control_stop = CancellationToken::new();
        let mut control = JoinSet::new();
        let publishing = publish(cell.clone(), CONTRIBUTIONS.to_vec(), feed);
        control.spawn(until(control_stop.clone(), publishing));
        let apps = Apps::new(&cell, Arc::clone(&observe), Arc::clone(&identity));
        apps.spawn_reconcilers(&control_stop, &mut control);
        let swept = Arc::clone(&observe);
        let sweep = move || {
            let observe = Arc::clone(&swept);
            async move { lath_observe::sweep(&observe).await }
        };
        control.spawn(run_periodically(control_stop.clone(), "the archive", sweep));
        let db = cell.db.clone();
        let sweep = move || {
            let db = db.clone();
            async move { Ok(lath_control::sweep_tokens(&db).await.map(drop)?) }
        };
        control.spawn(run_periodically(control_stop.clone(), "used tokens", sweep));

        let running = Running {
            pid: std::process::id(),
            endpoint: format!("http://{}", api.local_addr()?),
            metrics: format!("http://{}/metrics", metrics.local_addr()?),
            region: config.region.clone(),
            account: config.account.clone(),
        };
        let door_stop = CancellationToken::new();
        let mut doors = JoinSet::new();
        let reporter = report::Reporter::new(
            cell.clone(),
            snapshots,
            delivery,
            running.clone(),
            node.metrics(),
        );
        let status = admin::listen(&run_dir)?;
        let told = reporter.clone();
        let tell = admin::tell_status(status, move || told.status(), door_stop.clone());
        doors.spawn(named("the status socket", tell));
        let serve_metrics =
            admin::serve_metrics(metrics, move || reporter.metrics(), door_stop.clone());
        doors.spawn(named("the metrics port", serve_metrics));
        let door = Arc::new(front_door(&cell, identity, &apps));
        let stop = door_stop.clone();
        doors.spawn(named("the API port", async move {
            drop(door.serve(api, stop).await)
        }));
        running.write(&config.data_dir)?;
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
            control_stop,
            control,
            archive_stop,
            archive,
        })
    }

    /// Returns the name of a part that ended though nobody stopped it.
    pub(super) async fn failed(&mut self) -> &'static str {
        tokio::select! {
            Some(ended) = self.doors.join_next() => ended.unwrap_or("a listener"),
            Some(_) = self.control.join_next() => "control",
            Some(_) = self.archive.join_next() => "the archive's writer",
        }
    }

    /// Stops in reverse: drains, then removes what was made unless it is to be kept.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.door_stop.cancel();
        while self.doors.join_next().await.is_some() {}
        admin::forget(&running::run_dir(&self.config.data_dir));
        self.control_stop.cancel();
        while self.control.join_next().await.is_some() {}
        let mut outcome = Ok(());
        if let Some(node) = self.node.take() {
            let drain = Duration::from_secs(self.config.drain_seconds);
            outcome = node.shutdown(drain, self.config.keep).await;
        }
        self.archive_stop.cancel();
        while self.archive.join_next().await.is_some() {}
        tracing::info!("stopped");
        outcome
    }
}

async fn open_state(data_dir: &Path) -> anyhow::Result<Db> {
    let path = data_dir.to_owned();
    let store = tokio::task::spawn_blocking(move || lath_store::open_dir(&path)).await?;
    let store =
        store.with_context(|| format!("cannot open the state in {}", data_dir.display()))?;
    Db::open(store, kinds())
        .await
        .context("cannot read the state")
}

async fn listen(at: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at)
        .await
        .with_context(|| format!("cannot listen on {at} ({key}); is another Lath running?"))
}

fn node_config(config: &Config, run_dir: &Path) -> NodeConfig {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if config.proxy_threads == 0 {
        cores
    } else {
        config.proxy_threads
    };
    NodeConfig {
        data_dir: config.data_dir.clone(),
        run_dir: run_dir.to_owned(),
        owner: owner(&config.data_dir),
        proxy: ProxyConfig {
            threads,
            ..ProxyConfig::default()
        },
        upstreams: Upstreams::host(),
    }
}

/// A name for what is ours in the host's network: two servers with two data directories never meet.
fn owner(data_dir: &Path) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in data_dir.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    format!("{hash:08x}")
}

fn image_directories(config: &Config) -> Vec<ImageDirectory> {
    let image = |(name, path): (&String, &std::path::PathBuf)| ImageDirectory {
        name: name.clone(),
        description: format!("The directory {}", path.display()),
        path: path.clone(),
    };
    config.images.iter().map(image).collect()
}

fn front_door(cell: &Cell, identity: Arc<Identity>, apps: &Apps) -> FrontDoor {
    FrontDoor::new(identity)
        .with_region(cell.region.clone(), apps.services())
        .with_internal("/_lath/", |request| {
            Box::pin(async move { report::internal(&request) })
        })
}

async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

/// Unlike a reconciler, the sweep is not woken by changes: nothing waits for it.
async fn run_periodically<F, Fut>(stop: CancellationToken, what: &'static str, pass: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), lath_wire::ApiError>>,
{
    loop {
        if let Err(error) = pass().await {
            tracing::error!(%error, cause = ?error.cause, what, "what has expired could not be removed");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}
