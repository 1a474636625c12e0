//! Elsewhere than at home: the copy of the home's zones and health checks.

use std::collections::{BTreeMap, BTreeSet};

use lath_feed as feed;
use lath_model::id::HostedZoneId;
use lath_store::{Record, Tx, View};

use crate::contribute::{Checks, Zones};
use crate::record::{CopiedCheck, CopiedRecords, CopiedZone};

/// The zones of the copy.
pub(crate) fn zones(view: &View) -> Zones {
    let mut zones: Zones = view
        .list::<CopiedZone>()
        .map(|copied| (copied.zone.id.clone(), copied.zone.clone()))
        .collect();
    for copied in view.list::<CopiedRecords>() {
        if let Some(zone) = zones.get_mut(&copied.zone) {
            zone.records
                .insert(copied.name.clone(), copied.sets.clone());
        }
    }
    zones
}

/// The health checks of the copy.
pub(crate) fn checks(view: &View) -> Checks {
    view.list::<CopiedCheck>()
        .map(|copied| (copied.check.id.clone(), copied.check.clone()))
        .collect()
}

/// Makes the copy be this; whether anything differed.
pub(crate) fn replace(tx: &mut Tx, zones: Vec<feed::HostedZone>, checks: Checks) -> bool {
    let mut bare = Vec::new();
    let mut records = Vec::new();
    for mut zone in zones {
        let by_name = std::mem::take(&mut zone.records);
        records.extend(copied_records(&zone.id, by_name));
        bare.push(CopiedZone { zone });
    }
    let checks = checks.into_values().map(|check| CopiedCheck { check });
    let zones = settle(tx, bare);
    let records = settle(tx, records);
    settle(tx, checks.collect()) | zones | records
}

fn copied_records(
    zone: &HostedZoneId,
    by_name: BTreeMap<String, BTreeMap<String, Vec<feed::RecordSet>>>,
) -> impl Iterator<Item = CopiedRecords> {
    by_name.into_iter().map(move |(name, sets)| CopiedRecords {
        zone: zone.clone(),
        name,
        sets,
    })
}

/// Makes these be the records of their kind.
fn settle<R: Record + PartialEq>(tx: &mut Tx, wanted: Vec<R>) -> bool {
    let ids: BTreeSet<String> = wanted.iter().map(Record::id).collect();
    let gone: Vec<String> = tx
        .list::<R>()
        .map(|known| known.id())
        .filter(|id| !ids.contains(id))
        .collect();
    let mut differs = !gone.is_empty();
    for id in gone {
        tx.delete::<R>(&id);
    }
    for record in wanted {
        if tx
            .get::<R>(&record.id())
            .is_none_or(|known| *known != record)
        {
            tx.put(record);
            differs = true;
        }
    }
    differs
}
