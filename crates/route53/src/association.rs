//! Which VPCs see a private zone.

use std::ops::Bound;
use std::sync::Arc;

use lath_control::Cell;
use lath_model::id::{HostedZoneId, VpcId};
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use crate::Route53;
use crate::record::{Authorization, Zone};
use crate::resource_types::{self, *};
use crate::shape::*;
use crate::{change, fault, ident, limit, name as names, page, zone};

operations! {
    for Route53 as "route53";
    read ListHostedZonesByVPC: get "/2013-04-01/hostedzonesbyvpc" 200 -> ListHostedZonesByVPCResponse = list_by_vpc
        => any()
            .with(VPCS, |op, _| of_vpc(&op.vpc_id, &op.vpc_region))
            .also_any("ec2:DescribeVpcs", |_, _| true);
    change AssociateVPCWithHostedZone: post "/2013-04-01/hostedzone/{Id}/associatevpc" 200 -> AssociateVPCWithHostedZoneResponse = associate
        => on(&ZONE, |op, _| op.id.clone())
            .with(VPCS, |op, _| resource_types::vpc(&op.vpc))
            .also_any("ec2:DescribeVpcs", |_, _| true);
    change DisassociateVPCFromHostedZone: post "/2013-04-01/hostedzone/{Id}/disassociatevpc" 200 -> DisassociateVPCFromHostedZoneResponse = disassociate
        => on(&ZONE, |op, _| op.id.clone())
            .with(VPCS, |op, _| resource_types::vpc(&op.vpc))
            .also_any("ec2:DescribeVpcs", |_, _| true);
    change CreateVPCAssociationAuthorization: post "/2013-04-01/hostedzone/{Id}/authorizevpcassociation" 200 -> CreateVPCAssociationAuthorizationResponse = authorize
        => on(&ZONE, |op, _| op.id.clone())
            .with(VPCS, |op, _| resource_types::vpc(&op.vpc));
    change DeleteVPCAssociationAuthorization: post "/2013-04-01/hostedzone/{Id}/deauthorizevpcassociation" 200 -> DeleteVPCAssociationAuthorizationResponse = deauthorize
        => on(&ZONE, |op, _| op.id.clone())
            .with(VPCS, |op, _| resource_types::vpc(&op.vpc));
    read ListVPCAssociationAuthorizations: get "/2013-04-01/hostedzone/{Id}/authorizevpcassociation" 200 -> ListVPCAssociationAuthorizationsResponse = list_authorizations
        => on(&ZONE, |op, _| op.id.clone());
}

/// Zones on a page of a VPC's.
const PAGE: usize = 100;
/// Authorizations on a page.
const AUTHORIZATIONS: usize = 50;

/// A VPC with its region. One of this region must exist; what the other regions have is not known here,
/// and one that is gone, or never was, simply asks nothing.
///
/// # Errors
/// `InvalidVPCId`, `InvalidInput` when a part is missing.
pub(crate) fn vpc(cell: &Cell, view: &View, given: &Vpc) -> Result<(String, VpcId), ApiError> {
    let (Some(region), Some(id)) = (&given.region, &given.id) else {
        return Err(fault::invalid(
            "Both VPCRegion and VPCId have to be specified.",
        ));
    };
    let id = ident::vpc(id)?;
    let there = if *region == cell.region {
        view.get::<lath_ec2_records::Vpc>(id.as_str()).is_some()
    } else {
        cell.topology.regions.contains_key(region)
    };
    if !there {
        let region: String = region.chars().take(32).collect();
        return Err(fault::invalid_vpc(&format!(
            "The VPC {id} in region {region} that you provided is not authorized to make the association, or does not exist."
        )));
    }
    Ok((region.clone(), id))
}

pub(crate) fn shown((region, id): &(String, VpcId)) -> Vpc {
    Vpc {
        region: Some(region.clone()),
        id: Some(id.to_string()),
    }
}

/// # Errors
/// `ConflictingDomainExists` when the VPC sees a zone of this name already.
pub(crate) fn check_conflict(
    view: &View,
    name: &str,
    vpc: &(String, VpcId),
) -> Result<(), ApiError> {
    let sees = |zone: &Arc<Zone>| {
        zone.name == name && zone.vpcs.as_ref().is_some_and(|vpcs| vpcs.contains(vpc))
    };
    let mut named = view.by::<Zone>("sorted", &names::sort_key(name));
    let Some(zone) = named.find(sees) else {
        return Ok(());
    };
    let (region, id) = vpc;
    Err(fault::fault(
        "ConflictingDomainExists",
        format!(
            "The VPC {id} in region {region} has already been associated with the hosted zone {} with the same domain name.",
            zone.id
        ),
    ))
}

pub(crate) fn associate(
    app: &Route53,
    tx: &mut Tx,
    op: AssociateVPCWithHostedZone,
) -> Result<AssociateVPCWithHostedZoneResponse, ApiError> {
    let cell = &app.cell;
    let zone = zone::find(tx.view(), &op.id)?;
    let vpc = vpc(cell, tx.view(), &op.vpc)?;
    let mut vpcs = zone.vpcs.clone().ok_or_else(|| {
        fault::fault(
            "PublicZoneVPCAssociation",
            "The specified hosted zone is a public hosted zone: VPCs can be associated with private hosted zones only.",
        )
    })?;
    check_conflict(tx.view(), &zone.name, &vpc)?;
    vpcs.insert(vpc);
    limit::VPCS_PER_ZONE.check(cell, vpcs.len())?;
    tx.put(Zone {
        vpcs: Some(vpcs),
        ..Zone::clone(&zone)
    });
    let change = change::submit(tx, op.comment);
    Ok(AssociateVPCWithHostedZoneResponse { change })
}

pub(crate) fn disassociate(
    _: &Route53,
    tx: &mut Tx,
    op: DisassociateVPCFromHostedZone,
) -> Result<DisassociateVPCFromHostedZoneResponse, ApiError> {
    let zone = zone::find(tx.view(), &op.id)?;
    let id = ident::vpc(op.vpc.id.as_deref().unwrap_or_default())?;
    let vpc = (op.vpc.region.clone().unwrap_or_default(), id);
    let mut vpcs = zone.vpcs.clone().unwrap_or_default();
    if !vpcs.remove(&vpc) {
        let text = format!(
            "The VPC {} in region {} and the hosted zone {} are not associated.",
            vpc.1, vpc.0, zone.id
        );
        return Err(ApiError::new("VPCAssociationNotFound", 404, text));
    }
    if vpcs.is_empty() {
        let text = format!(
            "The VPC {} is the last one that is associated with the hosted zone {}: a private hosted zone must have one.",
            vpc.1, zone.id
        );
        return Err(fault::fault("LastVPCAssociation", text));
    }
    tx.put(Zone {
        vpcs: Some(vpcs),
        ..Zone::clone(&zone)
    });
    let change = change::submit(tx, op.comment);
    Ok(DisassociateVPCFromHostedZoneResponse { change })
}

pub(crate) fn list_by_vpc(
    app: &Route53,
    view: &View,
    op: &ListHostedZonesByVPC,
) -> Result<ListHostedZonesByVPCResponse, ApiError> {
    let cell = &app.cell;
    let vpc = (op.vpc_region.clone(), ident::vpc(&op.vpc_id)?);
    let sees = |zone: &Arc<Zone>| zone.vpcs.as_ref().is_some_and(|vpcs| vpcs.contains(&vpc));
    let from = |start: Bound<String>| {
        let zones = view.from::<Zone>(start.as_ref().map(String::as_str));
        zones.filter(sees)
    };
    let size = page::size(op.max_items.as_deref(), PAGE)?;
    let token = op.next_token.as_deref();
    let page = page::behind_token(from, |zone| zone.id.to_string(), token, size)?;
    let summary = |zone: &Arc<Zone>| HostedZoneSummary {
        id: zone.id.to_string(),
        name: zone.name.clone(),
        owner: HostedZoneOwner {
            account: Some(cell.account.clone()),
        },
    };
    Ok(ListHostedZonesByVPCResponse {
        summaries: page.items.iter().map(summary).collect(),
        max_items: page::shown(op.max_items.as_deref(), PAGE),
        next_token: page.next_token,
    })
}

/// Who may associate a VPC with a zone.
pub(crate) fn authorizations<'v>(
    view: &'v View,
    zone: &HostedZoneId,
) -> impl Iterator<Item = Arc<Authorization>> + use<'v> {
    let prefix = format!("{zone}/");
    let all: Vec<_> = view.range::<Authorization>(&prefix).collect();
    all.into_iter()
}

/// A zone and a VPC that need not be known here: it is of another account.
fn authorization(view: &View, id: &str, vpc: &Vpc) -> Result<Authorization, ApiError> {
    let zone = zone::find(view, id)?;
    if !zone.is_private() {
        let text = "A VPC can be authorized for a private hosted zone only.";
        return Err(fault::invalid(text));
    }
    let region = vpc
        .region
        .clone()
        .ok_or_else(|| fault::invalid("A VPCRegion has to be specified."))?;
    Ok(Authorization {
        zone: zone.id.clone(),
        region,
        vpc: ident::vpc(vpc.id.as_deref().unwrap_or_default())?,
    })
}

pub(crate) fn authorize(
    app: &Route53,
    tx: &mut Tx,
    op: CreateVPCAssociationAuthorization,
) -> Result<CreateVPCAssociationAuthorizationResponse, ApiError> {
    let cell = &app.cell;
    let authorization = tx.put(authorization(tx.view(), &op.id, &op.vpc)?);
    let count = authorizations(tx.view(), &authorization.zone).count();
    limit::AUTHORIZATIONS_PER_ZONE.check(cell, count)?;
    Ok(CreateVPCAssociationAuthorizationResponse {
        zone_id: authorization.zone.to_string(),
        vpc: op.vpc,
    })
}

pub(crate) fn deauthorize(
    _: &Route53,
    tx: &mut Tx,
    op: DeleteVPCAssociationAuthorization,
) -> Result<DeleteVPCAssociationAuthorizationResponse, ApiError> {
    let authorization = authorization(tx.view(), &op.id, &op.vpc)?;
    if tx.delete::<Authorization>(&authorization.id()) {
        return Ok(DeleteVPCAssociationAuthorizationResponse {});
    }
    Err(ApiError::new(
        "VPCAssociationAuthorizationNotFound",
        404,
        format!(
            "The VPC {} in region {} is not authorized to be associated with the hosted zone {}.",
            authorization.vpc, authorization.region, authorization.zone
        ),
    ))
}

pub(crate) fn list_authorizations(
    _: &Route53,
    view: &View,
    op: &ListVPCAssociationAuthorizations,
) -> Result<ListVPCAssociationAuthorizationsResponse, ApiError> {
    let zone = zone::find(view, &op.id)?;
    let size = page::size(op.max_results.as_deref(), AUTHORIZATIONS)?;
    let all = authorizations(view, &zone.id);
    let page = page::from_token(all, |known| known.id(), op.next_token.as_deref(), size)?;
    let vpcs = page.items.iter();
    Ok(ListVPCAssociationAuthorizationsResponse {
        zone_id: zone.id.to_string(),
        next_token: page.next_token.clone(),
        vpcs: vpcs
            .map(|known| shown(&(known.region.clone(), known.vpc.clone())))
            .collect(),
    })
}
