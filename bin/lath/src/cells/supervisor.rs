//! The supervisor: starts every cell, starts what dies again, holds the front door. Nothing on the data path
//! goes through it: while it is stopped or dead, regions work on, and its successor takes them over.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lath_feed::WITNESS;
use lath_identity::RootKey;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults::FaultKeeper;
use super::front;
use super::keeper::Keeper;
use super::layout::{CellFile, Layout, lay_out};
use super::process::{self, Role};
use super::report::{Merger, Watched};
use super::sole;
use super::wan::Wan;
use crate::admin;
use crate::config::Config;
use crate::running::Running;
use crate::serve::{listen, owner};

/// How long regions are waited for before the front door is opened without those that do not answer.
const START: Duration = Duration::from_secs(60);

/// An ordinary user's cells that outlived their supervisor have namespaces that only members of their user
/// namespace have power over: joins it. Before there is a second thread.
///
/// # Errors
/// When there is one and it cannot be joined.
pub(crate) fn join_survivors(data_dir: &Path) -> anyhow::Result<bool> {
    let Some(survivor) = process::any_survivor(data_dir) else {
        return Ok(false);
    };
    let spaces = nix::sched::CloneFlags::CLONE_NEWUSER | nix::sched::CloneFlags::CLONE_NEWNS;
    nix::sched::setns(survivor.as_fd(), spaces)
        .context("the user namespace of the regions that still run cannot be joined")?;
    Ok(true)
}

/// Everything that runs.
pub(crate) struct Supervisor {
    config: Config,
    layout: Layout,
    wan: Arc<Wan>,
    door_stop: CancellationToken,
    doors: JoinSet<&'static str>,
    /// Nodes before control planes, which take what nodes say last.
    nodes: Kept,
    controls: Kept,
    wan_stop: CancellationToken,
    wan_task: JoinSet<()>,
    _only_one: File,
}

/// Processes of one kind.
#[derive(Default)]
struct Kept {
    stop: CancellationToken,
    tasks: JoinSet<bool>,
}

impl Kept {
    /// Ends them all; whether each ended well.
    async fn stop(&mut self) -> bool {
        self.stop.cancel();
        let mut well = true;
        while let Some(ended) = self.tasks.join_next().await {
            well &= ended.unwrap_or(false);
        }
        well
    }
}

/// Starts every region of the configuration; the APIs answer when this returns.
///
/// # Errors
/// Why it could not be started.
pub(crate) async fn supervise(config: Config) -> anyhow::Result<Supervisor> {
    let began = Instant::now();
    let layout = Layout::new(&config.data_dir);
    admin::make_dir(&layout.own_run_dir())?;
    let only_one = lock(&layout)?;
    // Ports first: who cannot have them must not touch anything.
    let api = listen(config.listen, "listen").await?;
    let metrics = listen(config.admin_listen, "admin_listen").await?;
    let topology = lay_out(&layout, &config)?;
    // One for the installation, there before anybody needs it.
    RootKey::load_or_create(layout.installation())?;
    sole::mark(layout.installation(), &owner(layout.installation()))?;
    let wan = Arc::new(Wan::open(&layout, &topology).await?);
    let wan_stop = CancellationToken::new();
    let mut wan_task = JoinSet::new();
    wan_task.spawn(Arc::clone(&wan).keep(wan_stop.clone()));

    let (mut nodes, mut controls) = (Kept::default(), Kept::default());
    let mut watched = Vec::new();
    let drain = Duration::from_secs(config.drain_seconds);
    let witness = topology.witness.iter().map(|_| (WITNESS, Role::Witness));
    let regions = topology.regions.keys().map(String::as_str);
    let roles = regions.flat_map(|region| [(region, Role::Control), (region, Role::Node)]);
    for (cell, role) in roles.chain(witness) {
        CellFile::of(&layout, &config, &topology, cell).write(&layout)?;
        let keeper = Keeper::new(&layout, cell, role, drain);
        watched.push(Watched {
            cell: cell.to_owned(),
            role,
            state: keeper.state(),
        });
        let kind = if role == Role::Control {
            &mut controls
        } else {
            &mut nodes
        };
        kind.tasks.spawn(keeper.run(kind.stop.clone()));
    }

    let running = Running {
        pid: std::process::id(),
        endpoint: format!("http://{}", api.local_addr()?),
        metrics: format!("http://{}/metrics", metrics.local_addr()?),
        region: topology.home.clone(),
        account: config.account.clone(),
        dns: config.dns_listen.to_string(),
        regions: config.regions.clone(),
    };
    let relay = {
        let its = watched.iter().filter(|it| it.role == Role::Control);
        let its = its.map(|it| (it.cell.clone(), it.state.clone()));
        front::relay(&layout, &config, &topology.home, its)?
    };
    wan_task.spawn(FaultKeeper::new(&layout, &topology, watched.clone()).run(wan_stop.clone()));
    let merger = Merger::new(&layout, running.clone(), config.extended, watched);
    let door_stop = CancellationToken::new();
    let mut doors = JoinSet::new();
    let status = admin::listen(&layout.own_run_dir())?;
    let told = merger.clone();
    let tell = admin::tell_status(status, move || told.clone().status(), door_stop.clone());
    doors.spawn(named("the status socket", tell));
    let tell = admin::serve_metrics(metrics, move || merger.clone().metrics(), door_stop.clone());
    doors.spawn(named("the metrics port", tell));
    wait_for_regions(&layout, &config).await;
    // Before the door opens: whoever is answered may ask `lath env` next.
    running.write(layout.installation())?;
    doors.spawn(named(
        "the API port",
        Arc::new(relay).serve(api, door_stop.clone()),
    ));
    tracing::info!(
        endpoint = %running.endpoint,
        metrics = %running.metrics,
        regions = config.regions.join(","),
        home = topology.home,
        data_dir = %layout.installation().display(),
        started_ms = began.elapsed().as_millis(),
        "Lath serves; `eval \"$(lath env)\"` points the aws CLI at it"
    );
    Ok(Supervisor {
        config,
        layout,
        wan,
        door_stop,
        doors,
        nodes,
        controls,
        wan_stop,
        wan_task,
        _only_one: only_one,
    })
}

fn lock(layout: &Layout) -> anyhow::Result<File> {
    // Not in the run directory, which may be lost while its holder lives.
    let path = layout.installation().join("supervisor.lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    file.try_lock().with_context(|| {
        format!(
            "another `lath serve` serves {}",
            layout.installation().display()
        )
    })?;
    Ok(file)
}

async fn wait_for_regions(layout: &Layout, config: &Config) {
    let mut answers = JoinSet::new();
    for region in &config.regions {
        answers.spawn(front::answers(layout.api_socket(region).into()));
    }
    let all = async { while answers.join_next().await.is_some() {} };
    if tokio::time::timeout(START, all).await.is_err() {
        tracing::error!("not every region answers: the others are served without them");
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

impl Supervisor {
    /// Returns the name of a part that ended though nobody stopped it.
    pub(crate) async fn failed(&mut self) -> &'static str {
        let ended = self.doors.join_next().await;
        ended.and_then(Result::ok).unwrap_or("a listener")
    }

    /// Stops in reverse: nodes drain and remove what they made, unless it is to be kept.
    ///
    /// # Errors
    /// When something did not end well: what is left is adopted or removed by the next start.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.door_stop.cancel();
        while self.doors.join_next().await.is_some() {}
        admin::forget(&self.layout.own_run_dir());
        let well = self.nodes.stop().await;
        let well = self.controls.stop().await && well;
        self.wan_stop.cancel();
        while self.wan_task.join_next().await.is_some() {}
        if !self.config.keep {
            self.wan.remove().await?;
        }
        anyhow::ensure!(well, "a process did not end well: its log says why");
        tracing::info!("stopped");
        Ok(())
    }
}
