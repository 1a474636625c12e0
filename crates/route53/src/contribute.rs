//! Route 53's part of the feed: a pure function of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_feed::{self as feed, RecordAnswer, Routing, Snapshot};
use lath_model::id::{HealthCheckId, HostedZoneId};
use lath_store::View;

use crate::record::{Collection, HealthCheck, StoredSet, Zone};
use crate::shape::{Failover, ResourceRecordSet};
use crate::{copy, geo, health_config, ident, record_set, tag, zone};

/// Every zone.
pub(crate) type Zones = BTreeMap<HostedZoneId, feed::HostedZone>;
/// Every health check.
pub(crate) type Checks = BTreeMap<HealthCheckId, feed::Route53HealthCheck>;

/// Fills hosted zones and health checks: at home from the state, elsewhere from the copy of it.
pub fn contribute(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    let (zones, checks) = if cell.topology.is_home() {
        (zones(view), checks(view))
    } else {
        (copy::zones(view), copy::checks(view))
    };
    snapshot.hosted_zones = zones
        .into_iter()
        .map(|(id, zone)| (id, Arc::new(zone)))
        .collect();
    snapshot.health_checks = checks
        .into_iter()
        .map(|(id, check)| (id, Arc::new(check)))
        .collect();
}

/// The zones of the state.
pub(crate) fn zones(view: &View) -> Zones {
    view.list::<Zone>()
        .map(|zone| (zone.id.clone(), fed_zone(view, &zone)))
        .collect()
}

fn fed_zone(view: &View, zone: &Zone) -> feed::HostedZone {
    let mut records: BTreeMap<String, BTreeMap<String, Vec<feed::RecordSet>>> = BTreeMap::new();
    for StoredSet { set, .. } in zone::sets(view, &zone.id).map(Arc::unwrap_or_clone) {
        if let Some(fed) = fed_set(view, &set) {
            let name = records.entry(set.name).or_default();
            name.entry(set.kind.to_string()).or_default().push(fed);
        }
    }
    feed::HostedZone {
        id: zone.id.clone(),
        name: zone.name.clone(),
        vpcs: zone.vpcs.clone(),
        name_servers: zone.name_servers.clone(),
        records,
    }
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

/// The health checks of the state.
pub(crate) fn checks(view: &View) -> Checks {
    view.list::<HealthCheck>()
        .filter_map(|check| Some((check.id.clone(), fed_check(&check)?)))
        .collect()
}

fn fed_check(check: &HealthCheck) -> Option<feed::Route53HealthCheck> {
    Some(feed::Route53HealthCheck {
        id: check.id.clone(),
        version: check.generation,
        judge: health_config::judge(&check.config, tag::interval(&check.tags))?,
        inverted: check.config.inverted.unwrap_or(false),
        disabled: check.config.disabled.unwrap_or(false),
    })
}
