//! The record sets of one name: which of them can be there at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_model::id::HostedZoneId;
use lath_store::{Tx, View};

use crate::batch::cannot;
use crate::limit;
use crate::record::{StoredSet, Zone, group_key};
use crate::shape::{ResourceRecordSet, RrType};

/// Most sets of one name and type, and most geoproximity ones.
const SETS: usize = 100;
const GEO_PROXIMITY_SETS: usize = 30;

/// The sets of a name, by type.
fn of_name(view: &View, zone: &HostedZoneId, name: &str) -> BTreeMap<RrType, Vec<Arc<StoredSet>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for stored in view.range::<StoredSet>(&group_key(zone, name, None)) {
        if stored.set.name == name {
            groups.entry(stored.set.kind).or_default().push(stored);
        }
    }
    groups
}

/// The sets of a name and type.
pub(crate) fn of_type(
    view: &View,
    zone: &HostedZoneId,
    name: &str,
    kind: RrType,
) -> Vec<Arc<StoredSet>> {
    view.range::<StoredSet>(&group_key(zone, name, Some(kind)))
        .filter(|stored| stored.set.name == name && stored.set.kind == kind)
        .collect()
}

/// All weighted sets of a name and type have one TTL: the one that was written last.
pub(crate) fn align_ttl(tx: &mut Tx, zone: &HostedZoneId, written: &ResourceRecordSet) {
    if written.weight.is_none() || written.ttl.is_none() {
        return;
    }
    for stored in of_type(tx.view(), zone, &written.name, written.kind) {
        if stored.set.ttl.is_some() && stored.set.ttl != written.ttl {
            let mut stored = StoredSet::clone(&stored);
            stored.set.ttl = written.ttl;
            tx.put(stored);
        }
    }
}

/// What is wrong with the sets of a name, said of those that `is_new` names.
pub(crate) fn problems(
    cell: &Cell,
    view: &View,
    zone: &Zone,
    name: &str,
    is_new: &dyn Fn(&ResourceRecordSet) -> bool,
) -> Vec<String> {
    let groups = of_name(view, &zone.id, name);
    let mut problems = conflicting_types(zone, name, &groups, is_new);
    for sets in groups.values() {
        let new = sets.iter().filter(|stored| is_new(&stored.set));
        for stored in new {
            problems.extend(problem(cell, sets, &stored.set));
        }
    }
    problems
}

/// A CNAME is alone at its name.
fn conflicting_types(
    zone: &Zone,
    name: &str,
    groups: &BTreeMap<RrType, Vec<Arc<StoredSet>>>,
    is_new: &dyn Fn(&ResourceRecordSet) -> bool,
) -> Vec<String> {
    let others: Vec<RrType> = groups
        .keys()
        .copied()
        .filter(|k| *k != RrType::Cname)
        .collect();
    let Some(cnames) = groups.get(&RrType::Cname).filter(|_| !others.is_empty()) else {
        return Vec::new();
    };
    let text = |kind: RrType, other: RrType| {
        format!(
            "RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type {other} with the same DNS name already exists in zone {}",
            zone.name
        )
    };
    if cnames.iter().any(|stored| is_new(&stored.set)) {
        return vec![text(RrType::Cname, others[0])];
    }
    others
        .iter()
        .filter(|kind| groups[*kind].iter().any(|stored| is_new(&stored.set)))
        .map(|kind| text(*kind, RrType::Cname))
        .collect()
}

/// What a record set is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Policy<'s> {
    Simple,
    Weighted,
    Latency(&'s str),
    Failover(&'static str),
    Geo(&'s crate::shape::GeoLocation),
    MultiValue,
    GeoProximity,
    Cidr(&'s str, &'s str),
}

impl<'s> Policy<'s> {
    fn of(set: &'s ResourceRecordSet) -> Self {
        if set.weight.is_some() {
            Self::Weighted
        } else if let Some(region) = &set.region {
            Self::Latency(region)
        } else if let Some(side) = set.failover {
            Self::Failover(side.as_str())
        } else if let Some(location) = &set.geo_location {
            Self::Geo(location)
        } else if set.multi_value_answer.is_some() {
            Self::MultiValue
        } else if set.geo_proximity.is_some() {
            Self::GeoProximity
        } else if let Some(cidr) = &set.cidr {
            Self::Cidr(&cidr.collection_id, &cidr.location)
        } else {
            Self::Simple
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Weighted => "weighted",
            Self::Latency(_) => "latency",
            Self::Failover(_) => "failover",
            Self::Geo(_) => "geolocation",
            Self::MultiValue => "multivalue answer",
            Self::GeoProximity => "geoproximity",
            Self::Cidr(..) => "CIDR",
        }
    }

    /// Why two sets of one name and type cannot have these two, if so.
    fn conflict(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::Simple, _) | (_, Self::Simple) if self.word() != other.word() => {
                Some(match self {
                    Self::Simple => "other RRSets exist with the same name and type.".into(),
                    _ => format!(
                        "a non-{} set exists with the same name and type.",
                        self.word()
                    ),
                })
            }
            (Self::Latency(one), Self::Latency(two)) if one == two => Some(format!(
                "a latency set with the region {one} exists with the same name and type."
            )),
            (Self::Failover(one), Self::Failover(two)) if one == two => Some(format!(
                "a {one} failover set exists with the same name and type."
            )),
            (Self::Geo(one), Self::Geo(two)) if one == two => Some(
                "a geolocation set with the same location exists with the same name and type."
                    .into(),
            ),
            (Self::Cidr(one, _), Self::Cidr(two, _)) if one != two => {
                Some("a set of another CIDR collection exists with the same name and type.".into())
            }
            (Self::Cidr(_, one), Self::Cidr(_, two)) if one == two => Some(format!(
                "a CIDR set with the location {one} exists with the same name and type."
            )),
            _ if self.word() != other.word() => Some(format!(
                "a non-{} set exists with the same name and type.",
                self.word()
            )),
            _ => None,
        }
    }
}

fn problem(cell: &Cell, sets: &[Arc<StoredSet>], set: &ResourceRecordSet) -> Option<String> {
    let policy = Policy::of(set);
    let others = sets
        .iter()
        .map(|stored| &stored.set)
        .filter(|other| other.set_identifier != set.set_identifier);
    let why = others
        .filter_map(|other| policy.conflict(&Policy::of(other)))
        .next();
    let most = match policy {
        Policy::GeoProximity => GEO_PROXIMITY_SETS,
        _ => SETS,
    };
    let crowded = limit::holds(cell) && sets.len() > most;
    let why = why.or_else(|| {
        crowded.then(|| format!("there are {most} sets with the same name and type already."))
    });
    why.map(|why| cannot(set, &why))
}
