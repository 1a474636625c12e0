//! What nodes observe becomes what callers see: clusters turn `ACTIVE` when their API servers answer, node groups when
//! their nodes are ready, and go when nothing of them is left. Groups launch, drain and terminate instances here.

mod branches;
mod cluster;
mod group;
pub(crate) mod scaling;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{Group, spawn_reconciler};
use lath_model::Timestamp;
use lath_wire::ApiError;
use tokio::sync::Mutex;

use crate::Eks;

/// How often to look when nothing woke us: drain times end without an event.
const PERIOD: Duration = Duration::from_secs(2);

/// Starts what turns observations into states.
pub fn reconcilers(app: &Arc<Eks>, group: &mut Group) {
    let reconciler = Arc::new(Reconciler::new(Arc::clone(app)));
    let pass = move || {
        let reconciler = Arc::clone(&reconciler);
        async move { reconciler.pass().await }
    };
    let cell = app.cell.clone();
    spawn_reconciler(group, cell, "eks", PERIOD, pass);
}

/// What is remembered from pass to pass. Lost with the process, which only gives things more time.
#[derive(Default)]
struct Memory {
    /// Since when clusters that are being made or changed have been failing.
    failing: BTreeMap<String, Timestamp>,
    /// When groups whose instances did not live may launch the next.
    launch_after: BTreeMap<String, Timestamp>,
    /// Since when nodes have been ready, and empty.
    since: scaling::Since,
}

/// Compares what is recorded with what is observed.
pub(crate) struct Reconciler {
    app: Arc<Eks>,
    memory: Mutex<Memory>,
}

impl Reconciler {
    pub(crate) fn new(app: Arc<Eks>) -> Self {
        Self {
            app,
            memory: Mutex::default(),
        }
    }

    /// Does what is to be done now; doing it twice is the same as doing it once.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub(crate) async fn pass(&self) -> Result<(), ApiError> {
        let now = self.app.cell.now();
        let observed = Arc::clone(&self.app.cell.observed.borrow());
        let mut memory = self.memory.lock().await;
        let memory = &mut *memory;
        // A transaction that changes nothing writes nothing and wakes no reader.
        self.app
            .cell
            .db
            .write(|tx| {
                cluster::advance(tx, &observed, &mut memory.failing, now);
                scaling::advance(&self.app.cell, tx, &observed, &mut memory.since, now);
                group::advance(&self.app.cell, tx, &observed, &mut memory.launch_after, now);
                branches::advance(&self.app.cell, tx, &observed);
                Ok(())
            })
            .await
    }
}
