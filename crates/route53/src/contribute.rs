//! Route 53's part of the feed: a pure function of the state.

use std::str::FromStr;
use std::sync::Arc;

use lath_control::{Cell, Contribute, Derive};
use lath_feed::{self as feed, Items, RecordAnswer, Routing, Snapshot};
use lath_store::{Record, View};

use crate::record::{
    Collection, CopiedCheck, CopiedRecords, CopiedZone, HealthCheck, StoredSet, Zone,
};
use crate::shape::{Failover, ResourceRecordSet};
use crate::{geo, health_config, ident, record_set, tag};

/// Fills hosted zones with their records and health checks: at home from the state, elsewhere from the copy of it.
pub const CONTRIBUTIONS: [Contribute; 6] = [
    each::<Zone>(zone),
    Derive::Keyed {
        kind: StoredSet::KIND,
        index: "name",
        make: records,
    },
    each::<HealthCheck>(check),
    each::<CopiedZone>(copied_zone),
    each::<CopiedRecords>(copied_records),
    each::<CopiedCheck>(copied_check),
];

/// The part of each record of a kind.
const fn each<R: Record>(make: fn(&Cell, &View, &str, &mut Snapshot)) -> Contribute {
    Derive::Each {
        kind: R::KIND,
        make,
    }
}

/// Makes an item be there, or not.
fn set<K: Ord + Clone + FromStr, V>(items: &mut Items<K, V>, id: &str, item: Option<V>) {
    match (id.parse(), item) {
        (Ok(id), Some(item)) => drop(items.insert(id, Arc::new(item))),
        (Ok(id), None) => drop(items.remove(&id)),
        (Err(_), _) => {}
    }
}

fn zone(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    if cell.topology.is_home() {
        set(&mut snapshot.hosted_zones, id, fed_zone(view, id));
    }
}

fn records(cell: &Cell, view: &View, key: &str, snapshot: &mut Snapshot) {
    if cell.topology.is_home() {
        set_records(snapshot, key, fed_records(view, key));
    }
}

fn check(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    if cell.topology.is_home() {
        set(&mut snapshot.health_checks, id, fed_check(view, id));
    }
}

fn copied_zone(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    if !cell.topology.is_home() {
        let copied = view.get::<CopiedZone>(id);
        set(
            &mut snapshot.hosted_zones,
            id,
            copied.map(|it| it.zone.clone()),
        );
    }
}

fn copied_records(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    if !cell.topology.is_home() {
        let copied = view.get::<CopiedRecords>(id);
        set_records(snapshot, id, copied.map(|it| it.sets.clone()));
    }
}

fn copied_check(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    if !cell.topology.is_home() {
        let copied = view.get::<CopiedCheck>(id);
        set(
            &mut snapshot.health_checks,
            id,
            copied.map(|it| it.check.clone()),
        );
    }
}

/// The zone and the name that a key is made of.
pub(crate) fn record_name(key: &str) -> Option<feed::RecordName> {
    let (zone, name) = key.split_once('/')?;
    Some((zone.parse().ok()?, name.to_owned()))
}

fn set_records(snapshot: &mut Snapshot, key: &str, records: Option<feed::NamedRecords>) {
    match (record_name(key), records) {
        (Some(name), Some(records)) => drop(snapshot.records.insert(name, Arc::new(records))),
        (Some(name), None) => drop(snapshot.records.remove(&name)),
        (None, _) => {}
    }
}

/// A zone of the state.
pub(crate) fn fed_zone(view: &View, id: &str) -> Option<feed::HostedZone> {
    let zone = view.get::<Zone>(id)?;
    Some(feed::HostedZone {
        id: zone.id.clone(),
        name: zone.name.clone(),
        vpcs: zone.vpcs.clone(),
        name_servers: zone.name_servers.clone(),
    })
}

/// The record sets of a name of the state, by the key of [`StoredSet`]'s index of names.
pub(crate) fn fed_records(view: &View, key: &str) -> Option<feed::NamedRecords> {
    let mut records = feed::NamedRecords::new();
    for stored in view.by::<StoredSet>("name", key) {
        if let Some(fed) = fed_set(view, &stored.set) {
            let kind = stored.set.kind.to_string();
            records.entry(kind).or_default().push(fed);
        }
    }
    (!records.is_empty()).then_some(records)
}

fn fed_set(view: &View, set: &ResourceRecordSet) -> Option<feed::RecordSet> {
    Some(feed::RecordSet {
        set_identifier: set.set_identifier.clone(),
        routing: routing(view, set)?,
        // A check that was deleted counts as healthy: the record is as if it had none.
        health_check: set
            .health_check_id
            .as_deref()
            .and_then(|id| ident::check(id).ok())
            .filter(|id| view.get::<HealthCheck>(id.as_str()).is_some()),
        answer: answer(set)?,
    })
}

fn answer(set: &ResourceRecordSet) -> Option<RecordAnswer> {
    if let Some(alias) = &set.alias {
        return Some(RecordAnswer::Alias {
            zone: alias.zone_id.clone(),
            name: alias.dns_name.clone(),
            evaluate_target_health: alias.evaluate_target_health,
        });
    }
    Some(RecordAnswer::Values {
        ttl: u32::try_from(set.ttl?).ok()?,
        values: set.values().map(str::to_owned).collect(),
    })
}

fn routing(view: &View, set: &ResourceRecordSet) -> Option<Routing> {
    if let Some(weight) = set.weight {
        return u8::try_from(weight).ok().map(Routing::Weighted);
    }
    if let Some(region) = &set.region {
        return Some(Routing::Latency(region.clone()));
    }
    if let Some(side) = set.failover {
        return Some(match side {
            Failover::Primary => Routing::FailoverPrimary,
            Failover::Secondary => Routing::FailoverSecondary,
        });
    }
    if let Some(location) = &set.geo_location {
        return geo::fed(location).map(Routing::Geolocation);
    }
    if set.multi_value_answer == Some(true) {
        return Some(Routing::Multivalue);
    }
    if let Some(location) = &set.geo_proximity {
        return Some(Routing::Geoproximity {
            region: location.region.clone(),
            coordinates: location
                .coordinates
                .as_ref()
                .and_then(record_set::coordinates),
            bias: i8::try_from(location.bias.unwrap_or(0)).ok()?,
        });
    }
    if let Some(cidr) = &set.cidr {
        let collection = view.get::<Collection>(&cidr.collection_id);
        let blocks = collection.and_then(|known| known.locations.get(&cidr.location).cloned());
        return Some(Routing::Cidr {
            location: cidr.location.clone(),
            blocks: blocks.unwrap_or_default(),
        });
    }
    Some(Routing::Simple)
}

/// A health check of the state.
pub(crate) fn fed_check(view: &View, id: &str) -> Option<feed::Route53HealthCheck> {
    let check = view.get::<HealthCheck>(id)?;
    Some(feed::Route53HealthCheck {
        id: check.id.clone(),
        version: check.generation,
        judge: health_config::judge(&check.config, tag::interval(&check.tags))?,
        inverted: check.config.inverted.unwrap_or(false),
        disabled: check.config.disabled.unwrap_or(false),
    })
}
