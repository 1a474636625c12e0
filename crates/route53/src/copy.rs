//! Elsewhere than at home: the copy of the home's zones and health checks.

use std::collections::BTreeSet;

use bytes::Bytes;
use lath_control::Told;
use lath_store::{Record, Tx};
use lath_wire::ApiError;

use crate::contribute::record_name;
use crate::record::{CopiedCheck, CopiedRecords, CopiedZone};

/// What parts of zones are called, before the zone's id.
pub(crate) const ZONES: &str = "zone/";
/// What parts of records are called, before the zone's id, a slash and the name.
pub(crate) const RECORDS: &str = "set/";
/// What parts of health checks are called, before the check's id.
pub(crate) const CHECKS: &str = "check/";

/// Makes the copy be what was told; whether anything differed.
///
/// # Errors
/// When something told cannot be read.
pub(crate) fn take(tx: &mut Tx, told: &Told) -> Result<bool, ApiError> {
    let zones = follow(tx, told, ZONES, |_, bytes| {
        let zone = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
        Ok(CopiedZone { zone })
    })?;
    let records = follow(tx, told, RECORDS, |id, bytes| {
        let Some((zone, name)) = record_name(id) else {
            return Err(ApiError::internal(format!("{id:?} names no records")));
        };
        let sets = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
        Ok(CopiedRecords { zone, name, sets })
    })?;
    let checks = follow(tx, told, CHECKS, |_, bytes| {
        let check = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
        Ok(CopiedCheck { check })
    })?;
    Ok(zones | records | checks)
}

/// Makes the records of one kind be what the parts of a name say.
fn follow<R: Record + PartialEq>(
    tx: &mut Tx,
    told: &Told,
    prefix: &str,
    read: impl Fn(&str, &Bytes) -> Result<R, ApiError>,
) -> Result<bool, ApiError> {
    let parts = told.parts.range(prefix.to_owned()..);
    let parts = parts.take_while(|(part, _)| part.starts_with(prefix));
    let (mut differs, mut named) = (false, BTreeSet::new());
    for (part, bytes) in parts {
        let id = &part[prefix.len()..];
        named.insert(id);
        differs |= match bytes {
            Some(bytes) => put(tx, read(id, bytes)?),
            None => tx.delete::<R>(id),
        };
    }
    if told.whole {
        let known: Vec<String> = tx.list::<R>().map(|record| record.id()).collect();
        for id in known.iter().filter(|id| !named.contains(id.as_str())) {
            differs |= tx.delete::<R>(id);
        }
    }
    Ok(differs)
}

fn put<R: Record + PartialEq>(tx: &mut Tx, record: R) -> bool {
    let known = tx.get::<R>(&record.id());
    let differs = known.is_none_or(|known| *known != record);
    if differs {
        tx.put(record);
    }
    differs
}
