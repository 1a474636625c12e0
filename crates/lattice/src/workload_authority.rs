//! What certifies the region's workloads, in extended mode: an authority below the installation's root, short-lived and renewed in
//! time, whose key the nodes of the region have: they give instances and pods their certificates while control is dead.

use std::time::Duration;

use lath_control::{Cell, Mode};
use lath_feed as feed;
use lath_model::Timestamp;
use lath_store::View;
use lath_wire::ApiError;

use crate::certificate::pem;
use crate::record::{GENERATED, WorkloadAuthority};

/// How long it is valid. It is replaced when half of that is left: control may be dead for a week.
const LIFETIME: Duration = Duration::from_secs(14 * 86400);

/// What nodes are told.
pub(crate) fn in_feed(cell: &Cell, view: &View) -> Option<feed::WorkloadAuthority> {
    let authority = cell.authority.as_ref()?;
    let record = view.get::<WorkloadAuthority>(GENERATED)?;
    if cell.mode == Mode::Strict {
        return None;
    }
    let key = authority.unseal(&record.key)?;
    Some(feed::WorkloadAuthority {
        certificate: feed::Certificate {
            chain: record.chain.clone(),
            key: feed::Hidden(key.reveal_pem().to_string()),
        },
        trust_domain: authority.trust_domain(),
    })
}

/// Makes it, and anew before it ends.
///
/// # Errors
/// When the state cannot be written.
pub(crate) async fn renew(cell: &Cell, now: Timestamp) -> Result<(), ApiError> {
    let Some(authority) = cell
        .authority
        .as_ref()
        .filter(|_| cell.mode == Mode::Extended)
    else {
        return Ok(());
    };
    let known = cell.db.view().get::<WorkloadAuthority>(GENERATED);
    let is_fresh = |known: &WorkloadAuthority| {
        let opens = authority.unseal(&known.key).is_some();
        opens && known.not_after.since(now) >= LIFETIME / 2
    };
    if known.as_deref().is_some_and(is_fresh) {
        return Ok(());
    }
    let made = match authority.workload_authority(&cell.region, LIFETIME, now) {
        Ok(made) => made,
        Err(error) => {
            tracing::error!(%error, "the authority of workloads cannot be made");
            return Ok(());
        }
    };
    let record = WorkloadAuthority {
        chain: pem(&made.chain),
        key: authority.seal(&made.key),
        not_after: made.not_after,
    };
    cell.db
        .write(|tx| {
            tx.put(record);
            Ok(())
        })
        .await
}
