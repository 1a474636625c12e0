//! What the node observes becomes what callers see; sessions of roles are renewed; code that nothing uses goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lath_control::{Group, spawn_reconciler};
use lath_feed::{Condition, Observed};
use lath_model::Timestamp;
use lath_store::Tx;
use lath_wire::ApiError;

use crate::record::Function;
use crate::shape::{LastUpdateStatus, State};
use crate::{Lambda, blocking, roles};

/// How often to look when nothing woke us.
const PERIOD: Duration = Duration::from_secs(30);
/// How often archives are looked at, in milliseconds.
const SWEEP: i64 = 600_000;

/// Starts what turns observations into states.
pub fn reconcilers(app: &Arc<Lambda>, group: &mut Group) {
    let swept = Arc::new(AtomicI64::new(0));
    let (own, cell) = (Arc::clone(app), app.cell.clone());
    let pass = move || {
        let (app, swept) = (Arc::clone(&own), Arc::clone(&swept));
        async move {
            let now = app.cell.now();
            pass_at(&app, now).await?;
            let last = swept.load(Ordering::Relaxed);
            if now.as_millis().saturating_sub(last) >= SWEEP {
                swept.store(now.as_millis(), Ordering::Relaxed);
                sweep(&app).await?;
            }
            Ok(())
        }
    };
    spawn_reconciler(group, cell, "lambda", PERIOD, pass);
}

/// Does what is to be done now; doing it twice is the same as doing it once.
///
/// # Errors
/// When the state cannot be written.
pub(crate) async fn pass_at(app: &Lambda, now: Timestamp) -> Result<(), ApiError> {
    let observed = Arc::clone(&app.cell.observed.borrow());
    // A transaction that changes nothing writes nothing and wakes no reader.
    app.cell
        .db
        .write(|tx| {
            advance(app, tx, &observed, now);
            Ok(())
        })
        .await
}

fn advance(app: &Lambda, tx: &mut Tx, observed: &Observed, now: Timestamp) {
    let all: Vec<Arc<Function>> = tx.view().list::<Function>().collect();
    for known in all {
        let mut next = Function::clone(&known);
        let seen = observed.functions.get(&known.name);
        let seen =
            seen.filter(|it| it.unique_id == known.unique_id && it.revision == known.revision);
        match seen.map(|it| &it.condition) {
            Some(Condition::Ready { .. }) => {
                next.state = State::Active;
                next.update = LastUpdateStatus::Successful;
                next.reason = None;
            }
            Some(Condition::Failed { reason }) => {
                // One that worked goes on with what it had.
                if next.state != State::Active {
                    next.state = State::Failed;
                }
                next.update = LastUpdateStatus::Failed;
                next.reason = Some(reason.clone());
            }
            None => {}
        }
        let session = known.session.as_ref();
        next.session = roles::session(&app.cell, tx.view(), &known.role, &known.name, session, now);
        if next != *known {
            tx.put(next);
        }
    }
}

/// Removes archives that no function uses.
async fn sweep(app: &Lambda) -> Result<(), ApiError> {
    let view = app.cell.db.view();
    let used: BTreeSet<String> = view.list::<Function>().map(|it| it.code.clone()).collect();
    let (archives, now) = (app.archives.clone(), app.cell.db.clock().system_time());
    let swept = blocking(move || archives.sweep(now, |digest| used.contains(digest.as_str())));
    if let Err(error) = swept.await? {
        tracing::warn!(%error, "archives of code that nothing uses cannot be removed");
    }
    Ok(())
}
