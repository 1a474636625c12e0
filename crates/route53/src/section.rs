//! What regions tell one another: the home its zones and checks, the others how far they serve them.

use std::sync::Arc;
use std::time::Duration;

use lath_control::{Cell, Derive, Group, Parts, Section, Told, set_only, spawn_reconciler};
use lath_store::{Record, StoreError, Tx, View};
use lath_wire::ApiError;
use serde::Serialize;

use crate::copy::{CHECKS, RECORDS, ZONES};
use crate::record::{Acknowledged, Copied, HealthCheck, ONLY, StoredSet, Zone};
use crate::{Route53, change, contribute, copy};

/// How often the reconciler looks when nothing wakes it.
const PERIOD: Duration = Duration::from_secs(30);

/// From home to the others, and back.
pub const SECTIONS: [Section; 2] = [
    Section {
        name: "route53",
        export: &[
            Derive::Each {
                kind: Zone::KIND,
                make: |cell, view, id, parts| {
                    set(cell, parts, ZONES, id, contribute::fed_zone(view, id));
                },
            },
            Derive::Keyed {
                kind: StoredSet::KIND,
                index: "name",
                make: |cell, view, key, parts| {
                    set(
                        cell,
                        parts,
                        RECORDS,
                        key,
                        contribute::fed_records(view, key),
                    );
                },
            },
            Derive::Each {
                kind: HealthCheck::KIND,
                make: |cell, view, id, parts| {
                    set(cell, parts, CHECKS, id, contribute::fed_check(view, id));
                },
            },
            Derive::Whole(|cell, view, parts| {
                set(cell, parts, SERIAL, "", Some(change::serial(view)));
            }),
        ],
        import,
    },
    Section {
        name: "route53-ack",
        export: &[Derive::Whole(export_served)],
        import: import_served,
    },
];

/// The part that is the home's newest change.
const SERIAL: &str = "serial";

/// Makes a part be this, at home; the others have none.
fn set<T: Serialize>(cell: &Cell, parts: &mut Parts, prefix: &str, id: &str, value: Option<T>) {
    let value = value.filter(|_| cell.topology.is_home());
    let bytes = value.and_then(|value| serde_json::to_vec(&value).ok());
    let part = format!("{prefix}{id}");
    match bytes {
        Some(bytes) => drop(parts.insert(part, bytes.into())),
        None => drop(parts.remove(&part)),
    }
}

/// What changed together was told together: with the serial comes all that it stands for.
fn import(cell: &Cell, tx: &mut Tx, region: &str, told: &Told) -> Result<(), ApiError> {
    if region != cell.topology.home || cell.topology.is_home() {
        return Ok(());
    }
    let differs = copy::take(tx, told)?;
    let known = tx.get::<Copied>(ONLY);
    let serial = match told.parts.get(SERIAL) {
        Some(Some(bytes)) => serde_json::from_slice(bytes).map_err(ApiError::internal)?,
        _ => known.as_ref().map_or(0, |known| known.serial),
    };
    if differs || known.as_ref().is_none_or(|known| known.serial != serial) {
        let revision = tx.view().revision() + 1;
        tx.put(Copied {
            serial,
            revision,
            served: known.map_or(0, |known| known.served.min(serial)),
        });
    }
    Ok(())
}

fn export_served(cell: &Cell, view: &View, parts: &mut Parts) {
    let copied = view
        .get::<Copied>(ONLY)
        .filter(|_| !cell.topology.is_home());
    set_only(
        parts,
        copied.and_then(|it| serde_json::to_vec(&it.served).ok()),
    );
}

fn import_served(cell: &Cell, tx: &mut Tx, region: &str, told: &Told) -> Result<(), ApiError> {
    let Some(bytes) = told.only().filter(|_| cell.topology.is_home()) else {
        return Ok(());
    };
    let serial = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    tx.put(Acknowledged {
        region: region.to_owned(),
        serial,
    });
    Ok(())
}

/// Starts what notes, elsewhere than at home, how far the region's node serves the copy.
pub fn reconcilers(app: &Arc<Route53>, group: &mut Group) {
    if app.cell.topology.is_home() {
        return;
    }
    let cell = app.cell.clone();
    let pass = move || note_served(cell.clone());
    spawn_reconciler(group, app.cell.clone(), "route53", PERIOD, pass);
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
