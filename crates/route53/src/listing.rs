//! ListResourceRecordSets: in the order of reversed names, then types, then set identifiers.

use std::ops::Bound;

use lath_model::id::HostedZoneId;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use crate::Route53;
use crate::record::{StoredSet, group_key};
use crate::resource_types::*;
use crate::shape::*;
use crate::{fault, name, page, zone};

operations! {
    for Route53 as "route53";
    read ListResourceRecordSets: get "/2013-04-01/hostedzone/{Id}/rrset" 200 -> ListResourceRecordSetsResponse = list
        => on(&ZONE, |op, _| op.id.clone());
}

/// Record sets on a page.
const PAGE: usize = 300;

/// Where the page begins: the key of a set, or what the keys of several begin with.
fn start(op: &ListResourceRecordSets, zone: &HostedZoneId) -> Result<Option<String>, ApiError> {
    let Some(text) = &op.name else {
        return if op.kind.is_some() || op.identifier.is_some() {
            Err(fault::invalid(
                "A StartRecordName is required when a StartRecordType or StartRecordIdentifier is given.",
            ))
        } else {
            Ok(None)
        };
    };
    if op.identifier.is_some() && op.kind.is_none() {
        return Err(fault::invalid(
            "A StartRecordType is required when a StartRecordIdentifier is given.",
        ));
    }
    let name = name::canonical(text).map_err(|_| {
        let shown: String = text.chars().take(256).collect();
        fault::invalid(format!(
            "The StartRecordName {shown} is not a valid domain name."
        ))
    })?;
    let identifier = op.identifier.as_deref().unwrap_or_default();
    Ok(Some(group_key(zone, &name, op.kind) + identifier))
}

pub(crate) fn list(
    _: &Route53,
    view: &View,
    op: &ListResourceRecordSets,
) -> Result<ListResourceRecordSetsResponse, ApiError> {
    let zone = zone::find(view, &op.id)?;
    let from = start(op, &zone.id)?;
    let size = page::size(op.max_items.as_deref(), PAGE)?;
    let from = from.unwrap_or_else(|| format!("{}/", zone.id));
    let mut rest = view
        .from::<StoredSet>(Bound::Included(&from))
        .take_while(|stored| stored.zone == zone.id);
    let sets = rest
        .by_ref()
        .take(size)
        .map(|stored| stored.set.clone())
        .collect();
    let next = rest.next().map(|stored| stored.set.clone());
    Ok(ListResourceRecordSetsResponse {
        sets,
        is_truncated: next.is_some(),
        next_name: next.as_ref().map(|set| set.name.clone()),
        next_type: next.as_ref().map(|set| set.kind),
        next_identifier: next.and_then(|set| set.set_identifier),
        max_items: page::shown(op.max_items.as_deref(), PAGE),
    })
}
