//! All instances of one node: what Lath's server holds.

mod ending;
mod files;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::{ConsoleOutput, InstanceObserved, InstancePhase};
use lath_model::Timestamp;
use lath_model::WorkloadId;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::boot::{BootPlan, InstanceSpec, Kind};
use crate::cgroup::Groups;
use crate::exec::ExecRequest;
use crate::layout::{self, Layout};
use crate::living::{alive, is_locked, network, readable, reap};
use crate::record::{EndReason, Ended, NamespaceName, Running, load};
use crate::{console, launcher, node};

/// How long a boot may take until its first process runs.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses between attempts at a start: what the host lacks for a moment (processes, memory, space) must not
/// end an instance.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(1200)];

/// Where instances live and how.
#[derive(Debug, Clone)]
pub struct InstancesConfig {
    /// Files of instances, kept over reboots of the host. Not visible in any instance.
    pub data_dir: PathBuf,
    /// What is known of running instances; on a tmpfs best.
    pub run_dir: PathBuf,
    /// A binary that calls [`crate::instance_init_main`]: normally this process's own.
    pub launcher: PathBuf,
    /// How long processes have to end after SIGTERM.
    pub stop_grace: Duration,
    /// Whether instances end with this process. Without it they live on and are found again.
    /// Rootless needs it: their network cannot be found again from a new user namespace.
    pub lifeline: bool,
    /// The wall clock, of what is observed of instances.
    pub clock: Clock,
}

impl InstancesConfig {
    /// The usual settings: own binary, five seconds of grace, a life line only when rootless, the machine's clock.
    pub fn new(data_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            run_dir: run_dir.into(),
            launcher: PathBuf::from("/proc/self/exe"),
            stop_grace: Duration::from_secs(5),
            lifeline: is_rootless(),
            clock: Clock::system(),
        }
    }
}

/// Whether this process is root only in a user namespace.
pub fn is_rootless() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = ["0", "0", "4294967295"];
    !map.split_whitespace().eq(whole)
}

/// What can go wrong with an instance.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Files or processes could not be handled.
    #[error("instance {id}: {doing}")]
    Io {
        /// Which instance.
        id: WorkloadId,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It could not be started.
    #[error("instance {id} could not be started: {reason}")]
    NotStarted {
        /// Which instance.
        id: WorkloadId,
        /// In words a user can act on.
        reason: String,
    },
    /// This boot ended by itself. Another boot number starts it again.
    #[error("instance {id} ended by itself: {reason}")]
    Died {
        /// Which instance.
        id: WorkloadId,
        /// Such as `killed by SIGKILL`.
        reason: String,
    },
    /// It does not end.
    #[error("instance {id} does not end")]
    DoesNotEnd {
        /// Which instance.
        id: WorkloadId,
    },
    /// A directory could not be made or read.
    #[error("cannot use {path}")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The instances of one node. A cheap handle; every method may be called at any time, from any task,
/// and repeatedly. Work on one instance is done one after another.
#[derive(Debug, Clone)]
pub struct Instances(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: InstancesConfig,
    rootless: bool,
    /// Of all its instances.
    groups: Groups,
    /// Both ends of the life line: the writing end closes when this process ends.
    lifeline: Option<(OwnedFd, OwnedFd)>,
    turns: Mutex<HashMap<WorkloadId, Arc<tokio::sync::Mutex<()>>>>,
    observed: watch::Sender<BTreeMap<WorkloadId, InstanceObserved>>,
}

impl Instances {
    /// Finds what lives, forgets what does not, and deletes what was being removed.
    ///
    /// # Errors
    /// When a directory cannot be made or read.
    pub async fn open(config: InstancesConfig) -> Result<Self, InstanceError> {
        let folders = [
            layout::instances(&config.data_dir),
            layout::trash(&config.data_dir),
            layout::instances(&config.run_dir),
        ];
        for path in folders {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path);
            made.map_err(|source| InstanceError::Directory { path, source })?;
        }
        let lifeline = if config.lifeline {
            let ends = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC);
            let path = config.run_dir.clone();
            let directory = |error: nix::Error| InstanceError::Directory {
                path,
                source: error.into(),
            };
            Some(ends.map_err(directory)?)
        } else {
            None
        };
        let instances = Self(Arc::new(Inner {
            rootless: is_rootless(),
            groups: Groups::of_host().below(&owner(&config.data_dir)),
            lifeline,
            turns: Mutex::default(),
            observed: watch::Sender::new(BTreeMap::new()),
            config,
        }));
        instances.adopt().await?;
        instances.sweep_groups().await;
        let trash = layout::trash(&instances.0.config.data_dir);
        let _ = tokio::task::spawn_blocking(move || empty(&trash)).await;
        Ok(instances)
    }

    /// The clock that it goes by.
    pub fn clock(&self) -> &Clock {
        &self.0.config.clock
    }

    async fn adopt(&self) -> Result<(), InstanceError> {
        for id in self.on_disk()? {
            let layout = self.layout(&id);
            self.await_half_started(&layout).await;
            self.settle(&id);
            if let Some((running, pidfd)) = alive(&layout) {
                tracing::info!(instance.id = %id, process.id = running.supervisor.pid, "instance adopted");
                self.observe(&id, InstancePhase::Running, running.boot, running.since);
                self.watch_over(id, running, pidfd);
            }
        }
        Ok(())
    }

    /// A supervisor that was starting its instance when Lath ended goes on with it.
    async fn await_half_started(&self, layout: &Layout) {
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        while is_locked(&layout.lock())
            && !layout.running().exists()
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn on_disk(&self) -> Result<Vec<WorkloadId>, InstanceError> {
        let mut ids = Vec::new();
        for base in [&self.0.config.data_dir, &self.0.config.run_dir] {
            let path = layout::instances(base);
            let entries = fs::read_dir(&path);
            let entries = entries.map_err(|source| InstanceError::Directory { path, source })?;
            let names = entries.flatten().map(|entry| entry.file_name());
            ids.extend(names.filter_map(|name| layout::of_folder(&name)));
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// The network namespaces of instances that live, as their processes show them.
    pub fn networks(&self) -> BTreeMap<WorkloadId, OwnedFd> {
        let ids = self.on_disk().unwrap_or_default().into_iter();
        let living = ids.filter_map(|id| {
            let (running, _) = alive(&self.layout(&id))?;
            Some((id, network(&running)?))
        });
        living.collect()
    }

    /// The network namespace of a workload that runs: for the fabric, which wires those that nodes make
    /// (`Fabric::hand_over`).
    pub fn netns(&self, id: &WorkloadId) -> Option<OwnedFd> {
        network(&alive(&self.layout(id))?.0)
    }

    /// Every instance that has files or processes here.
    ///
    /// # Errors
    /// When the directories cannot be read.
    pub fn list(&self) -> Result<Vec<WorkloadId>, InstanceError> {
        self.on_disk()
    }

    /// The actual state of each instance that exists.
    pub fn watch(&self) -> watch::Receiver<BTreeMap<WorkloadId, InstanceObserved>> {
        self.0.observed.subscribe()
    }

    /// The actual state of one instance; `None` if it does not exist.
    pub fn status(&self, id: &WorkloadId) -> Option<InstanceObserved> {
        self.0.observed.borrow().get(id).cloned()
    }

    /// The newest console output; `None` when the instance has none here. Kept while it is stopped.
    pub fn console(&self, id: &WorkloadId) -> Option<ConsoleOutput> {
        console::read(&self.layout(id).console()).ok()
    }

    /// A command that runs `request` in a running instance: set its streams and spawn it. Its exit
    /// status is the request's, or [`crate::CANNOT_ENTER`].
    ///
    /// # Errors
    /// When the request cannot be passed on.
    pub fn exec_command(&self, id: &WorkloadId, request: &ExecRequest) -> io::Result<Command> {
        let config = &self.0.config;
        launcher::exec_command(&config.launcher, &config.data_dir, id, request)
    }

    /// The same, of a request with secrets in it, which other users of the host do not see. One at a time: the next may come
    /// when the command of the one before has begun.
    ///
    /// # Errors
    /// When the request cannot be passed on.
    pub fn private_exec_command(
        &self,
        id: &WorkloadId,
        request: &ExecRequest,
    ) -> io::Result<Command> {
        let config = &self.0.config;
        let layout = self.layout(id);
        launcher::private_exec_command(&config.launcher, &config.data_dir, &layout, id, request)
    }

    /// Makes the instance run with `spec.boot`: starts it, or restarts it when it runs with another
    /// boot number or in another network namespace.
    ///
    /// # Errors
    /// [`InstanceError::NotStarted`] with the reason; calling again tries again. [`InstanceError::Died`]
    /// when this boot ended by itself; calling again does not start it.
    pub async fn ensure_running(&self, spec: &InstanceSpec) -> Result<(), InstanceError> {
        let turn = self.turn(&spec.id);
        let _turn = turn.lock().await;
        let layout = self.layout(&spec.id);
        self.await_half_started(&layout).await;
        self.settle(&spec.id);
        if let Some((running, _)) = alive(&layout) {
            let elsewhere = self.name_of(spec)?.is_some_and(|it| it != running.netns);
            if running.boot == spec.boot && !elsewhere {
                return Ok(());
            }
            if elsewhere {
                tracing::warn!(instance.id = %spec.id, "its network was made anew: it is restarted");
            }
            self.end(&spec.id).await?;
        } else if let Some(ended) = load::<Ended>(&layout.ended())
            && let EndReason::Died { how: reason } = ended.reason
            && ended.boot == spec.boot
        {
            let id = spec.id.clone();
            return Err(InstanceError::Died { id, reason });
        }
        self.start(spec, &layout).await
    }

    /// The network namespace that it is to be in; `None` for one that makes its own.
    fn name_of(&self, spec: &InstanceSpec) -> Result<Option<NamespaceName>, InstanceError> {
        let doing = "looking at its network namespace";
        let Kind::Ordinary { netns } = &spec.kind else {
            return Ok(None);
        };
        netns
            .try_clone()
            .and_then(|fd| NamespaceName::of(&fs::File::from(fd)))
            .map(Some)
            .map_err(|source| io_error(&spec.id, doing, source))
    }

    async fn start(&self, spec: &InstanceSpec, layout: &Layout) -> Result<(), InstanceError> {
        self.observe(
            &spec.id,
            InstancePhase::Starting,
            spec.boot,
            self.0.config.clock.now(),
        );
        let started = self.try_start_repeatedly(spec, layout).await;
        let outcome = started
            .and_then(|()| alive(layout).ok_or_else(|| "its supervisor ended at once".to_owned()));
        match outcome {
            Ok((running, pidfd)) => {
                self.observe(
                    &spec.id,
                    InstancePhase::Running,
                    running.boot,
                    running.since,
                );
                self.watch_over(spec.id.clone(), running, pidfd);
                Ok(())
            }
            Err(reason) => {
                let phase = InstancePhase::Failed {
                    reason: reason.clone(),
                };
                self.observe(&spec.id, phase, spec.boot, self.0.config.clock.now());
                let id = spec.id.clone();
                Err(InstanceError::NotStarted { id, reason })
            }
        }
    }

    async fn try_start_repeatedly(
        &self,
        spec: &InstanceSpec,
        layout: &Layout,
    ) -> Result<(), String> {
        for pause in PAUSES {
            let Err(reason) = self.try_start_or_find(spec, layout).await else {
                return Ok(());
            };
            tracing::warn!(instance.id = %spec.id, reason, "an instance did not start: once more");
            tokio::time::sleep(pause).await;
        }
        self.try_start_or_find(spec, layout).await
    }

    /// A supervisor that an earlier Lath was just starting may be first.
    async fn try_start_or_find(&self, spec: &InstanceSpec, layout: &Layout) -> Result<(), String> {
        let started = self.try_start(spec, layout).await;
        if started.is_err() {
            self.await_half_started(layout).await;
            if alive(layout).is_some_and(|(running, _)| running.boot == spec.boot) {
                return Ok(());
            }
        }
        started
    }

    async fn try_start(&self, spec: &InstanceSpec, layout: &Layout) -> Result<(), String> {
        if node::is(spec.kind.confinement()) && self.0.rootless {
            return Err("nodes of clusters need a Lath that runs as root: a user namespace has no user ids for them".into());
        }
        let plan = self.plan(spec);
        let (launcher, at) = (self.0.config.launcher.clone(), layout.clone());
        let netns = match &spec.kind {
            Kind::Ordinary { netns } => Some(Arc::clone(netns)),
            Kind::Node => None,
        };
        let inner = Arc::clone(&self.0);
        let spawned = tokio::task::spawn_blocking(move || {
            for folder in [at.data(), at.run()] {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)?;
            }
            let lifeline = inner.lifeline.as_ref().map(|(reader, _)| reader);
            launcher::spawn(&launcher, &at, &plan, netns.as_deref(), lifeline)
        });
        let spawned = spawned.await.map_err(io::Error::other).flatten();
        let (mut child, status) = spawned.map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(START_TIMEOUT, read_line(status)).await;
        let reason = match answer {
            Ok(Ok(line)) if line == "ok" => return Ok(()),
            Ok(Ok(line)) if line.is_empty() => supervisor_log(layout),
            Ok(Ok(reason)) => reason,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not ready after {} s", START_TIMEOUT.as_secs()),
        };
        let groups = self.groups_of(&spec.id);
        let cleaned = tokio::task::spawn_blocking(move || {
            // Its death kills the instance's first process, if there is one.
            let _ = child.kill();
            let _ = child.wait();
            groups.kill_and_remove();
        });
        let _ = cleaned.await;
        Err(reason)
    }

    fn groups_of(&self, id: &WorkloadId) -> Groups {
        self.0.groups.below(&layout::folder_name(id))
    }

    /// Removes the control groups of instances that do not run: those whose records are lost with their files, and those
    /// that a busy host kept from being removed when the instance ended.
    pub async fn sweep_groups(&self) {
        let groups = self.0.groups.clone();
        let known = self.on_disk().unwrap_or_default();
        let living = known.iter().filter(|id| alive(&self.layout(id)).is_some());
        let living: Vec<String> = living.map(layout::folder_name).collect();
        let _ = tokio::task::spawn_blocking(move || groups.sweep(&living)).await;
    }

    fn plan(&self, spec: &InstanceSpec) -> BootPlan {
        let config = &self.0.config;
        BootPlan {
            id: spec.id.clone(),
            data_dir: config.data_dir.clone(),
            run_dir: config.run_dir.clone(),
            root: spec.root.clone(),
            hostname: spec.hostname.clone(),
            nameservers: spec.nameservers.clone(),
            search: spec.search.clone(),
            hosts: spec.hosts.clone(),
            authority: Arc::clone(&spec.authority),
            user_data: spec.user_data.clone(),
            boot: spec.boot,
            ssh_keys: spec.ssh_keys.clone(),
            limits: spec.limits,
            stop_grace: config.stop_grace,
            lifeline: config.lifeline,
            rootless: self.0.rootless,
            groups: match spec.kind {
                Kind::Ordinary { .. } => self.groups_of(&spec.id).undivided(),
                Kind::Node => self.groups_of(&spec.id),
            },
            setup: spec.setup.clone(),
            kind: spec.kind.confinement(),
        }
    }

    fn observe(&self, id: &WorkloadId, state: InstancePhase, boot: u64, since: Timestamp) {
        let new = InstanceObserved { state, boot, since };
        self.0.observed.send_if_modified(|all| {
            let same = all
                .get(id)
                .is_some_and(|old| old.state == new.state && old.boot == new.boot);
            if !same {
                all.insert(id.clone(), new);
            }
            !same
        });
    }

    /// Notices when an instance ends by itself.
    fn watch_over(&self, id: WorkloadId, running: Running, supervisor: OwnedFd) {
        let weak = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            if !readable(&supervisor).await {
                return;
            }
            reap(running.supervisor.pid);
            if let Some(inner) = weak.upgrade() {
                let instances = Self(inner);
                let turn = instances.turn(&id);
                let _turn = turn.lock().await;
                if instances.layout(&id).data().exists() {
                    instances.settle(&id);
                }
                // It may not have left its own group, where it could go nowhere.
                if alive(&instances.layout(&id)).is_none() {
                    let groups = running.groups;
                    let _ = tokio::task::spawn_blocking(move || groups.kill_and_remove()).await;
                }
            }
        });
    }

    fn layout(&self, id: &WorkloadId) -> Layout {
        Layout::new(&self.0.config.data_dir, &self.0.config.run_dir, id)
    }

    fn turn(&self, id: &WorkloadId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self
            .0
            .turns
            .lock()
            .expect("never poisoned: no panic under it");
        Arc::clone(turns.entry(id.clone()).or_default())
    }
}

/// The name of a data directory's control groups: two Laths never meet in one.
fn owner(data_dir: &Path) -> String {
    let path = data_dir.canonicalize();
    let path = path.unwrap_or_else(|_| data_dir.to_owned());
    // FNV-1a: the same in every version.
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("lath-{digest:016x}")
}

fn io_error(id: &WorkloadId, doing: &'static str, source: io::Error) -> InstanceError {
    let id = id.clone();
    InstanceError::Io { id, doing, source }
}

async fn read_line(pipe: OwnedFd) -> io::Result<String> {
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe)?;
    let mut text = String::new();
    pipe.take(16 * 1024).read_to_string(&mut text).await?;
    Ok(text.trim().to_owned())
}

fn supervisor_log(layout: &Layout) -> String {
    let log = fs::read_to_string(layout.run().join("supervisor.log")).unwrap_or_default();
    let said: String = log.trim().chars().take(1000).collect();
    if said.is_empty() {
        "its supervisor ended without a word".into()
    } else {
        said
    }
}

fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn empty(trash: &Path) {
    for entry in fs::read_dir(trash).into_iter().flatten().flatten() {
        if let Err(error) = crate::tree::remove(&entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "cannot delete a removed instance");
        }
    }
}
