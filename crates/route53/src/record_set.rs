//! One record set of a change: its form, before what else there is matters.

use lath_control::Cell;
use lath_store::View;
use lath_wire::ApiError;

use crate::record::{Collection, HealthCheck, Zone};
use crate::shape::*;
use crate::{fault, geo, ident, limit, name, value};

/// Most values of a record set.
const VALUES: usize = 400;

/// The regions that latency and geoproximity records may name.
pub(crate) const REGIONS: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// What is wrong with a change: the whole request, or one of the messages about its batch.
#[derive(Debug)]
pub(crate) enum Wrong {
    Request(ApiError),
    Batch(Vec<String>),
}

impl From<ApiError> for Wrong {
    fn from(error: ApiError) -> Self {
        Self::Request(error)
    }
}

fn batch(message: impl Into<String>) -> Wrong {
    Wrong::Batch(vec![message.into()])
}

/// `DNS name x., type A, SetIdentifier s`, as messages name a record set.
pub(crate) fn described(set: &ResourceRecordSet) -> String {
    let mut text = format!("RRSet with DNS name {}, type {}", set.name, set.kind);
    if let Some(identifier) = &set.set_identifier {
        text.push_str(&format!(", SetIdentifier {identifier}"));
    }
    text
}

/// The canonical form of a change's record set.
///
/// # Errors
/// What is wrong with it by itself.
pub(crate) fn canonical(
    cell: &Cell,
    view: &View,
    zone: &Zone,
    change: &Change,
) -> Result<ResourceRecordSet, Wrong> {
    let mut set = change.set.clone();
    if set.multi_value_answer == Some(false) {
        set.multi_value_answer = None;
    }
    let context = Context { change, cell };
    context.check_policy(&set)?;
    context.check_answer(&set)?;
    context.check_ranges(&set)?;
    set.name = canonical_name(&set.name, zone)?;
    check_health(view, &set)?;
    check_geo_location(&set)?;
    check_geo_proximity(&set)?;
    check_cidr(view, zone, &set)?;
    check_place(zone, &set)?;
    check_values(cell, &set)?;
    check_primary(change.action, &set)?;
    canonical_alias(&mut set)?;
    Ok(set)
}

struct Context<'c> {
    change: &'c Change,
    cell: &'c Cell,
}

impl Context<'_> {
    fn error(&self, text: &str) -> ApiError {
        let Change { action, set } = self.change;
        let identifier = set.set_identifier.as_deref().unwrap_or("null");
        fault::invalid(format!(
            "Invalid request: {text} in Change with [Action={action}, Name={}, Type={}, SetIdentifier={identifier}]",
            set.name, set.kind
        ))
    }

    fn check_policy(&self, set: &ResourceRecordSet) -> Result<(), ApiError> {
        const POLICIES: &str = "Expected exactly one of [Weight, Region, Failover, GeoLocation, MultiValueAnswer, GeoProximityLocation, or CidrRoutingConfig], but found";
        let given = policies(set);
        match (given, &set.set_identifier) {
            (0, None) | (1, Some(_)) => Ok(()),
            (0, Some(_)) => Err(self.error(&format!("{POLICIES} none"))),
            (1, None) => Err(self.error("Missing field 'SetIdentifier'")),
            _ => Err(self.error(&format!("{POLICIES} more than one"))),
        }
    }

    fn check_answer(&self, set: &ResourceRecordSet) -> Result<(), ApiError> {
        const ANSWERS: &str = "Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found";
        if set.traffic_policy_instance_id.is_some() {
            return Err(fault::invalid(
                "Traffic policy instances are not part of this service: TrafficPolicyInstanceId cannot be given.",
            ));
        }
        let records = set.records.as_ref().is_some_and(|list| !list.is_empty());
        match (&set.alias, set.ttl, records) {
            (Some(_), None, false) | (None, Some(_), true) => Ok(()),
            (Some(_), _, _) => Err(self.error(&format!("{ANSWERS} more than one"))),
            (None, _, _) => Err(self.error(&format!("{ANSWERS} none"))),
        }
    }

    fn check_ranges(&self, set: &ResourceRecordSet) -> Result<(), ApiError> {
        let outside = |value: Option<i64>, most| value.is_some_and(|v| !(0..=most).contains(&v));
        if outside(set.weight, 255) {
            return Err(self.error("Invalid Weight: it must be between 0 and 255"));
        }
        if outside(set.ttl, 2_147_483_647) {
            return Err(self.error("Invalid TTL: it must be between 0 and 2147483647"));
        }
        let identifier = set.set_identifier.as_ref();
        if identifier.is_some_and(|id| !(1..=128).contains(&id.chars().count())) {
            return Err(self.error("Invalid SetIdentifier: its length must be between 1 and 128"));
        }
        if set
            .region
            .as_ref()
            .is_some_and(|region| !REGIONS.contains(&region.as_str()))
        {
            return Err(self.error("Invalid Region"));
        }
        let one_only = set.weight.is_some() || set.region.is_some();
        if one_only && limit::holds(self.cell) && set.values().count() > 1 {
            return Err(self.error(
                "Only one ResourceRecord can be specified for a weighted or latency resource record set",
            ));
        }
        Ok(())
    }
}

fn policies(set: &ResourceRecordSet) -> usize {
    [
        set.weight.is_some(),
        set.region.is_some(),
        set.failover.is_some(),
        set.geo_location.is_some(),
        set.multi_value_answer.is_some(),
        set.geo_proximity.is_some(),
        set.cidr.is_some(),
    ]
    .into_iter()
    .filter(|given| *given)
    .count()
}

fn canonical_name(text: &str, zone: &Zone) -> Result<String, Wrong> {
    let shown: String = text.chars().take(256).collect();
    let name = name::canonical(text).map_err(|error| {
        batch(format!(
            "FATAL problem: {} encountered with '{shown}'",
            error.text()
        ))
    })?;
    if name::is_within(&name, &zone.name) {
        return Ok(name);
    }
    let text = format!(
        "RRSet with DNS name {name} is not permitted in zone {}",
        zone.name
    );
    Err(batch(text))
}

/// The primary has to fail for the secondary to be answered: by a health check of its own, or by its alias target's. What
/// is deleted needs none.
fn check_primary(action: Action, set: &ResourceRecordSet) -> Result<(), Wrong> {
    let primary = set.failover == Some(Failover::Primary);
    if action == Action::Delete || !primary || set.alias.is_some() || set.health_check_id.is_some()
    {
        return Ok(());
    }
    Err(batch(
        "A non-alias primary ResourceRecordSet must have an associated health check",
    ))
}

fn check_health(view: &View, set: &ResourceRecordSet) -> Result<(), ApiError> {
    match &set.health_check_id {
        Some(id)
            if view
                .get::<HealthCheck>(ident::check(id)?.as_str())
                .is_none() =>
        {
            Err(fault::no_such_check(id))
        }
        _ => Ok(()),
    }
}

fn check_geo_location(set: &ResourceRecordSet) -> Result<(), Wrong> {
    match &set.geo_location {
        Some(location) if !geo::is_known(location) => {
            let text = format!(
                "{} has a geographic location that is not valid",
                described(set)
            );
            Err(batch(text))
        }
        _ => Ok(()),
    }
}

fn check_geo_proximity(set: &ResourceRecordSet) -> Result<(), ApiError> {
    let Some(location) = &set.geo_proximity else {
        return Ok(());
    };
    if location.local_zone_group.is_some() {
        return Err(fault::invalid(
            "There are no local zones here: LocalZoneGroup cannot be given.",
        ));
    }
    match (&location.region, &location.coordinates) {
        (Some(region), None) if REGIONS.contains(&region.as_str()) => Ok(()),
        (None, Some(at)) if coordinates(at).is_some() => Ok(()),
        _ => Err(fault::invalid(
            "Exactly one of AWSRegion and Coordinates must be given, with a known region or latitudes from -90 to 90 and longitudes from -180 to 180 of at most two decimals.",
        )),
    }
}

/// Latitude and longitude in hundredths of a degree.
pub(crate) fn coordinates(at: &Coordinates) -> Option<(i32, i32)> {
    Some((degrees(&at.latitude, 90)?, degrees(&at.longitude, 180)?))
}

fn degrees(text: &str, most: i32) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let decimal = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !decimal(whole) || !decimal(part) || whole.len() > 3 || part.len() > 2 {
        return None;
    }
    let hundredths = format!("{whole}{part:0<2}").parse::<i32>().ok()?;
    (hundredths <= most * 100).then_some(sign * hundredths)
}

fn check_cidr(view: &View, zone: &Zone, set: &ResourceRecordSet) -> Result<(), Wrong> {
    let Some(cidr) = &set.cidr else { return Ok(()) };
    if zone.is_private() {
        let text = format!(
            "{} cannot be created in a private hosted zone: IP-based routing is for public ones",
            described(set)
        );
        return Err(batch(text));
    }
    let collection = view.get::<Collection>(&cidr.collection_id);
    let known = collection
        .is_some_and(|c| cidr.location == "*" || c.locations.contains_key(&cidr.location));
    if known {
        return Ok(());
    }
    let text = format!(
        "The CIDR collection {} or its location {} does not exist.",
        cidr.collection_id, cidr.location
    );
    Err(fault::invalid(text).into())
}

/// What the type and the name allow.
fn check_place(zone: &Zone, set: &ResourceRecordSet) -> Result<(), Wrong> {
    let apex = set.name == zone.name;
    let ResourceRecordSet { kind, name, .. } = set;
    let zone_name = &zone.name;
    match kind {
        RrType::Cname if apex => Err(batch(format!(
            "RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {zone_name}"
        ))),
        RrType::Soa if !apex => Err(batch(format!(
            "RRSet of type SOA with DNS name {name} is not permitted in zone {zone_name}: it must be at the apex"
        ))),
        RrType::Ns if !apex && zone.is_private() => Err(batch(format!(
            "RRSet of type NS with DNS name {name} is not permitted in private zone {zone_name}"
        ))),
        RrType::Soa | RrType::Ns if set.alias.is_some() => Err(batch(format!(
            "RRSet of type {kind} with DNS name {name} cannot be an alias"
        ))),
        RrType::Soa | RrType::Ns if apex && policies(set) > 0 => Err(batch(format!(
            "RRSet of type {kind} with DNS name {name} cannot have a routing policy at apex in zone {zone_name}"
        ))),
        RrType::Cname | RrType::Ns if set.multi_value_answer.is_some() => Err(batch(format!(
            "{} cannot be created: multivalue answers are not permitted for its type",
            described(set)
        ))),
        _ => Ok(()),
    }
}

fn check_values(cell: &Cell, set: &ResourceRecordSet) -> Result<(), Wrong> {
    let count = set.values().count();
    let mut problems = Vec::new();
    let mut seen = Vec::with_capacity(count);
    for text in set.values() {
        match value::normal(set.kind, text) {
            Ok(normal) => seen.push((normal, text)),
            Err(bad) => problems.push(bad.text()),
        }
    }
    seen.sort();
    let twice = seen.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    problems.extend(twice.map(|pair| format!("Duplicate Resource Record: '{}'", pair[1].1)));
    if limit::holds(cell) && count > VALUES {
        problems.push(format!("{} has more than {VALUES} values", described(set)));
    }
    if matches!(set.kind, RrType::Soa | RrType::Cname) && count > 1 {
        let text = format!("{} must have exactly one value", described(set));
        problems.push(text);
    }
    if set.multi_value_answer.is_some() && count != 1 {
        let text = format!(
            "{} cannot be created: a multivalue answer has exactly one value and is no alias",
            described(set)
        );
        problems.push(text);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Wrong::Batch(problems))
    }
}

fn canonical_alias(set: &mut ResourceRecordSet) -> Result<(), Wrong> {
    let Some(alias) = &mut set.alias else {
        return Ok(());
    };
    let zone_id = ident::resource("/hostedzone/", "aliasTarget.hostedZoneId", &alias.zone_id)?;
    alias.zone_id = zone_id.to_owned();
    alias.dns_name = name::canonical(&alias.dns_name).map_err(|error| {
        let shown: String = alias.dns_name.chars().take(256).collect();
        batch(format!(
            "FATAL problem: {} encountered with '{shown}'",
            error.text()
        ))
    })?;
    Ok(())
}

/// Whether two sets are the same but for how their values are written and ordered.
pub(crate) fn is_same(one: &ResourceRecordSet, other: &ResourceRecordSet) -> bool {
    let normal = |set: &ResourceRecordSet| {
        let mut values: Vec<String> = set
            .values()
            .map(|text| value::normal(set.kind, text).unwrap_or_else(|_| text.to_owned()))
            .collect();
        values.sort_unstable();
        let rest = ResourceRecordSet {
            records: None,
            ..set.clone()
        };
        (rest, values)
    };
    normal(one) == normal(other)
}
