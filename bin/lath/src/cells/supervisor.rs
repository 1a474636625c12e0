//! The supervisor starts every cell, restarts processes that die, and serves the front door. It is not on the data
//! path: while it is stopped or dead, regions continue, and its successor adopts them.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lath_feed::{Topology, WITNESS};
use lath_secrets::RootKey;
use lath_tasks::Group;
use rustix::process::Signal;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults::FaultInjector;
use super::front;
use super::layout::{CellFile, Layout, lay_out};
use super::process::{self, Found, Role};
use super::process_supervisor::{ProcessSupervisor, State};
use super::report::{Merger, Watched};
use super::sole;
use super::wan::Wan;
use crate::admin;
use crate::config::Config;
use crate::installation::{self, Anew, RegionDir};
use crate::running::{self, Running};
use crate::serve::{listen, owner};

/// How long a start waits for regions; then the front door opens without those that do not answer.
const START: Duration = Duration::from_secs(60);

/// Joins the user namespace of cells that outlived their supervisor, if it ran without root: only its members may
/// manage the cells' namespaces. Must run while the process has one thread.
///
/// # Errors
/// When such a namespace cannot be joined.
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
    doors: Group,
    /// Nodes stop before control planes, which receive the nodes' last telemetry.
    nodes: Group,
    controls: Group,
    /// The WAN, and what acts on it.
    links: Group,
    _only_one: File,
}

/// Starts every region of the configuration. The APIs answer when this returns, except in regions that do not start.
/// Regions in `anew` whose state is missing or damaged start with an empty one.
///
/// When `stop` is cancelled meanwhile, it stops waiting for regions, so that the caller can stop them.
///
/// # Errors
/// When it cannot start. Everything that was started is stopped again.
pub(crate) async fn supervise(
    config: Config,
    anew: &[String],
    stop: CancellationToken,
) -> anyhow::Result<Supervisor> {
    let began = Instant::now();
    let layout = Layout::new(&config.data_dir);
    admin::make_dir(&layout.own_run_dir())?;
    let only_one = lock(&layout)?;
    // Ports first: a start that cannot have them must not change anything.
    let api = listen(config.listen, "listen").await?;
    let metrics = listen(config.admin_listen, "admin_listen").await?;
    let topology = lay_out(&layout, &config)?;
    sole::mark(layout.installation(), &owner(layout.installation()))?;
    for region in anew {
        start_anew(&layout, region).await?;
    }
    // All regions share one root key: make it before any of them starts.
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
        doors: Group::new("a listener"),
        nodes: Group::new("nodes"),
        controls: Group::new("control planes"),
        links: Group::new("the WAN"),
        _only_one: only_one,
    };
    let ports = Ports {
        api,
        metrics,
        status,
    };
    if let Err(error) = supervisor.begin(&topology, &running, ports, &stop).await {
        // The first error is the one to report; failures of the cleanup are logged.
        let _ = supervisor.stop().await;
        return Err(error);
    }
    tracing::info!(
        endpoint = %running.endpoint,
        metrics = %running.metrics,
        regions = running.regions.join(","),
        home = topology.home,
        data_dir = %supervisor.layout.installation().display(),
        duration_ms = began.elapsed().as_millis(),
        "Lath serves; `eval \"$(lath env)\"` points the aws CLI at it"
    );
    Ok(supervisor)
}

/// The listening sockets.
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
        let links = &mut self.links;
        links.spawn("the WAN", wan.keep(links.token()));
        let watched = self.supervise_processes(topology)?;
        let controls = || {
            let its = watched.iter().filter(|it| it.role == Role::Control);
            its.map(|it| (it.cell.clone(), it.state.clone()))
        };
        let relay = front::relay(&self.layout, &self.config, &topology.home, controls())?;
        let faults = FaultInjector::new(&self.layout, topology, watched.clone());
        let links = &mut self.links;
        links.spawn("the injector of faults", faults.run(links.token()));
        let remembering = remember_served(
            self.layout.clone(),
            self.config.regions.clone(),
            links.token(),
        );
        links.spawn("the record of served regions", remembering);
        let extended = self.config.extended;
        let merger = Merger::new(&self.layout, running.clone(), extended, watched.clone());
        let reporter = merger.clone();
        let doors = &mut self.doors;
        let token = doors.token();
        let serving = admin::serve_status(ports.status, move || reporter.clone().status(), token);
        doors.spawn("the status socket", serving);
        let token = doors.token();
        let serving = admin::serve_metrics(ports.metrics, move || merger.clone().metrics(), token);
        doors.spawn("the metrics port", serving);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = wait_for_regions(&self.layout, controls()) => {}
        }
        // Before the front door opens: a client that gets an answer may call `lath env` next.
        running.write(self.layout.installation())?;
        let serve = Arc::new(relay).serve(ports.api, doors.token());
        doors.spawn("the API port", serve);
        Ok(())
    }

    fn supervise_processes(&mut self, topology: &Topology) -> anyhow::Result<Vec<Watched>> {
        let mut watched = Vec::new();
        let drain = Duration::from_secs(self.config.drain_seconds);
        let witness = topology.witness.iter().map(|_| (WITNESS, Role::Witness));
        let regions = topology.regions.keys().map(String::as_str);
        let roles = regions.flat_map(|region| [(region, Role::Control), (region, Role::Node)]);
        for (cell, role) in roles.chain(witness) {
            CellFile::of(&self.layout, &self.config, topology, cell).write(&self.layout)?;
            let supervisor = ProcessSupervisor::new(&self.layout, cell, role, drain);
            watched.push(Watched {
                cell: cell.to_owned(),
                role,
                state: supervisor.state(),
            });
            let kind = if role == Role::Control {
                &mut self.controls
            } else {
                &mut self.nodes
            };
            let running = supervisor.run(kind.token());
            kind.spawn_judged(role.name(), running);
        }
        Ok(watched)
    }
}

/// If the region's state is missing or damaged: ends the region's processes, which know the old state, and moves its
/// remains aside.
async fn start_anew(layout: &Layout, region: &str) -> anyhow::Result<()> {
    let cell = layout.cell(region);
    let region_dir = RegionDir {
        installation: layout.installation(),
        data_dir: &cell,
        region,
        was_served: layout.was_served(region)?,
        anew: false,
    };
    if installation::is_needed(region_dir).await? {
        for (role, signal) in [(Role::Control, Signal::TERM), (Role::Node, Signal::USR2)] {
            match process::find(layout, region, role).await? {
                Found::Current(mut process) | Found::Outdated(mut process) => {
                    process.end(signal, START).await;
                }
                Found::None => {}
            }
        }
    }
    if installation::set_aside_state(region_dir).await? != Anew::NotNeeded {
        layout.set_served(region, false)?;
    }
    Ok(())
}

/// Records each region that answers as served: from then on it has a state.
async fn remember_served(layout: Layout, regions: Vec<String>, stop: CancellationToken) {
    let mut answering = JoinSet::new();
    for region in regions {
        let socket = layout.api_socket(&region).into();
        answering.spawn(async move {
            front::wait_until_answering(socket).await;
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
        if let Err(error) = layout.set_served(&region, true) {
            let error = format!("{error:#}");
            tracing::warn!(
                region,
                error,
                "it cannot be recorded that a region has a state"
            );
        }
    }
}

/// Locks the installation against other supervisors until the file is dropped. A stopping predecessor may remove the
/// file between opening and locking here: then it is opened again.
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
    // Not in the run directory, which may be deleted while a supervisor runs.
    layout.installation().join("supervisor.lock")
}

/// Waits until every region answers, except those that are refused or suppressed.
async fn wait_for_regions(
    layout: &Layout,
    controls: impl Iterator<Item = (String, watch::Receiver<State>)>,
) {
    let mut answers = JoinSet::new();
    for (region, mut state) in controls {
        let socket = layout.api_socket(&region).into();
        answers.spawn(async move {
            tokio::select! {
                () = front::wait_until_answering(socket) => {}
                _ = state.wait_for(|state| !state.phase.is_expected()) => {}
            }
        });
    }
    let all = async { while answers.join_next().await.is_some() {} };
    if tokio::time::timeout(START, all).await.is_err() {
        tracing::error!("not every region answers: the others are served without them");
    }
}

impl Supervisor {
    /// Waits until a part ends unexpectedly. Returns its name.
    pub(crate) async fn failed(&mut self) -> &'static str {
        self.doors.failed().await
    }

    /// Stops in reverse order. Nodes drain, and remove what they made unless `keep` is set.
    ///
    /// # Errors
    /// When a part did not end cleanly. The next start adopts or removes what is left.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.doors.stop().await;
        admin::forget(&self.layout.own_run_dir());
        let clean = self.nodes.stop().await;
        let clean = self.controls.stop().await && clean;
        self.links.stop().await;
        if !self.config.keep {
            self.wan.remove().await?;
        }
        anyhow::ensure!(clean, "a process did not end cleanly: its log says why");
        self.sweep_run_dirs()?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Removes the files that ended processes left in run directories: sockets, locks, records. The supervisor's lock
    /// guarantees that no other supervisor starts new processes.
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
