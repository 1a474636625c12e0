//! Rule actions: from the wire to the state and back, and which target groups they use.

use std::collections::{BTreeMap, BTreeSet};

use lath_control::Cell;
use lath_model::id::{ServiceId, TargetGroupId};
use lath_model::lattice::{self, Action, ProtocolVersion};
use lath_store::View;
use lath_wire::ApiError;

use crate::ident::Kind;
use crate::record::{Listener, Rule, TargetGroup};
use crate::shape::{FixedResponseAction, ForwardAction, RuleAction, Status, WeightedTargetGroup};
use crate::{fault, quota, target_group};

/// An action of one of the service's HTTP listeners, with every group looked up. `member` is where it
/// stands in the request.
///
/// # Errors
/// 404 for a group that is not there, 409 for one that cannot be used, 400 for one that does not fit.
pub(crate) fn resolve(
    cell: &Cell,
    view: &View,
    service: &ServiceId,
    action: &RuleAction,
    member: &str,
) -> Result<Action, ApiError> {
    if let Some(fixed) = &action.fixed_response {
        let status = u16::try_from(fixed.status_code)
            .map_err(|_| fault::invalid(member, "Member must be 404 or 500"))?;
        return Ok(Action::FixedResponse(status));
    }
    let groups = action.forward.iter().flat_map(|f| &f.target_groups);
    let groups: Vec<&WeightedTargetGroup> = groups.collect();
    let default = if groups.len() == 1 { 100 } else { 1 };
    let weighted = |group: &&WeightedTargetGroup| weigh(cell, view, service, group, default);
    let weighted: Result<Vec<_>, ApiError> = groups.iter().map(weighted).collect();
    Ok(Action::Forward(weighted?))
}

fn weigh(
    cell: &Cell,
    view: &View,
    service: &ServiceId,
    group: &WeightedTargetGroup,
    default: u32,
) -> Result<lattice::WeightedTargetGroup, ApiError> {
    let record = target_group::find(cell, view, &group.target_group_identifier)?;
    usable(view, service, &record)?;
    let weight = group.weight.and_then(|weight| u32::try_from(weight).ok());
    Ok(lattice::WeightedTargetGroup {
        target_group: record.id.clone(),
        weight: weight.unwrap_or(default),
    })
}

fn usable(view: &View, service: &ServiceId, group: &TargetGroup) -> Result<(), ApiError> {
    let id = &group.id;
    if group.status != Status::Active {
        let status = group.status.as_str();
        return Err(fault::wrong_status(Kind::TargetGroup, id.as_str(), status));
    }
    if group.protocol_version != ProtocolVersion::Http1 {
        return Err(fault::refused(format!(
            "Target group {id} does not speak HTTP1: only HTTPS listeners can forward to HTTP2 and GRPC target groups"
        )));
    }
    let other = users(view, id).into_iter().find(|user| user != service);
    other.map_or(Ok(()), |other| {
        Err(fault::conflict(
            Kind::TargetGroup,
            id.as_str(),
            format!("Target group {id} is in use by another service, {other}"),
        ))
    })
}

/// An action as the wire shows it.
pub(crate) fn show(action: &Action) -> RuleAction {
    match action {
        Action::FixedResponse(status) => RuleAction {
            forward: None,
            fixed_response: Some(FixedResponseAction {
                status_code: i64::from(*status),
            }),
        },
        Action::Forward(groups) => RuleAction {
            forward: Some(ForwardAction {
                target_groups: groups.iter().map(show_group).collect(),
            }),
            fixed_response: None,
        },
    }
}

fn show_group(group: &lattice::WeightedTargetGroup) -> WeightedTargetGroup {
    WeightedTargetGroup {
        target_group_identifier: group.target_group.to_string(),
        weight: Some(i64::from(group.weight)),
    }
}

/// The groups that an action forwards to.
fn groups(action: &Action) -> impl Iterator<Item = &TargetGroupId> {
    let groups: &[lattice::WeightedTargetGroup] = match action {
        Action::Forward(groups) => groups,
        Action::FixedResponse(_) => &[],
    };
    groups.iter().map(|group| &group.target_group)
}

/// The services with a rule that forwards to the group.
pub(crate) fn users(view: &View, group: &TargetGroupId) -> BTreeSet<ServiceId> {
    view.list::<Rule>()
        .filter(|rule| groups(&rule.action).any(|used| used == group))
        .map(|rule| rule.service.clone())
        .collect()
}

/// Every group that a rule forwards to, and the services of those rules.
pub(crate) fn all_users(view: &View) -> BTreeMap<TargetGroupId, BTreeSet<ServiceId>> {
    let mut users: BTreeMap<TargetGroupId, BTreeSet<ServiceId>> = BTreeMap::new();
    for rule in view.list::<Rule>() {
        for group in groups(&rule.action) {
            let services = users.entry(group.clone()).or_default();
            services.insert(rule.service.clone());
        }
    }
    users
}

/// Checks the quota of groups that a service's rules, as they now are, forward to.
///
/// # Errors
/// `ServiceQuotaExceededException`.
pub(crate) fn check_quota(cell: &Cell, view: &View, service: &ServiceId) -> Result<(), ApiError> {
    let mut used = BTreeSet::new();
    for listener in view.range::<Listener>(&format!("{service}/")) {
        for rule in view.range::<Rule>(&format!("{}/", listener.id)) {
            used.extend(groups(&rule.action).cloned());
        }
    }
    quota::TARGET_GROUPS_PER_SERVICE.check(cell, used.len())
}
