//! Targets: registered, deregistered, and what nodes say of them.

use std::sync::Arc;

use lath_control::{Cell, Mode};
use lath_ec2_records::Vpc;
use lath_feed::{Observed, TargetHealth, TargetKey};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::record::{self, TargetGroup, target_key};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, action, page, quota, target_group, vpc};

operations! {
    for Lattice as "vpc-lattice";
    change RegisterTargets: post "/targetgroups/{targetGroupIdentifier}/registertargets" 200 -> TargetsOutput = register_all
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone())
            // Lattice lets itself invoke the function in the caller's name.
            .also("lambda:AddPermission", &lath_lambda::FUNCTION, |op, _| functions_of(&op.targets))
                .with("lambda:Principal", |_, _| PRINCIPAL.to_owned());
    change DeregisterTargets: post "/targetgroups/{targetGroupIdentifier}/deregistertargets" 200 -> TargetsOutput = deregister_all
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
    read ListTargets: post "/targetgroups/{targetGroupIdentifier}/listtargets" 200 -> ListTargetsOutput = list
        => on(&TARGET_GROUP, |op, _| op.target_group_identifier.clone());
}

/// Who invokes functions of groups.
pub(crate) const PRINCIPAL: &str = "vpc-lattice.amazonaws.com";

/// The functions that a request names.
fn functions_of(targets: &[Target]) -> Vec<String> {
    let named = targets.iter().map(|it| it.id.clone());
    named
        .filter(|it| it.starts_with("arn:") && it.split(':').nth(2) == Some("lambda"))
        .collect()
}

/// The id of the statement by which a function's policy lets a group invoke it.
fn statement(group: &TargetGroup) -> String {
    format!("vpc-lattice-{}", group.id)
}

fn of_function(target: &Target) -> Target {
    Target {
        id: target.id.clone(),
        port: None,
    }
}

fn unsupported(target: &Target, code: &str, message: String) -> TargetFailure {
    TargetFailure {
        id: Some(target.id.clone()),
        port: target.port,
        failure_code: Some(code.to_owned()),
        failure_message: Some(message),
    }
}

/// A group has one function, of this region, which from now on lets the group invoke it.
fn register_function(
    cell: &Cell,
    tx: &mut Tx,
    group: &TargetGroup,
    target: &Target,
) -> Result<Target, TargetFailure> {
    let refused = |message: String| Err(unsupported(target, "UnsupportedTarget", message));
    if target.port.is_some() {
        return refused("A function has no port".to_owned());
    }
    let Some(name) = lath_lambda::function_of(cell, tx.view(), &target.id) else {
        return refused(format!("There is no function {} in this region", target.id));
    };
    let prefix = format!("{}/", group.id);
    let mut known = tx.view().range::<record::Target>(&prefix);
    let has_other = known.any(|it| it.id != target.id);
    drop(known);
    if has_other {
        let text = "A LAMBDA target group has one function: deregister the other one first";
        return refused(text.to_owned());
    }
    if tx
        .get::<record::Target>(&target_key(&group.id, &target.id, 0))
        .is_none()
    {
        tx.put(record::Target {
            group: group.id.clone(),
            id: target.id.clone(),
            port: 0,
            registered_at: tx.now(),
            draining_since: None,
        });
    }
    let arn = target_group::arn(cell, &group.id);
    lath_lambda::permit(tx, &name, &statement(group), PRINCIPAL, &arn);
    Ok(of_function(target))
}

/// At once: what is on its way to the function comes to its end there.
fn deregister_function(
    cell: &Cell,
    tx: &mut Tx,
    group: &TargetGroup,
    target: &Target,
) -> Result<Target, TargetFailure> {
    if !tx.delete::<record::Target>(&target_key(&group.id, &target.id, 0)) {
        let message = format!("Target {} is not registered", target.id);
        return Err(unsupported(target, "TargetNotFound", message));
    }
    if let Some(name) = lath_lambda::function_of(cell, tx.view(), &target.id) {
        lath_lambda::revoke(tx, &name, &statement(group));
    }
    Ok(of_function(target))
}

/// A function as a target of a group, if it is there.
pub(crate) fn function(
    cell: &Cell,
    view: &View,
    group: &TargetGroup,
) -> Option<lath_feed::TargetFunction> {
    let prefix = format!("{}/", group.id);
    let target = view.range::<record::Target>(&prefix).next()?;
    let name = lath_lambda::function_of(cell, view, &target.id)?;
    let arn = target_group::arn(cell, &group.id);
    let permitted = lath_lambda::is_permitted(cell, view, &name, PRINCIPAL, &arn);
    Some(lath_feed::TargetFunction { name, permitted })
}

fn port_of(target: &Target, group: &TargetGroup) -> u16 {
    let given = target.port.and_then(|port| u16::try_from(port).ok());
    given.unwrap_or(group.port)
}

fn named(target: &Target, port: u16) -> Target {
    Target {
        id: target.id.clone(),
        port: Some(port.into()),
    }
}

fn failure(target: &Target, port: u16, code: &str, message: String) -> TargetFailure {
    TargetFailure {
        id: Some(target.id.clone()),
        port: Some(port.into()),
        failure_code: Some(code.to_owned()),
        failure_message: Some(message),
    }
}

fn output(results: Vec<Result<Target, TargetFailure>>) -> TargetsOutput {
    let mut output = TargetsOutput {
        successful: Some(Vec::new()),
        unsuccessful: Some(Vec::new()),
    };
    for result in results {
        match result {
            Ok(target) => output.successful.get_or_insert_default().push(target),
            Err(failure) => output.unsuccessful.get_or_insert_default().push(failure),
        }
    }
    output
}

/// An address in one spelling, so that a target has one identity.
fn spelled(target: &Target) -> Target {
    let id = match target.id.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => target.id.clone(),
    };
    Target {
        id,
        port: target.port,
    }
}

fn register_target(
    tx: &mut Tx,
    group: &TargetGroup,
    vpc: &Vpc,
    target: &Target,
) -> Result<Target, TargetFailure> {
    let port = port_of(target, group);
    let refusal = match group.kind {
        TargetGroupType::Instance => vpc::instance_refusal(tx.view(), &vpc.id, &target.id),
        _ => vpc::address_refusal(vpc, &target.id),
    };
    if let Some(message) = refusal {
        return Err(failure(target, port, "UnsupportedTarget", message));
    }
    let known = tx.get::<record::Target>(&target_key(&group.id, &target.id, port));
    if known.is_none_or(|known| known.draining_since.is_some()) {
        tx.put(record::Target {
            group: group.id.clone(),
            id: target.id.clone(),
            port,
            registered_at: tx.now(),
            draining_since: None,
        });
    }
    Ok(named(target, port))
}

fn register_all(
    app: &Lattice,
    tx: &mut Tx,
    op: RegisterTargets,
) -> Result<TargetsOutput, ApiError> {
    let cell = &app.cell;
    let group = target_group::find_active(cell, tx.view(), &op.target_group_identifier)?;
    let Some(vpc) = &group.vpc else {
        let targets = op.targets.iter();
        let results = targets.map(|target| register_function(cell, tx, &group, target));
        return Ok(output(results.collect()));
    };
    let vpc = vpc::existing(tx.view(), vpc.as_str())?;
    let targets = op.targets.iter().map(spelled);
    let results = targets
        .map(|target| register_target(tx, &group, &vpc, &target))
        .collect();
    let count = tx
        .view()
        .range::<record::Target>(&format!("{}/", group.id))
        .count();
    quota::check(quota::TARGETS_PER_GROUP, cell, count)?;
    Ok(output(results))
}

/// A target that drains already is left to it.
fn deregister(tx: &mut Tx, group: &TargetGroup, target: &Target) -> Result<Target, TargetFailure> {
    let port = port_of(target, group);
    let key = target_key(&group.id, &target.id, port);
    let now = tx.now();
    let found = tx.update::<record::Target>(&key, |target| {
        target.draining_since.get_or_insert(now);
    });
    match found {
        Some(_) => Ok(named(target, port)),
        None => {
            let message = format!("Target {}:{port} is not registered", target.id);
            Err(failure(target, port, "TargetNotFound", message))
        }
    }
}

fn deregister_all(
    app: &Lattice,
    tx: &mut Tx,
    op: DeregisterTargets,
) -> Result<TargetsOutput, ApiError> {
    let cell = &app.cell;
    let group = target_group::find_active(cell, tx.view(), &op.target_group_identifier)?;
    if target_group::is_of_function(&group) {
        let targets = op.targets.iter();
        let results = targets.map(|target| deregister_function(cell, tx, &group, target));
        return Ok(output(results.collect()));
    }
    let targets = op.targets.iter().map(spelled);
    Ok(output(
        targets
            .map(|target| deregister(tx, &group, &target))
            .collect(),
    ))
}

/// A target's state for callers, and its reason in our own words; `HealthCheckFailed` is AWS's.
fn status(
    observed: &Observed,
    group: &TargetGroup,
    in_use: bool,
    target: &record::Target,
) -> (TargetStatus, Option<&'static str>) {
    if target.draining_since.is_some() {
        return (TargetStatus::Draining, Some("DeregistrationInProgress"));
    }
    if !in_use {
        return (TargetStatus::Unused, Some("TargetNotInUse"));
    }
    if !group.health_check.enabled {
        return (TargetStatus::Unavailable, Some("HealthCheckDisabled"));
    }
    let key = TargetKey {
        id: target.id.clone(),
        port: target.port,
    };
    let seen = observed.targets.get(&group.id).and_then(|t| t.get(&key));
    match seen.map(|seen| seen.health) {
        Some(TargetHealth::Healthy) => (TargetStatus::Healthy, None),
        Some(TargetHealth::Unhealthy) => (TargetStatus::Unhealthy, Some("HealthCheckFailed")),
        // The node has not caught up with a change: no probe has decided yet.
        _ => (TargetStatus::Initial, Some("InitialHealthChecking")),
    }
}

/// A function is not probed; one that is gone, or has taken its permission back, fails every request.
fn status_of_function(
    function: Option<&lath_feed::TargetFunction>,
) -> (TargetStatus, Option<String>) {
    let text = match function {
        None => "The function does not exist",
        Some(it) if !it.permitted => "The function does not permit the group to invoke it",
        Some(_) => return (TargetStatus::Unavailable, None),
    };
    (TargetStatus::Unhealthy, Some(text.to_owned()))
}

fn summary(
    cell: &Cell,
    observed: &Observed,
    group: &TargetGroup,
    in_use: bool,
    target: &record::Target,
) -> TargetSummary {
    let (status, reason) = status(observed, group, in_use, target);
    let reason =
        reason.filter(|reason| cell.mode == Mode::Extended || *reason == "HealthCheckFailed");
    TargetSummary {
        id: Some(target.id.clone()),
        port: Some(target.port.into()),
        status: Some(status),
        reason_code: reason.map(str::to_owned),
    }
}

fn wanted(filter: Option<&[Target]>, group: &TargetGroup, target: &record::Target) -> bool {
    filter.is_none_or(|filter| {
        filter.is_empty()
            || filter.iter().map(spelled).any(|wanted| {
                wanted.id == target.id
                    && (target_group::is_of_function(group)
                        || wanted.port.is_none()
                        || port_of(&wanted, group) == target.port)
            })
    })
}

fn list(app: &Lattice, view: &View, op: &ListTargets) -> Result<ListTargetsOutput, ApiError> {
    let cell = &app.cell;
    let group = target_group::find(cell, view, &op.target_group_identifier)?;
    let in_use = !action::users(view, &group.id).is_empty();
    let observed = Arc::clone(&cell.observed.borrow());
    let filter = op.targets.as_deref();
    let prefix = format!("{}/", group.id);
    let page = page(
        view.range::<record::Target>(&prefix)
            .filter(|target| wanted(filter, &group, target)),
        |target| target_key(&target.group, &target.id, target.port),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    let function = function(cell, view, &group);
    let show = |target: &Arc<record::Target>| {
        if target_group::is_of_function(&group) {
            let (status, reason) = status_of_function(function.as_ref());
            return TargetSummary {
                id: Some(target.id.clone()),
                port: None,
                status: Some(status),
                reason_code: reason,
            };
        }
        summary(cell, &observed, &group, in_use, target)
    };
    Ok(ListTargetsOutput {
        items: page.items.iter().map(show).collect(),
        next_token: page.next_token,
    })
}
