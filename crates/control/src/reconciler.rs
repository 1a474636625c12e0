use std::future::Future;
use std::time::Duration;

use lath_tasks::Group;
use tokio_util::sync::CancellationToken;

use crate::Cell;

/// Runs a reconciler in `group`, until the group is stopped: at once, whenever the state or what nodes observe changed, and at
/// least every `period`. `pass` takes no input: it compares intended with actual, and doing it twice is the same as doing it once.
pub fn spawn_reconciler<F, Fut>(
    group: &mut Group,
    cell: Cell,
    name: &'static str,
    period: Duration,
    pass: F,
) where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), lath_wire::ApiError>> + Send + 'static,
{
    let stop = group.token();
    group.spawn(name, run_reconciler(cell, name, period, stop, pass));
}

async fn run_reconciler<F, Fut>(
    cell: Cell,
    name: &'static str,
    period: Duration,
    stop: CancellationToken,
    pass: F,
) where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), lath_wire::ApiError>>,
{
    let mut changes = cell.db.changes();
    let mut observed = cell.observed.clone();
    loop {
        changes.borrow_and_update();
        observed.borrow_and_update();
        if let Err(error) = pass().await {
            tracing::error!(reconciler = name, %error, cause = ?error.cause, "a pass failed; it will be repeated");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
            gone = changes.changed() => if gone.is_err() { return },
            Ok(()) = observed.changed() => {}
        }
    }
}
