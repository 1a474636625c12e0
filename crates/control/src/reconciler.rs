use std::future::Future;
use std::time::Duration;

use lath_tasks::Group;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

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
        let passing = pass();
        let one = async move {
            if let Err(error) = passing.await {
                tracing::error!(%error, cause = ?error.cause, "a pass failed; it will be repeated");
            }
        };
        one.instrument(tracing::error_span!("pass", reconciler = name))
            .await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
            gone = changes.changed() => if gone.is_err() { return },
            Ok(()) = observed.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use lath_wire::ApiError;
    use tokio::time::{Instant, sleep};

    const PERIOD: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_pass_is_repeated_after_its_period_whether_it_failed_or_not() {
        let (cell, _observed) = Cell::for_test();
        let passes = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&passes);
        let mut group = Group::new("tests");
        spawn_reconciler(&mut group, cell.clone(), "counting", PERIOD, move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match number {
                    0 => Err(ApiError::internal("not yet")),
                    _ => Ok(()),
                }
            }
        });
        let begin = Instant::now();
        let after = async |seconds| {
            tokio::time::sleep_until(begin + Duration::from_secs(seconds)).await;
            passes.load(Ordering::Relaxed)
        };
        assert_eq!(after(29).await, 1);
        assert_eq!(after(31).await, 2);
        assert_eq!(after(61).await, 3);
        // A change of the state is not waited for.
        let written = cell.db.write(|tx| {
            tx.put(crate::Claim {
                resource: "a".into(),
                holder: "b".into(),
            });
            Ok::<_, ApiError>(())
        });
        written.await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(passes.load(Ordering::Relaxed), 4);
        let _ = group.stop().await;
    }
}
