//! Hosted zones.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use lath_control::Cell;
use lath_model::id::HostedZoneId;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::Route53;
use crate::record::{Authorization, StoredSet, Zone};
use crate::resource_types::*;
use crate::shape::*;
use crate::{association, change, delegation, fault, ident, limit, name, page};

operations! {
    for Route53 as "route53";
    change CreateHostedZone: post "/2013-04-01/hostedzone" 201 -> CreateHostedZoneResponse = create, located
        => any()
            .with(VPCS, |op, _| op.vpc.as_ref().and_then(vpc))
            .also_any("ec2:DescribeVpcs", |op, _| op.vpc.is_some());
    read GetHostedZone: get "/2013-04-01/hostedzone/{Id}" 200 -> GetHostedZoneResponse = get
        => on(&ZONE, |op, _| op.id.clone());
    read ListHostedZones: get "/2013-04-01/hostedzone" 200 -> ListHostedZonesResponse = list
        => any();
    read ListHostedZonesByName: get "/2013-04-01/hostedzonesbyname" 200 -> ListHostedZonesByNameResponse = list_by_name
        => any();
    change DeleteHostedZone: delete "/2013-04-01/hostedzone/{Id}" 200 -> DeleteHostedZoneResponse = delete
        => on(&ZONE, |op, _| op.id.clone());
    change UpdateHostedZoneComment: post "/2013-04-01/hostedzone/{Id}" 200 -> UpdateHostedZoneCommentResponse = update_comment
        => on(&ZONE, |op, _| op.id.clone());
    read GetHostedZoneCount: get "/2013-04-01/hostedzonecount" 200 -> GetHostedZoneCountResponse = count
        => any();
    read GetDNSSEC: get "/2013-04-01/hostedzone/{Id}/dnssec" 200 -> GetDNSSECResponse = signing
        => on(&ZONE, |op, _| op.id.clone());
}

/// Zones on a page.
const PAGE: usize = 100;

/// The zone that an id names.
///
/// # Errors
/// `NoSuchHostedZone`.
pub(crate) fn find(view: &View, id: &str) -> Result<Arc<Zone>, ApiError> {
    let id = ident::zone(id)?;
    view.get(id.as_str())
        .ok_or_else(|| fault::no_such_zone(id.as_str()))
}

/// The record sets of a zone, in the order in which lists show them.
pub(crate) fn sets<'v>(
    view: &'v View,
    id: &HostedZoneId,
) -> impl Iterator<Item = Arc<StoredSet>> + use<'v> {
    let prefix = format!("{id}/");
    let all: Vec<_> = view.range::<StoredSet>(&prefix).collect();
    all.into_iter()
}

/// How many record sets a zone has.
pub(crate) fn count_sets(view: &View, id: &HostedZoneId) -> usize {
    view.count_by::<StoredSet>("zone", id.as_str())
}

pub(crate) fn shown(view: &View, zone: &Zone) -> HostedZone {
    HostedZone {
        id: format!("/hostedzone/{}", zone.id),
        name: zone.name.clone(),
        caller_reference: zone.caller_reference.clone(),
        config: Some(HostedZoneConfig {
            comment: zone.comment.clone(),
            private_zone: Some(zone.is_private()),
        }),
        count: i64::try_from(count_sets(view, &zone.id)).ok(),
    }
}

/// A private zone's servers are the same for all, and answers do not show them.
fn shown_delegation(zone: &Zone) -> Option<DelegationSet> {
    (!zone.is_private()).then(|| DelegationSet {
        id: zone
            .delegation_set
            .as_ref()
            .map(|id| format!("/delegationset/{id}")),
        caller_reference: None,
        name_servers: zone.name_servers.iter().cloned().map(NameServer).collect(),
    })
}

/// The VPC that a new private zone begins with; `None` for a public zone.
fn first_vpc(
    cell: &Cell,
    view: &View,
    op: &CreateHostedZone,
) -> Result<Option<(String, lath_model::id::VpcId)>, ApiError> {
    let private = op.config.as_ref().and_then(|config| config.private_zone);
    match (&op.vpc, private) {
        (None, Some(true)) => Err(fault::invalid(
            "When you're creating a private hosted zone (when you specify true for PrivateZone), you must also specify values for VPCId and VPCRegion.",
        )),
        (None, _) => Ok(None),
        (Some(_), Some(false)) => Err(fault::invalid(
            "A VPC can be associated with a private hosted zone only: PrivateZone must be true.",
        )),
        (Some(vpc), _) => association::vpc(cell, view, vpc).map(Some),
    }
}

pub(crate) fn create(
    app: &Route53,
    tx: &mut Tx,
    op: CreateHostedZone,
) -> Result<CreateHostedZoneResponse, ApiError> {
    let cell = &app.cell;
    let name = zone_name(&op.name)?;
    let comment = op.config.as_ref().and_then(|config| config.comment.clone());
    let vpc = first_vpc(cell, tx.view(), &op)?;
    if tx.view().has::<Zone>("reference", &op.caller_reference) {
        return Err(ApiError::new(
            "HostedZoneAlreadyExists",
            409,
            format!(
                "A hosted zone has already been created with the specified caller reference: {}",
                op.caller_reference
            ),
        ));
    }
    if let Some(vpc) = &vpc {
        association::check_conflict(tx.view(), &name, vpc)?;
    }
    limit::HOSTED_ZONES.check(cell, tx.view().count::<Zone>() + 1)?;
    let (delegation_set, name_servers) =
        delegation::for_zone(tx.view(), &op, &name, vpc.is_some())?;
    let zone = tx.put(Zone {
        id: HostedZoneId::random(),
        name,
        caller_reference: op.caller_reference,
        comment,
        vpcs: vpc.as_ref().map(|vpc| BTreeSet::from([vpc.clone()])),
        name_servers,
        delegation_set,
        tags: Default::default(),
        created_at: tx.now(),
    });
    furnish(tx, &zone);
    let change = change::submit(tx, None);
    Ok(CreateHostedZoneResponse {
        zone: shown(tx.view(), &zone),
        change,
        delegation_set: shown_delegation(&zone),
        vpc: vpc.as_ref().map(association::shown),
    })
}

fn zone_name(text: &str) -> Result<String, ApiError> {
    let name = name::canonical(text).map_err(|_| fault::invalid_name(text))?;
    if name.starts_with("\\052.") {
        return Err(fault::invalid_name(text));
    }
    Ok(name)
}

/// Gives a new zone its NS and SOA records.
fn furnish(tx: &mut Tx, zone: &Zone) {
    let servers: Vec<String> = zone
        .name_servers
        .iter()
        .map(|name| format!("{name}."))
        .collect();
    let first = servers.first().cloned().unwrap_or_default();
    let soa = format!("{first} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400");
    for (kind, ttl, values) in [
        (RrType::Ns, 172_800, servers),
        (RrType::Soa, 900, vec![soa]),
    ] {
        let records = values.into_iter().map(|value| ResourceRecord { value });
        let set = ResourceRecordSet {
            ttl: Some(ttl),
            records: Some(records.collect()),
            ..ResourceRecordSet::new(&zone.name, kind)
        };
        tx.put(StoredSet {
            zone: zone.id.clone(),
            set,
        });
    }
}

pub(crate) fn get(
    _: &Route53,
    view: &View,
    op: &GetHostedZone,
) -> Result<GetHostedZoneResponse, ApiError> {
    let zone = find(view, &op.id)?;
    Ok(GetHostedZoneResponse {
        zone: shown(view, &zone),
        delegation_set: shown_delegation(&zone),
        vpcs: zone
            .vpcs
            .as_ref()
            .map(|vpcs| vpcs.iter().map(association::shown).collect()),
    })
}

pub(crate) fn list(
    _: &Route53,
    view: &View,
    op: &ListHostedZones,
) -> Result<ListHostedZonesResponse, ApiError> {
    let set = op
        .delegation_set_id
        .as_deref()
        .map(|id| delegation::find(view, id))
        .transpose()?;
    let wanted = |zone: &Arc<Zone>| {
        let of_set = set
            .as_ref()
            .is_none_or(|set| zone.delegation_set.as_ref() == Some(&set.id));
        of_set && (op.zone_type.is_none() || zone.is_private())
    };
    let marker = op
        .marker
        .as_deref()
        .map(|id| ident::bare("/hostedzone/", id));
    let size = page::size(op.max_items.as_deref(), PAGE)?;
    let from = |start: Bound<&str>| view.from::<Zone>(start).filter(wanted);
    let (zones, next) = page::from_marker(from, |zone| zone.id.to_string(), marker, size);
    Ok(ListHostedZonesResponse {
        zones: zones.iter().map(|zone| shown(view, zone)).collect(),
        marker: op.marker.clone(),
        is_truncated: next.is_some(),
        next_marker: next,
        max_items: page::shown(op.max_items.as_deref(), PAGE),
    })
}

pub(crate) fn list_by_name(
    _: &Route53,
    view: &View,
    op: &ListHostedZonesByName,
) -> Result<ListHostedZonesByNameResponse, ApiError> {
    let from = match (&op.dns_name, &op.zone_id) {
        (None, Some(_)) => {
            return Err(fault::invalid(
                "A DNSName is required when a HostedZoneId is given.",
            ));
        }
        (None, None) => None,
        (Some(text), id) => {
            let name = name::canonical(text).map_err(|_| fault::invalid_name(text))?;
            let id = id.as_deref().unwrap_or_default();
            Some((
                name::sort_key(&name),
                ident::bare("/hostedzone/", id).to_owned(),
            ))
        }
    };
    let size = page::size(op.max_items.as_deref(), PAGE)?;
    let key = |zone: &Arc<Zone>| (name::sort_key(&zone.name), zone.id.to_string());
    let start = match &from {
        Some((sorted, _)) => Bound::Included(sorted.as_str()),
        None => Bound::Unbounded,
    };
    let mut rest = view
        .keyed_from::<Zone>("sorted", start)
        .map(|(_, zone)| zone)
        .skip_while(|zone| from.as_ref().is_some_and(|from| key(zone) < *from));
    let zones: Vec<_> = rest.by_ref().take(size).collect();
    let next = rest.next();
    Ok(ListHostedZonesByNameResponse {
        zones: zones.iter().map(|zone| shown(view, zone)).collect(),
        dns_name: op.dns_name.clone(),
        zone_id: op.zone_id.clone(),
        is_truncated: next.is_some(),
        next_dns_name: next.as_ref().map(|zone| zone.name.clone()),
        next_zone_id: next.as_ref().map(|zone| zone.id.to_string()),
        max_items: page::shown(op.max_items.as_deref(), PAGE),
    })
}

pub(crate) fn count(
    _: &Route53,
    view: &View,
    _: &GetHostedZoneCount,
) -> Result<GetHostedZoneCountResponse, ApiError> {
    let count = i64::try_from(view.count::<Zone>()).unwrap_or(i64::MAX);
    Ok(GetHostedZoneCountResponse { count })
}

/// Answers are never signed.
pub(crate) fn signing(
    _: &Route53,
    view: &View,
    op: &GetDNSSEC,
) -> Result<GetDNSSECResponse, ApiError> {
    let zone = find(view, &op.id)?;
    if zone.is_private() {
        let text = "Operation is unsupported for private";
        return Err(fault::fault("InvalidArgument", text));
    }
    Ok(GetDNSSECResponse {
        status: SigningStatus {
            serve_signature: "NOT_SIGNING".into(),
        },
        keys: Vec::new(),
    })
}

/// Whether a record set belongs to every zone: the NS and the SOA at its apex.
pub(crate) fn is_required(zone: &Zone, set: &ResourceRecordSet) -> bool {
    set.name == zone.name && matches!(set.kind, RrType::Ns | RrType::Soa)
}

pub(crate) fn delete(
    _: &Route53,
    tx: &mut Tx,
    op: DeleteHostedZone,
) -> Result<DeleteHostedZoneResponse, ApiError> {
    let zone = find(tx.view(), &op.id)?;
    let sets: Vec<_> = sets(tx.view(), &zone.id).collect();
    if sets.iter().any(|stored| !is_required(&zone, &stored.set)) {
        return Err(fault::fault(
            "HostedZoneNotEmpty",
            "The specified hosted zone contains non-required resource record sets and so cannot be deleted.",
        ));
    }
    for stored in sets {
        tx.delete::<StoredSet>(&lath_store::Record::id(&*stored));
    }
    let authorizations: Vec<_> = association::authorizations(tx.view(), &zone.id).collect();
    for authorization in authorizations {
        tx.delete::<Authorization>(&lath_store::Record::id(&*authorization));
    }
    tx.delete::<Zone>(zone.id.as_str());
    let change = change::submit(tx, None);
    Ok(DeleteHostedZoneResponse { change })
}

pub(crate) fn update_comment(
    _: &Route53,
    tx: &mut Tx,
    op: UpdateHostedZoneComment,
) -> Result<UpdateHostedZoneCommentResponse, ApiError> {
    let zone = find(tx.view(), &op.id)?;
    let zone = tx.put(Zone {
        comment: op.comment.filter(|text| !text.is_empty()),
        ..Zone::clone(&zone)
    });
    let zone = shown(tx.view(), &zone);
    Ok(UpdateHostedZoneCommentResponse { zone })
}
