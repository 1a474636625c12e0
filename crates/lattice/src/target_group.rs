//! Target groups.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use lath_acm::CERTIFICATE;
use lath_control::{Cell, Claim};
use lath_model::Timestamp;
use lath_model::id::{ServiceId, TargetGroupId};
use lath_model::lattice::{ProtocolVersion, TargetProtocol};
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::{ApiError, Caller};

use crate::ident::{Kind, resolve};
use crate::record::{Target, TargetGroup};
use crate::resource_types::*;
use crate::shape::*;
use crate::{
    Lattice, action, balancing, behind, canary, fault, health_check, page_from, probing, quota,
    region, target_tls, token, traffic, vpc,
};

operations! {
    for Lattice as "vpc-lattice";
    change CreateTargetGroup: post "/targetgroups" 201 -> TargetGroupOutput = create, checked, caller
        => makes(&TARGET_GROUP)
            .with(VPC, |op, _| op.config.as_ref().and_then(|it| it.vpc_identifier.clone()))
            .with_tags(|op| &op.tags)
            .tagging(&TARGET_GROUP, |_, _| "*".into(), |op| &op.tags)
            .also(SEE_CERTIFICATE, &CERTIFICATE, |op, _| presented(&op.tags))
        => refusing ["" CreateTargetGroup];
    read GetTargetGroup: get "/targetgroups/{targetGroupIdentifier}" 200 -> GetTargetGroupOutput = get
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    read ListTargetGroups: get "/targetgroups" 200 -> ListTargetGroupsOutput = list
        => any();
    change UpdateTargetGroup: patch "/targetgroups/{targetGroupIdentifier}" 200 -> TargetGroupOutput = update, checked
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    change DeleteTargetGroup: delete "/targetgroups/{targetGroupIdentifier}" 200 -> DeleteTargetGroupOutput = delete_target_group
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
}

/// The target group that an identifier names, in whatever state.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<TargetGroup>, ApiError> {
    let id = resolve(cell, Kind::TargetGroup, text, &[])?;
    view.get(&id)
        .ok_or_else(|| fault::not_found(Kind::TargetGroup, &id))
}

/// The target group that an identifier names, which must be `ACTIVE`.
///
/// # Errors
/// `ResourceNotFoundException` or `ConflictException`.
pub(crate) fn find_active(
    cell: &Cell,
    view: &View,
    text: &str,
) -> Result<Arc<TargetGroup>, ApiError> {
    let group = find(cell, view, text)?;
    if group.status != Status::Active {
        let status = group.status.as_str();
        return Err(fault::wrong_status(
            Kind::TargetGroup,
            group.id.as_str(),
            status,
        ));
    }
    Ok(group)
}

/// A target group's ARN.
pub(crate) fn arn(cell: &Cell, id: &TargetGroupId) -> String {
    cell.arn("vpc-lattice", format!("targetgroup/{id}"))
}

fn address_type(group: &TargetGroup) -> Option<IpAddressType> {
    (group.kind == TargetGroupType::Ip).then_some(IpAddressType::Ipv4)
}

/// The version of HTTP; TCP has none.
pub(crate) fn version(group: &TargetGroup) -> Option<ProtocolVersion> {
    (group.protocol != TargetProtocol::Tcp).then_some(group.protocol_version)
}

/// Whether its target is a function.
pub(crate) fn is_of_function(group: &TargetGroup) -> bool {
    group.kind == TargetGroupType::Lambda
}

fn config(group: &TargetGroup) -> TargetGroupConfig {
    if is_of_function(group) {
        return TargetGroupConfig {
            lambda_event_structure_version: Some(group.events.unwrap_or_default()),
            ..TargetGroupConfig::default()
        };
    }
    TargetGroupConfig {
        port: Some(group.port.into()),
        protocol: Some(group.protocol),
        protocol_version: version(group),
        ip_address_type: address_type(group),
        vpc_identifier: group.vpc.as_ref().map(ToString::to_string),
        health_check: Some(health_check::show(&group.health_check)),
        lambda_event_structure_version: None,
    }
}

fn output(cell: &Cell, group: &TargetGroup) -> TargetGroupOutput {
    TargetGroupOutput {
        id: Some(group.id.to_string()),
        arn: Some(arn(cell, &group.id)),
        name: Some(group.name.clone()),
        kind: Some(group.kind),
        config: Some(config(group)),
        status: Some(group.status),
    }
}

fn service_arns(cell: &Cell, view: &View, services: &BTreeSet<ServiceId>) -> Vec<String> {
    let arn = |id| region::service_arn(cell, view, id);
    services.iter().map(arn).collect()
}

fn summary(
    cell: &Cell,
    view: &View,
    group: &TargetGroup,
    users: &BTreeSet<ServiceId>,
) -> TargetGroupSummary {
    let of_function = is_of_function(group);
    let events = of_function.then(|| group.events.unwrap_or_default());
    TargetGroupSummary {
        id: Some(group.id.to_string()),
        arn: Some(arn(cell, &group.id)),
        name: Some(group.name.clone()),
        kind: Some(group.kind),
        created_at: Some(group.created_at),
        port: (!of_function).then(|| group.port.into()),
        protocol: (!of_function).then_some(group.protocol),
        ip_address_type: address_type(group),
        vpc_identifier: group.vpc.as_ref().map(ToString::to_string),
        last_updated_at: Some(group.updated_at),
        status: Some(group.status),
        service_arns: Some(service_arns(cell, view, users)),
        lambda_event_structure_version: events,
    }
}

/// What keeps EC2 from deleting the VPC under a group.
fn claim(group: &TargetGroup) -> Option<Claim> {
    Some(Claim {
        resource: group.vpc.as_ref()?.to_string(),
        holder: group.id.to_string(),
    })
}

/// Deletes a group with its claim.
pub(crate) fn remove(tx: &mut Tx, group: &TargetGroup) {
    if let Some(claim) = claim(group) {
        tx.delete::<Claim>(&claim.id());
    }
    tx.delete::<TargetGroup>(group.id.as_str());
}

/// A new group out of a request that passed validation.
fn planned(
    cell: &Cell,
    view: &View,
    id: TargetGroupId,
    op: CreateTargetGroup,
    now: Timestamp,
) -> Result<TargetGroup, ApiError> {
    let of_function = op.kind == TargetGroupType::Lambda;
    let given = op.config.unwrap_or_default();
    let vpc = match of_function {
        true => None,
        false => {
            let given = given.vpc_identifier.as_deref().unwrap_or_default();
            Some(vpc::existing(view, given)?.id.clone())
        }
    };
    let spoken = health_check::Spoken {
        protocol: given.protocol.unwrap_or(TargetProtocol::Http),
        version: given.protocol_version.unwrap_or(ProtocolVersion::Http1),
    };
    let check = match &given.health_check {
        Some(check) => health_check::changed(health_check::default(cell, spoken), check, spoken)?,
        None => health_check::default(cell, spoken),
    };
    let check = crate::record::HealthCheck {
        enabled: check.enabled && !of_function,
        ..check
    };
    let port = match spoken.protocol {
        TargetProtocol::Http => 80,
        TargetProtocol::Https | TargetProtocol::Tcp => 443,
    };
    // A function speaks nothing.
    let tls_of = match of_function {
        true => TargetProtocol::Tcp,
        false => spoken.protocol,
    };
    Ok(TargetGroup {
        id,
        name: op.name,
        kind: op.kind,
        vpc,
        events: of_function.then(|| given.lambda_event_structure_version.unwrap_or_default()),
        port: given
            .port
            .and_then(|p| u16::try_from(p).ok())
            .unwrap_or(port),
        protocol: spoken.protocol,
        protocol_version: spoken.version,
        health_check: check,
        balancing: balancing::of(cell, &op.tags)?,
        tls: target_tls::of(cell, view, tls_of, &op.tags)?,
        status: Status::CreateInProgress,
        failure: None,
        tags: op.tags,
        created_at: now,
        updated_at: now,
    })
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateTargetGroup,
) -> Result<TargetGroupOutput, ApiError> {
    let cell = &app.cell;
    const KIND: Kind = Kind::TargetGroup;
    let client_token = op.client_token.take();
    let id = TargetGroupId::random();
    let token = client_token.as_deref();
    if let Some(id) = token::claim(tx, "CreateTargetGroup", token, &op, KIND, id.as_str())? {
        return Ok(output(cell, &*find(cell, tx.view(), &id)?));
    }
    probing::check(cell, &op.tags)?;
    for tag in [&traffic::TAG, &canary::TAG] {
        traffic::check_given(tag, tx.view(), KIND, "", &op.tags)?;
    }
    let group = planned(cell, tx.view(), id, op, tx.now())?;
    if let Some(twin) = tx.view().by::<TargetGroup>("name", &group.name).next() {
        let id = twin.id.as_str();
        return Err(fault::name_taken(KIND, id, &group.name, &caller.account));
    }
    if let Some(claim) = claim(&group) {
        tx.put(claim);
    }
    let group = tx.put(group);
    target_tls::claim(cell, tx, &group);
    quota::check(quota::TARGET_GROUPS, cell, tx.view().count::<TargetGroup>())?;
    Ok(output(cell, &group))
}

fn get(app: &Lattice, view: &View, op: &GetTargetGroup) -> Result<GetTargetGroupOutput, ApiError> {
    let cell = &app.cell;
    let group = find(cell, view, &op.target_group_identifier)?;
    let failure = group.failure.as_ref();
    Ok(GetTargetGroupOutput {
        id: Some(group.id.to_string()),
        arn: Some(arn(cell, &group.id)),
        name: Some(group.name.clone()),
        kind: Some(group.kind),
        config: Some(config(&group)),
        created_at: Some(group.created_at),
        last_updated_at: Some(group.updated_at),
        status: Some(group.status),
        service_arns: Some(service_arns(cell, view, &action::users(view, &group.id))),
        failure_message: failure.map(|failure| failure.message.clone()),
        failure_code: failure.map(|failure| failure.code.clone()),
    })
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListTargetGroups,
) -> Result<ListTargetGroupsOutput, ApiError> {
    let cell = &app.cell;
    let vpc = op.vpc_identifier.as_deref();
    let from = |start: Bound<String>| {
        behind::<TargetGroup>(view, &start).filter(|group| {
            vpc.is_none_or(|vpc| group.vpc.as_ref().is_some_and(|own| own.as_str() == vpc))
                && op.target_group_type.is_none_or(|kind| group.kind == kind)
        })
    };
    let token = op.next_token.as_deref();
    let page = page_from(from, |group| group.id.to_string(), op.max_results, token)?;
    let show =
        |group: &Arc<TargetGroup>| summary(cell, view, group, &action::users(view, &group.id));
    Ok(ListTargetGroupsOutput {
        items: Some(page.items.iter().map(show).collect()),
        next_token: page.next_token,
    })
}

fn update(
    app: &Lattice,
    tx: &mut Tx,
    op: UpdateTargetGroup,
) -> Result<TargetGroupOutput, ApiError> {
    let cell = &app.cell;
    let group = find_active(cell, tx.view(), &op.target_group_identifier)?;
    if is_of_function(&group) {
        let text = "Health checks are not supported for LAMBDA target groups";
        return Err(fault::invalid("healthCheck", text));
    }
    let was = group.health_check.clone();
    let spoken = health_check::Spoken {
        protocol: group.protocol,
        version: group.protocol_version,
    };
    let group = tx.put(TargetGroup {
        health_check: health_check::changed(was, &op.health_check, spoken)?,
        updated_at: tx.now(),
        ..TargetGroup::clone(&group)
    });
    Ok(output(cell, &group))
}

fn delete(cell: &Cell, tx: &mut Tx, op: &DeleteTargetGroup) -> Result<Arc<TargetGroup>, ApiError> {
    let group = find(cell, tx.view(), &op.target_group_identifier)?;
    match group.status {
        Status::DeleteInProgress => return Ok(group),
        Status::CreateInProgress => {
            let status = group.status.as_str();
            return Err(fault::wrong_status(
                Kind::TargetGroup,
                group.id.as_str(),
                status,
            ));
        }
        Status::Active | Status::CreateFailed | Status::DeleteFailed => {}
    }
    refuse_while_used(cell, tx.view(), &group.id)?;
    // Nodes are not told of it any more.
    target_tls::release(cell, tx, &group);
    Ok(tx.put(TargetGroup {
        status: Status::DeleteInProgress,
        failure: None,
        ..TargetGroup::clone(&group)
    }))
}

fn refuse_while_used(cell: &Cell, view: &View, id: &TargetGroupId) -> Result<(), ApiError> {
    if let Some(user) = action::users(view, id).first() {
        let user = region::service_arn(cell, view, user);
        let message = format!("Target group {id} is in use by {user}");
        return Err(fault::conflict(Kind::TargetGroup, id.as_str(), message));
    }
    let prefix = format!("{id}/");
    let targets: Vec<_> = view.range::<Target>(&prefix).collect();
    if targets.is_empty() {
        return Ok(());
    }
    let draining = targets.iter().all(|target| target.draining_since.is_some());
    let what = if draining { "draining" } else { "registered" };
    let message = format!("Target group {id} has {} {what} target(s)", targets.len());
    Err(fault::conflict(Kind::TargetGroup, id.as_str(), message))
}

fn delete_target_group(
    app: &Lattice,
    tx: &mut Tx,
    op: DeleteTargetGroup,
) -> Result<DeleteTargetGroupOutput, ApiError> {
    let cell = &app.cell;
    let group = delete(cell, tx, &op)?;
    Ok(DeleteTargetGroupOutput {
        id: Some(group.id.to_string()),
        arn: Some(arn(cell, &group.id)),
        status: Some(group.status),
    })
}
