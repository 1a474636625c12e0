//! Name servers, and the sets of them that zones may share.

use std::sync::Arc;

use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use rand::Rng as _;

use crate::Route53;
use crate::record::{DelegationSet, Zone};
use crate::resource_types::*;
use crate::shape::{
    CreateHostedZone, CreateReusableDelegationSet, CreateReusableDelegationSetResponse,
    DeleteReusableDelegationSet, DeleteReusableDelegationSetResponse, GetReusableDelegationSet,
    GetReusableDelegationSetResponse, ListReusableDelegationSets,
    ListReusableDelegationSetsResponse, NameServer,
};
use crate::{fault, ident, limit, name, page, shape, zone};

operations! {
    for Route53 as "route53";
    change CreateReusableDelegationSet: post "/2013-04-01/delegationset" 201 -> CreateReusableDelegationSetResponse = create, located
        => any();
    read GetReusableDelegationSet: get "/2013-04-01/delegationset/{Id}" 200 -> GetReusableDelegationSetResponse = get
        => on(&DELEGATION_SET, |op, _| op.id.clone());
    read ListReusableDelegationSets: get "/2013-04-01/delegationset" 200 -> ListReusableDelegationSetsResponse = list
        => any();
    change DeleteReusableDelegationSet: delete "/2013-04-01/delegationset/{Id}" 200 -> DeleteReusableDelegationSetResponse = delete
        => on(&DELEGATION_SET, |op, _| op.id.clone());
}

/// Sets on a page.
const PAGE: usize = 100;

/// The top-level domains of the servers, each with 512 servers.
const DOMAINS: [&str; 4] = ["com", "net", "org", "co.uk"];

/// Four servers, one of each domain; the first ones for a private zone.
fn servers(private: bool) -> Vec<String> {
    let mut rng = rand::rng();
    let place = |(at, domain): (usize, &&str)| {
        let number = if private { 0 } else { rng.random_range(0..512) };
        let block = number / 8;
        format!("ns-{}.awsdns-{block:02}.{domain}", at * 512 + number)
    };
    DOMAINS.iter().enumerate().map(place).collect()
}

/// The reusable set and the servers of a new zone.
///
/// # Errors
/// `NoSuchDelegationSet`, `InvalidInput`, `ConflictingDomainExists`.
pub(crate) fn for_zone(
    view: &View,
    op: &CreateHostedZone,
    name: &str,
    private: bool,
) -> Result<(Option<String>, Vec<String>), ApiError> {
    let Some(id) = &op.delegation_set_id else {
        return Ok((None, servers(private)));
    };
    let set = find(view, id)?;
    if private {
        let text = "A private hosted zone cannot have a reusable delegation set.";
        return Err(fault::invalid(text));
    }
    let related =
        |zone: &Arc<Zone>| name::is_within(&zone.name, name) || name::is_within(name, &zone.name);
    if let Some(zone) = view.by::<Zone>("delegation", &set.id).find(related) {
        let text = format!(
            "Cannot create hosted zone with DelegationSetId {}: the hosted zone {} with the name {} shares its name servers.",
            set.id, zone.id, zone.name
        );
        return Err(fault::fault("ConflictingDomainExists", text));
    }
    Ok((Some(set.id.clone()), set.name_servers.clone()))
}

/// The set that an id names.
///
/// # Errors
/// `NoSuchDelegationSet`.
pub(crate) fn find(view: &View, id: &str) -> Result<Arc<DelegationSet>, ApiError> {
    let id = ident::resource("/delegationset/", "delegationSetId", id)?;
    view.get(id).ok_or_else(|| {
        fault::fault(
            "NoSuchDelegationSet",
            format!("A reusable delegation set with the ID {id} does not exist."),
        )
    })
}

/// How many zones have a set's servers.
pub(crate) fn zones(view: &View, set: &DelegationSet) -> usize {
    view.count_by::<Zone>("delegation", &set.id)
}

fn shown(set: &DelegationSet) -> shape::DelegationSet {
    shape::DelegationSet {
        id: Some(format!("/delegationset/{}", set.id)),
        caller_reference: Some(set.caller_reference.clone()),
        name_servers: set.name_servers.iter().cloned().map(NameServer).collect(),
    }
}

/// The servers that a new set takes over from a zone, or new ones.
fn taken(tx: &mut Tx, id: &str, zone_id: Option<&str>) -> Result<Vec<String>, ApiError> {
    let Some(zone_id) = zone_id else {
        return Ok(servers(false));
    };
    let zone = zone::find(tx.view(), zone_id)
        .map_err(|error| fault::fault("HostedZoneNotFound", error.message))?;
    if zone.is_private() {
        return Err(fault::invalid(
            "The delegation set of a private hosted zone cannot be reused.",
        ));
    }
    if zone.delegation_set.is_some() {
        let text = format!(
            "The delegation set of the hosted zone {} is reusable already.",
            zone.id
        );
        return Err(fault::fault("DelegationSetAlreadyReusable", text));
    }
    tx.put(Zone {
        delegation_set: Some(id.to_owned()),
        ..Zone::clone(&zone)
    });
    Ok(zone.name_servers.clone())
}

pub(crate) fn create(
    app: &Route53,
    tx: &mut Tx,
    op: CreateReusableDelegationSet,
) -> Result<CreateReusableDelegationSetResponse, ApiError> {
    let cell = &app.cell;
    let twin = |set: &Arc<DelegationSet>| set.caller_reference == op.caller_reference;
    if tx.list::<DelegationSet>().any(|set| twin(&set)) {
        return Err(fault::fault(
            "DelegationSetAlreadyCreated",
            "A delegation set with the same owner and caller reference combination has already been created.",
        ));
    }
    limit::DELEGATION_SETS.check(cell, tx.view().count::<DelegationSet>() + 1)?;
    let id = format!("N{}", ident::random(20));
    let name_servers = taken(tx, &id, op.zone_id.as_deref())?;
    let set = tx.put(DelegationSet {
        id,
        caller_reference: op.caller_reference,
        name_servers,
    });
    let set = shown(&set);
    Ok(CreateReusableDelegationSetResponse { set })
}

pub(crate) fn get(
    _: &Route53,
    view: &View,
    op: &GetReusableDelegationSet,
) -> Result<GetReusableDelegationSetResponse, ApiError> {
    let set = shown(&*find(view, &op.id)?);
    Ok(GetReusableDelegationSetResponse { set })
}

pub(crate) fn list(
    _: &Route53,
    view: &View,
    op: &ListReusableDelegationSets,
) -> Result<ListReusableDelegationSetsResponse, ApiError> {
    let size = page::size(op.max_items.as_deref(), PAGE)?;
    let marker = op
        .marker
        .as_deref()
        .map(|id| ident::bare("/delegationset/", id));
    let (sets, next) = page::from_marker(
        |start| view.from::<DelegationSet>(start),
        |set| set.id.clone(),
        marker,
        size,
    );
    Ok(ListReusableDelegationSetsResponse {
        sets: sets.iter().map(|set| shown(set)).collect(),
        marker: op.marker.clone().unwrap_or_default(),
        is_truncated: next.is_some(),
        next_marker: next,
        max_items: page::shown(op.max_items.as_deref(), PAGE),
    })
}

pub(crate) fn delete(
    _: &Route53,
    tx: &mut Tx,
    op: DeleteReusableDelegationSet,
) -> Result<DeleteReusableDelegationSetResponse, ApiError> {
    let set = find(tx.view(), &op.id)?;
    if zones(tx.view(), &set) > 0 {
        let text = format!("The delegation set {} is used by hosted zones.", set.id);
        return Err(fault::fault("DelegationSetInUse", text));
    }
    tx.delete::<DelegationSet>(&set.id);
    Ok(DeleteReusableDelegationSetResponse {})
}
