use std::sync::Arc;

use lath_feed::Snapshot;
use lath_store::View;
use tokio::sync::watch;

use crate::{Cell, Derive, Derived, derive_into};

/// A service's part of the snapshot: a pure function of the state.
pub type Contribute = Derive<Snapshot>;

/// Compiles snapshots, one after another: what a next one costs is what changed.
pub struct Publisher {
    derived: Derived<Snapshot>,
    newest: Arc<Snapshot>,
}

impl Publisher {
    /// A publisher that has not compiled anything yet.
    pub fn new(cell: &Cell, contributions: &[Contribute]) -> Self {
        Self {
            derived: Derived::new(cell, contributions, blank(cell)),
            newest: Arc::default(),
        }
    }

    /// The snapshot that a state amounts to. Items that are equal in the one before keep their `Arc`s.
    pub fn compile(&mut self, view: &View) -> Arc<Snapshot> {
        let mut next = self.derived.follow(view).clone();
        next.version = view.revision();
        next.share_with(&self.newest);
        // What is derived next is compared with what readers have.
        *self.derived.value_mut() = next.clone();
        self.newest = Arc::new(next);
        Arc::clone(&self.newest)
    }

    /// Publishes a new snapshot whenever the state changes, until the database or every reader is gone.
    pub async fn publish(mut self, cell: Cell, feed: watch::Sender<Arc<Snapshot>>) {
        let mut changes = cell.db.changes();
        loop {
            changes.borrow_and_update();
            feed.send_replace(self.compile(&cell.db.view()));
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The snapshot that a state amounts to, compiled of nothing.
pub fn compile(cell: &Cell, view: &View, contributions: &[Contribute]) -> Snapshot {
    let mut snapshot = blank(cell);
    snapshot.version = view.revision();
    derive_into(cell, contributions, view, &mut snapshot);
    snapshot
}

fn blank(cell: &Cell) -> Snapshot {
    Snapshot {
        region: cell.region.clone(),
        account: cell.account.clone(),
        topology: Arc::clone(&cell.topology),
        authority: cell
            .authority
            .as_ref()
            .map(|it| it.root_pem().into())
            .unwrap_or_default(),
        ..Snapshot::default()
    }
}
