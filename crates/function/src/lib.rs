//! Functions on a node: execution environments, the Runtime API that programs in them speak, and invocations.
//!
//! [`Functions`] is a handle that runs invocations; [`Supervisor`] is the one task that knows which environments there are. An
//! environment is a workload of [`lath_instance`] with a network of its own in which there is the Runtime API and nothing
//! else; it runs one invocation at a time, waits for the next one for a while, and is used up when it fails. Environments
//! end with the process that made them: what an earlier one left is removed before anything else happens.
//!
//! A function that is not known, or whose environments cannot be made, is said not to be ready; everything that its own
//! program does wrong is an answer of it, in the words of Lambda.

mod environment;
mod failure;
mod house;
mod log;
mod runtime;
mod runtime_api;
mod supervisor;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use lath_clock::Clock;
use lath_code::Archives;
use lath_feed::{FUNCTION_ARCHIVES, FunctionObserved, Invocation, Invoke, Invoked};
use lath_instance::{Instances, InstancesConfig};
use tokio::sync::{mpsc, oneshot, watch};

pub use supervisor::Supervisor;

/// Functions as a node sees them, by their names.
pub type FunctionsObserved = Arc<BTreeMap<String, FunctionObserved>>;

/// Where functions have their files.
#[derive(Debug, Clone)]
pub struct FunctionsConfig {
    /// The region's data directory, which has the archives of functions too.
    pub data_dir: PathBuf,
    /// What is lost with the machine's memory.
    pub run_dir: PathBuf,
    /// The wall clock, of events' deadlines and of logs.
    pub clock: Clock,
}

/// Invocations that wait to be looked at.
const QUEUE: usize = 1024;

/// A handle: runs functions by the supervisor.
#[derive(Debug, Clone)]
pub struct Functions(mpsc::Sender<Asked>);

/// An invocation and who waits for its end.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) invocation: Invocation,
    pub(crate) answer: oneshot::Sender<Invoked>,
}

impl Functions {
    /// Removes what an earlier process left of environments. The supervisor must be run for anything to happen.
    ///
    /// # Errors
    /// When a directory cannot be used.
    pub async fn open(config: FunctionsConfig) -> anyhow::Result<(Self, Supervisor)> {
        let data = config.data_dir.join("functions");
        let mut own = InstancesConfig::new(&data, config.run_dir.join("functions"));
        // Nothing in them is worth finding again.
        own.lifeline = true;
        own.clock = config.clock.clone();
        own.stop_grace = std::time::Duration::from_millis(500);
        let instances = Instances::open(own)
            .await
            .context("environments of functions cannot be managed")?;
        for id in instances.list()? {
            instances.ensure_killed(&id).await?;
            instances.ensure_absent(&id).await?;
        }
        let unpacked = data.join("unpacked");
        // Not trusted: a machine that lost its power may have it in part.
        let stale = unpacked.clone();
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(stale));
        match removed.await? {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("unpacked code of functions cannot be removed");
            }
            _ => {}
        }
        let (asked, queue) = mpsc::channel(QUEUE);
        let archives = Archives::at(config.data_dir.join(FUNCTION_ARCHIVES));
        let supervisor = Supervisor::new(instances, archives, (unpacked, config.clock), queue);
        Ok((Self(asked), supervisor))
    }
}

#[async_trait]
impl Invoke for Functions {
    async fn invoke(&self, invocation: Invocation) -> Invoked {
        let (answer, answered) = oneshot::channel();
        match self.0.try_send(Asked { invocation, answer }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Invoked::Throttled { reserved: false };
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return not_ready("the node is ending"),
        }
        answered
            .await
            .unwrap_or_else(|_| not_ready("the node is ending"))
    }
}

pub(crate) fn not_ready(reason: impl Into<String>) -> Invoked {
    Invoked::NotReady {
        reason: reason.into(),
    }
}

/// What the supervisor tells of functions.
pub(crate) fn observed() -> (
    watch::Sender<FunctionsObserved>,
    watch::Receiver<FunctionsObserved>,
) {
    watch::channel(FunctionsObserved::default())
}
