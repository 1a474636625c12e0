use std::sync::Arc;

use lath_feed::Snapshot;
use lath_store::View;
use tokio::sync::watch;

use crate::Cell;

/// A service's part of the snapshot: a pure function of the state.
pub type Contribute = fn(&Cell, &View, &mut Snapshot);

/// Publishes a new snapshot whenever the state changes, until the database or every reader is gone.
pub async fn publish(
    cell: Cell,
    contributions: Vec<Contribute>,
    feed: watch::Sender<Arc<Snapshot>>,
) {
    let mut changes = cell.db.changes();
    loop {
        changes.borrow_and_update();
        let next = compile(&cell, &cell.db.view(), &contributions, &feed.borrow());
        feed.send_replace(Arc::new(next));
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The snapshot that a state amounts to. Items that are equal in `previous` keep their `Arc`s.
pub fn compile(
    cell: &Cell,
    view: &View,
    contributions: &[Contribute],
    previous: &Snapshot,
) -> Snapshot {
    let mut next = Snapshot {
        version: view.revision(),
        region: cell.region.clone(),
        account: cell.account.clone(),
        topology: Arc::clone(&cell.topology),
        ..Snapshot::default()
    };
    for contribute in contributions {
        contribute(cell, view, &mut next);
    }
    next.share_with(previous);
    next
}
