//! What regions tell one another: the home its zones and checks, the others how far they serve them.

use std::sync::Arc;
use std::time::Duration;

use lath_control::{Cell, Section, run_reconciler};
use lath_feed as feed;
use lath_store::{StoreError, Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::contribute::Checks;
use crate::record::{Acknowledged, Copied, ONLY};
use crate::{Route53, change, contribute, copy};

/// How often the reconciler looks when nothing wakes it.
const PERIOD: Duration = Duration::from_secs(30);

/// From home to the others, and back.
pub const SECTIONS: [Section; 2] = [
    Section {
        name: "route53",
        export,
        import,
    },
    Section {
        name: "route53-ack",
        export: export_served,
        import: import_served,
    },
];

/// All that nodes need, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exported {
    pub(crate) serial: u64,
    pub(crate) zones: Vec<feed::HostedZone>,
    pub(crate) checks: Vec<feed::Route53HealthCheck>,
}

fn export(cell: &Cell, view: &View) -> Option<Vec<u8>> {
    if !cell.topology.is_home() {
        return None;
    }
    let exported = Exported {
        serial: change::serial(view),
        zones: contribute::zones(view).into_values().collect(),
        checks: contribute::checks(view).into_values().collect(),
    };
    serde_json::to_vec(&exported).ok()
}

fn import(cell: &Cell, tx: &mut Tx, region: &str, bytes: &[u8]) -> Result<(), ApiError> {
    if region != cell.topology.home || cell.topology.is_home() {
        return Ok(());
    }
    let told: Exported = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    let checks: Checks = told
        .checks
        .into_iter()
        .map(|check| (check.id.clone(), check))
        .collect();
    let differs = copy::replace(tx, told.zones, checks);
    let known = tx.get::<Copied>(ONLY);
    if differs
        || known
            .as_ref()
            .is_none_or(|known| known.serial != told.serial)
    {
        let revision = tx.view().revision() + 1;
        tx.put(Copied {
            serial: told.serial,
            revision,
            served: known.map_or(0, |known| known.served.min(told.serial)),
        });
    }
    Ok(())
}

fn export_served(cell: &Cell, view: &View) -> Option<Vec<u8>> {
    if cell.topology.is_home() {
        return None;
    }
    let copied = view.get::<Copied>(ONLY)?;
    serde_json::to_vec(&copied.served).ok()
}

fn import_served(cell: &Cell, tx: &mut Tx, region: &str, bytes: &[u8]) -> Result<(), ApiError> {
    if !cell.topology.is_home() {
        return Ok(());
    }
    let serial = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    tx.put(Acknowledged {
        region: region.to_owned(),
        serial,
    });
    Ok(())
}

/// Starts what notes, elsewhere than at home, how far the region's node serves the copy.
pub fn reconcilers(app: &Arc<Route53>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
    if app.cell.topology.is_home() {
        return;
    }
    let cell = app.cell.clone();
    let pass = move || note_served(cell.clone());
    tasks.spawn(run_reconciler(
        app.cell.clone(),
        "route53",
        PERIOD,
        stop.clone(),
        pass,
    ));
}

pub(crate) async fn note_served(cell: Cell) -> Result<(), ApiError> {
    let served = cell.observed.borrow().dns_version;
    let behind = |copied: &Copied| copied.served != copied.serial && served >= copied.revision;
    if cell
        .db
        .view()
        .get::<Copied>(ONLY)
        .is_some_and(|copied| behind(&copied))
    {
        let write = cell.db.write(|tx| {
            if let Some(copied) = tx.get::<Copied>(ONLY).filter(|copied| behind(copied)) {
                tx.put(Copied {
                    served: copied.serial,
                    ..Copied::clone(&copied)
                });
            }
            Ok::<_, StoreError>(())
        });
        write.await.map_err(ApiError::from)?;
    }
    Ok(())
}
