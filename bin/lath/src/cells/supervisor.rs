//! The supervisor: starts every cell, starts what dies again, holds the front door. Nothing on the data path
//! goes through it: while it is stopped or dead, regions work on, and its successor takes them over.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lath_feed::{Topology, WITNESS};
use lath_identity::RootKey;
use rustix::process::Signal;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults::FaultKeeper;
use super::front;
use super::keeper::{Keeper, State};
use super::layout::{CellFile, Layout, lay_out};
use super::process::{self, Found, Role};
use super::report::{Merger, Watched};
use super::sole;
use super::wan::Wan;
use crate::admin;
use crate::config::Config;
use crate::installation::{self, Anew, Seat};
use crate::running::{self, Running};
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

/// Starts every region of the configuration; the APIs answer when this returns, but for those of regions that
/// do not start, of `anew` whose state is missing or damaged begin with an empty one.
///
/// When `stop` is cancelled meanwhile, no region is waited for, so that what was started can be stopped.
///
/// # Errors
/// Why it could not be started. Then nothing is left of it.
pub(crate) async fn supervise(
    config: Config,
    anew: &[String],
    stop: CancellationToken,
) -> anyhow::Result<Supervisor> {
    let began = Instant::now();
    let layout = Layout::new(&config.data_dir);
    admin::make_dir(&layout.own_run_dir())?;
    let only_one = lock(&layout)?;
    // Ports first: who cannot have them must not touch anything.
    let api = listen(config.listen, "listen").await?;
    let metrics = listen(config.admin_listen, "admin_listen").await?;
    let topology = lay_out(&layout, &config)?;
    sole::mark(layout.installation(), &owner(layout.installation()))?;
    for region in anew {
        start_anew(&layout, region).await?;
    }
    // One for the installation, there before anybody needs it.
    RootKey::load_or_create(layout.installation())?;
    let running = Running {
        pid: std::process::id(),
        endpoint: format!("http://{}", api.local_addr()?),
        metrics: format!("http://{}/metrics", metrics.local_addr()?),
        region: topology.home.clone(),
        account: config.account.clone(),
        dns: config.dns_listen.to_string(),
        regions: config.regions.clone(),
    };
    let status = admin::listen(&layout.own_run_dir())?;
    let wan = Arc::new(Wan::open(&layout, &topology).await?);
    let mut supervisor = Supervisor {
        config,
        layout,
        wan,
        door_stop: CancellationToken::new(),
        doors: JoinSet::new(),
        nodes: Kept::default(),
        controls: Kept::default(),
        wan_stop: CancellationToken::new(),
        wan_task: JoinSet::new(),
        _only_one: only_one,
    };
    let ports = Ports {
        api,
        metrics,
        status,
    };
    if let Err(error) = supervisor.begin(&topology, &running, ports, &stop).await {
        // What is left is removed; why it was not is in the log.
        let _ = supervisor.stop().await;
        return Err(error);
    }
    tracing::info!(
        endpoint = %running.endpoint,
        metrics = %running.metrics,
        regions = running.regions.join(","),
        home = topology.home,
        data_dir = %supervisor.layout.installation().display(),
        started_ms = began.elapsed().as_millis(),
        "Lath serves; `eval \"$(lath env)\"` points the aws CLI at it"
    );
    Ok(supervisor)
}

/// What is listened on.
struct Ports {
    api: TcpListener,
    metrics: TcpListener,
    status: UnixListener,
}

impl Supervisor {
    async fn begin(
        &mut self,
        topology: &Topology,
        running: &Running,
        ports: Ports,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let wan = Arc::clone(&self.wan);
        self.wan_task.spawn(wan.keep(self.wan_stop.clone()));
        let watched = self.keep_processes(topology)?;
        let controls = || {
            let its = watched.iter().filter(|it| it.role == Role::Control);
            its.map(|it| (it.cell.clone(), it.state.clone()))
        };
        let relay = front::relay(&self.layout, &self.config, &topology.home, controls())?;
        let faults = FaultKeeper::new(&self.layout, topology, watched.clone());
        self.wan_task.spawn(faults.run(self.wan_stop.clone()));
        self.wan_task.spawn(remember_served(
            self.layout.clone(),
            self.config.regions.clone(),
            self.wan_stop.clone(),
        ));
        let extended = self.config.extended;
        let merger = Merger::new(&self.layout, running.clone(), extended, watched.clone());
        let told = merger.clone();
        let door_stop = self.door_stop.clone();
        let tell = admin::tell_status(ports.status, move || told.clone().status(), door_stop);
        self.doors.spawn(named("the status socket", tell));
        let door_stop = self.door_stop.clone();
        let tell = admin::serve_metrics(ports.metrics, move || merger.clone().metrics(), door_stop);
        self.doors.spawn(named("the metrics port", tell));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = wait_for_regions(&self.layout, controls()) => {}
        }
        // Before the door opens: a client that got an answer may ask `lath env` next.
        running.write(self.layout.installation())?;
        let serve = Arc::new(relay).serve(ports.api, self.door_stop.clone());
        self.doors.spawn(named("the API port", serve));
        Ok(())
    }

    fn keep_processes(&mut self, topology: &Topology) -> anyhow::Result<Vec<Watched>> {
        let mut watched = Vec::new();
        let drain = Duration::from_secs(self.config.drain_seconds);
        let witness = topology.witness.iter().map(|_| (WITNESS, Role::Witness));
        let regions = topology.regions.keys().map(String::as_str);
        let roles = regions.flat_map(|region| [(region, Role::Control), (region, Role::Node)]);
        for (cell, role) in roles.chain(witness) {
            CellFile::of(&self.layout, &self.config, topology, cell).write(&self.layout)?;
            let keeper = Keeper::new(&self.layout, cell, role, drain);
            watched.push(Watched {
                cell: cell.to_owned(),
                role,
                state: keeper.state(),
            });
            let kind = if role == Role::Control {
                &mut self.controls
            } else {
                &mut self.nodes
            };
            kind.tasks.spawn(keeper.run(kind.stop.clone()));
        }
        Ok(watched)
    }
}

/// Where the state of a region is missing or damaged: ends its processes, which know the old one, and puts
/// what is left aside.
async fn start_anew(layout: &Layout, region: &str) -> anyhow::Result<()> {
    let cell = layout.cell(region);
    let seat = Seat {
        installation: layout.installation(),
        data_dir: &cell,
        region,
        was_served: layout.was_served(region)?,
        anew: false,
    };
    if installation::is_needed(seat).await? {
        for (role, signal) in [(Role::Control, Signal::TERM), (Role::Node, Signal::USR2)] {
            match process::find(layout, region, role).await? {
                Found::Ours(mut process) | Found::Outdated(mut process) => {
                    process.end(signal, START).await;
                }
                Found::Nobody => {}
            }
        }
    }
    if installation::set_aside_state(seat).await? != Anew::NotNeeded {
        layout.remember(region, false)?;
    }
    Ok(())
}

/// Notes each region that answers: from then on it has a state.
async fn remember_served(layout: Layout, regions: Vec<String>, stop: CancellationToken) {
    let mut answering = JoinSet::new();
    for region in regions {
        let socket = layout.api_socket(&region).into();
        answering.spawn(async move {
            front::answers(socket).await;
            region
        });
    }
    loop {
        let answered = tokio::select! {
            () = stop.cancelled() => return,
            answered = answering.join_next() => answered,
        };
        let Some(Ok(region)) = answered else {
            return;
        };
        if let Err(error) = layout.remember(&region, true) {
            let error = format!("{error:#}");
            tracing::warn!(
                region,
                error,
                "it is not remembered that a region has a state"
            );
        }
    }
}

/// No other process supervises this installation as long as the file is kept. A predecessor may remove it while it
/// is opened here: then it is opened again.
fn lock(layout: &Layout) -> anyhow::Result<File> {
    let path = lock_path(layout);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    loop {
        let file = options
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        file.try_lock().with_context(|| {
            format!(
                "another `lath serve` serves {}",
                layout.installation().display()
            )
        })?;
        let (held, there) = (file.metadata()?, std::fs::metadata(&path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
            return Ok(file);
        }
    }
}

fn lock_path(layout: &Layout) -> PathBuf {
    // Not in the run directory, which may be lost while its holder lives.
    layout.installation().join("supervisor.lock")
}

/// Waits for every region that is on its way: one that is refused or held says so, and the others need not
/// wait for it.
async fn wait_for_regions(
    layout: &Layout,
    controls: impl Iterator<Item = (String, watch::Receiver<State>)>,
) {
    let mut answers = JoinSet::new();
    for (region, mut state) in controls {
        let socket = layout.api_socket(&region).into();
        answers.spawn(async move {
            tokio::select! {
                () = front::answers(socket) => {}
                _ = state.wait_for(|state| !state.phase.is_expected()) => {}
            }
        });
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
        self.sweep_run_dirs()?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Removes what the processes that ended have left in run directories: sockets, locks, records. With the
    /// supervisor's lock in hand no other process starts new ones.
    fn sweep_run_dirs(&self) -> anyhow::Result<()> {
        let cells = self.config.regions.iter().map(String::as_str);
        for cell in cells.chain([WITNESS]) {
            let run_dir = self.layout.run_dir(cell);
            running::sweep(&run_dir, |_| true)
                .with_context(|| format!("cannot clean {}", run_dir.display()))?;
        }
        let own = self.layout.own_run_dir();
        running::sweep(&own, |_| true).with_context(|| format!("cannot clean {}", own.display()))
    }
}
