//! The fabric of one host: a thread that owns the kernel's side, and handles to it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lath_model::WorkloadId;
use lath_model::id::VpcId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::apply::{ApplyReport, Known, apply_changes};
use crate::kernel::{LinuxKernel, Remembered};
use crate::netns::{Namespaces, Netns};
use crate::network::FabricNetwork;
use crate::plan::{HostPlan, NamespaceRef};
use crate::watch::Watch;

/// Where a fabric keeps its pins, and in whose name it acts.
#[derive(Debug, Clone)]
pub struct FabricConfig {
    /// Namespaces are pinned in `run_dir/netns`. One fabric per directory.
    pub run_dir: PathBuf,
    /// Marks what is this fabric's in the host's namespace: letters, digits and hyphens, at most 32.
    pub owner: String,
    /// The namespace that counts as the host's; `None`: the one that this process is in.
    pub host: Option<Netns>,
}

/// The fabric could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The owner's name cannot be part of kernel names.
    #[error("{0:?} is no owner: letters, digits and hyphens, at most 32")]
    Owner(String),
    /// The pins could not be read, or made.
    #[error("cannot keep network namespaces in {path}")]
    RunDirectory {
        /// The run directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the fabric's thread")]
    Thread(#[source] io::Error),
}

/// The fabric of one host. Dropping it leaves the network as it is, for a successor to adopt.
#[derive(Debug)]
pub struct Fabric {
    namespaces: Namespaces,
    network: FabricNetwork,
    /// `None` once it is being dropped.
    requests: Option<mpsc::UnboundedSender<Request>>,
    worker: Option<JoinHandle<()>>,
    repairs: watch::Receiver<u64>,
}

enum Request {
    Apply(Box<HostPlan>, bool, oneshot::Sender<ApplyReport>),
    HandOver(String, Netns, oneshot::Sender<io::Result<()>>),
    /// Others have changed something.
    Restore,
    RemoveDirectory(oneshot::Sender<io::Result<()>>),
}

impl Fabric {
    /// Opens the fabric and finds what a predecessor left.
    ///
    /// # Errors
    /// When the run directory cannot hold pins or a thread cannot be started.
    pub fn open(config: FabricConfig) -> Result<Self, OpenError> {
        Self::adopt(config, &BTreeMap::new())
    }

    /// As [`Fabric::open`]; and what is known of namespaces by the processes in them, by the names that plans
    /// give them, counts before what is pinned.
    ///
    /// # Errors
    /// As [`Fabric::open`].
    pub fn adopt(
        config: FabricConfig,
        inhabited: &BTreeMap<String, Netns>,
    ) -> Result<Self, OpenError> {
        if !is_owner(&config.owner) {
            return Err(OpenError::Owner(config.owner));
        }
        let at_run_dir = |source| OpenError::RunDirectory {
            path: config.run_dir.clone(),
            source,
        };
        let host = config
            .host
            .clone()
            .map_or_else(Netns::current, Ok)
            .map_err(at_run_dir)?;
        // A namespace and each socket in it take a descriptor. The lower limit serves small hosts.
        let _ = lath_net::descriptors::raise();
        let namespaces = Namespaces::open(&config.run_dir, host, inhabited).map_err(at_run_dir)?;
        let network = FabricNetwork::start(namespaces.clone(), config.host.is_some())
            .map_err(OpenError::Thread)?;
        let former = config.run_dir.join("host-sysctls");
        let former = Remembered::open(former).map_err(at_run_dir)?;
        let table = host_table(&config.owner);
        let (sender, requests) = mpsc::unbounded_channel();
        let weak = sender.downgrade();
        let restoring = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&restoring);
        let watch = Watch::start(move || {
            if !asked.swap(true, Ordering::AcqRel) {
                // Without a fabric there is nothing to restore.
                let _ = weak.upgrade().map(|sender| sender.send(Request::Restore));
            }
        });
        let watch = watch.map_err(OpenError::Thread)?;
        let (owner, names) = (config.owner.clone(), namespaces.clone());
        let kernel = LinuxKernel::new(names, owner, table, former, watch);
        let (repairs_tx, repairs) = watch::channel(0);
        let worker = Worker::new(kernel, namespaces.clone(), repairs_tx, restoring);
        let worker = worker.start(requests).map_err(OpenError::Thread)?;
        Ok(Self {
            namespaces,
            network,
            requests: Some(sender),
            worker: Some(worker),
            repairs,
        })
    }

    /// Changes each time that the fabric found something disturbed by others, and restored it as far as it
    /// could, or that the host's own addresses or default routes changed: apply again to learn what the kernel has.
    pub fn repairs(&self) -> watch::Receiver<u64> {
        self.repairs.clone()
    }

    fn send(&self, request: Request) -> bool {
        let sender = self.requests.as_ref();
        sender.is_some_and(|sender| sender.send(request).is_ok())
    }

    /// Makes the host what the plan says. What this fabric made true within the last [`AUDIT`] is taken
    /// to be so still; all else is compared with the kernel. Cancelling the future does not stop it.
    pub async fn apply(&self, plan: &HostPlan) -> ApplyReport {
        self.request(plan, false).await
    }

    /// As [`Fabric::apply`], but everything is compared with the kernel.
    pub async fn audit(&self, plan: &HostPlan) -> ApplyReport {
        self.request(plan, true).await
    }

    async fn request(&self, plan: &HostPlan, audit: bool) -> ApplyReport {
        let (answer, report) = oneshot::channel();
        let request = Request::Apply(Box::new(plan.clone()), audit, answer);
        let failed = || ApplyReport {
            host: Some(STOPPED.into()),
            ..ApplyReport::default()
        };
        if !self.send(request) {
            return failed();
        }
        report.await.unwrap_or_else(|_| failed())
    }

    /// Removes everything of this owner: namespaces, links, tables, pins.
    ///
    /// # Errors
    /// What could not be removed, and why.
    pub async fn remove_all(&self) -> io::Result<()> {
        let report = self.audit(&HostPlan::default()).await;
        if !report.is_complete() {
            return Err(io::Error::other(format!(
                "{:?} {:?}",
                report.host, report.leftovers
            )));
        }
        let (answer, outcome) = oneshot::channel();
        let stopped = || io::Error::other(STOPPED);
        if !self.send(Request::RemoveDirectory(answer)) {
            return Err(stopped());
        }
        outcome.await.map_err(|_| stopped())?
    }

    /// A factory for sockets in VPCs and on the host. It goes on working while `apply` changes them.
    pub fn network(&self) -> FabricNetwork {
        self.network.clone()
    }

    /// Takes the network namespace that a workload's runtime made, where the plan says that it is handed over
    /// ([`Namespace::handed_over`]), and wires it at once. The runtime hands it over again when it makes another one, and
    /// after a plan that did not name the workload. The same one again changes nothing.
    ///
    /// # Errors
    /// `NotFound` when the newest applied plan does not hand this workload over; `PermissionDenied` for a namespace that
    /// is the host's or another workload's, that no user namespace below this process's owns, or that may not be entered;
    /// or why it cannot be pinned.
    ///
    /// [`Namespace::handed_over`]: crate::plan::Namespace::handed_over
    pub async fn hand_over(&self, id: &WorkloadId, netns: OwnedFd) -> io::Result<()> {
        let (answer, outcome) = oneshot::channel();
        let stopped = || io::Error::other(STOPPED);
        let name = id.as_str().to_owned();
        if !self.send(Request::HandOver(name, netns.into(), answer)) {
            return Err(stopped());
        }
        outcome.await.map_err(|_| stopped())?
    }

    /// The network namespace of a workload, for the runtime that starts its processes.
    ///
    /// # Errors
    /// `NotFound` until an `apply` has made it, or it was handed over.
    pub fn workload_netns(&self, id: &WorkloadId) -> io::Result<OwnedFd> {
        self.namespaces
            .get(&NamespaceRef::Named(id.as_str().to_owned()))?
            .to_fd()
    }

    /// The network namespace of that name: of a transit gateway by its id, or of the WAN's parts.
    ///
    /// # Errors
    /// `NotFound` until an `apply` has made it.
    pub fn netns(&self, name: &str) -> io::Result<OwnedFd> {
        self.namespaces
            .get(&NamespaceRef::Named(name.to_owned()))?
            .to_fd()
    }

    /// The network namespace of a VPC's router.
    ///
    /// # Errors
    /// `NotFound` until an `apply` has made it.
    pub fn router_netns(&self, id: &VpcId) -> io::Result<OwnedFd> {
        self.namespaces
            .get(&NamespaceRef::Named(id.as_str().to_owned()))?
            .to_fd()
    }
}

const STOPPED: &str = "the fabric's thread has stopped";

/// The name of the host's table, which carries its owner's.
pub(crate) fn host_table(owner: &str) -> String {
    format!("lath_{}", owner.replace('-', "_"))
}

fn is_owner(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// How long a thing that was made true is taken to be so: others may change the kernel's state, and the
/// next apply after this time finds it.
pub const AUDIT: Duration = Duration::from_secs(20);

impl Drop for Fabric {
    /// The thread gives up its hold on the firewalls when it ends: a successor may begin after that.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(worker) = self.worker.take() {
            let _a_panic_was_reported_already = worker.join();
        }
    }
}

/// The thread's own state.
struct Worker {
    kernel: LinuxKernel,
    namespaces: Namespaces,
    /// What the newest apply was asked for.
    plan: Option<HostPlan>,
    known: Known,
    audited: Option<Instant>,
    repairs: watch::Sender<u64>,
    /// Whether a [`Request::Restore`] waits: at most one does, however much is disturbed.
    restoring: Arc<AtomicBool>,
}

impl Worker {
    fn new(
        kernel: LinuxKernel,
        namespaces: Namespaces,
        repairs: watch::Sender<u64>,
        restoring: Arc<AtomicBool>,
    ) -> Self {
        Self {
            kernel,
            namespaces,
            plan: None,
            known: Known::default(),
            audited: None,
            repairs,
            restoring,
        }
    }

    /// The thread ends when the last handle is dropped.
    fn start(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
    ) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("lath-fabric".into())
            .spawn(move || {
                if let Err(error) = self.kernel.listen() {
                    tracing::warn!(%error, "changes of the network by others are found late");
                }
                while let Some(request) = requests.blocking_recv() {
                    // What is asked for comes before what others disturb.
                    while matches!(request, Request::Restore)
                        && let Ok(asked) = requests.try_recv()
                    {
                        self.obey(asked);
                    }
                    self.obey(request);
                }
            })
    }

    /// A caller that went away has no use for the answer.
    fn obey(&mut self, request: Request) {
        match request {
            Request::Apply(plan, audit, answer) => drop(answer.send(self.apply(*plan, audit))),
            Request::HandOver(name, netns, answer) => {
                drop(answer.send(self.hand_over(&name, netns)))
            }
            Request::Restore => self.restore(),
            Request::RemoveDirectory(answer) => {
                drop(answer.send(self.namespaces.remove_directory()))
            }
        }
    }

    fn apply(&mut self, plan: HostPlan, audit: bool) -> ApplyReport {
        if audit || self.audited.is_none_or(|at| at.elapsed() >= AUDIT) {
            self.known = Known::default();
            self.audited = Some(Instant::now());
        }
        self.plan = Some(plan.clone());
        self.notice();
        self.make(plan)
    }

    fn hand_over(&mut self, name: &str, netns: Netns) -> io::Result<()> {
        let plan = self.plan.as_ref();
        let Some(plan) = plan.filter(|plan| plan.handed_over().any(|id| id.as_str() == name))
        else {
            let words = format!("no plan says that the network of {name} is handed over");
            return Err(io::Error::new(io::ErrorKind::NotFound, words));
        };
        let plan = plan.clone();
        if self.kernel.hand_over(name, netns)? {
            self.known.doubt(&NamespaceRef::Named(name.to_owned()));
            self.make(plan);
            // The node learns what there is now.
            self.repairs.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// What others have changed is not known any more. Whether there was anything.
    fn notice(&mut self) -> bool {
        let disturbed = self.kernel.disturbed();
        if disturbed.pins {
            self.pin_again();
        }
        if disturbed.outside {
            self.repairs.send_modify(|count| *count += 1);
        }
        for place in &disturbed.places {
            self.known.doubt(place);
        }
        !disturbed.places.is_empty()
    }

    fn pin_again(&mut self) {
        match self.namespaces.pin_again() {
            Ok(names) if names.is_empty() => {}
            Ok(names) => tracing::warn!(?names, "pins were removed by others: made again"),
            Err(error) => tracing::warn!(%error, "pins were removed by others, and cannot be made"),
        }
    }

    fn restore(&mut self) {
        self.restoring.store(false, Ordering::Release);
        if !self.notice() {
            return;
        }
        let Some(plan) = self.plan.clone() else {
            return;
        };
        let report = self.make(plan);
        if !report.done.is_empty() || !report.is_complete() {
            tracing::debug!(done = ?report.done, "the network was changed by others, and restored");
            self.repairs.send_modify(|count| *count += 1);
        }
    }

    fn make(&mut self, plan: HostPlan) -> ApplyReport {
        let mut report = apply_changes(&mut self.kernel, &plan, &self.known);
        self.kernel.rest();
        if let Err(e) = self.kernel.restore(&plan.host) {
            report
                .host
                .get_or_insert_with(|| format!("sysctls cannot be given back: {e}"));
        }
        self.known = Known::after(plan, &report);
        report
    }
}

/// The usual run directory below a data directory.
pub fn run_dir(data: &Path) -> PathBuf {
    data.join("run")
}
