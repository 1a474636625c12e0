//! Rule actions: from the wire to the state and back, and which target groups they use.

use std::collections::BTreeSet;

use lath_control::{Cell, Mode};
use lath_model::id::{ServiceId, TargetGroupId};
use lath_model::lattice::{self, Action, ListenerProtocol, ProtocolVersion, TargetProtocol};
use lath_store::View;
use lath_wire::ApiError;

use crate::ident::Kind;
use crate::record::{Listener, Rule};
use crate::region::GroupSide;
use crate::shape::{FixedResponseAction, ForwardAction, RuleAction, Status, WeightedTargetGroup};
use crate::{fault, quota, region};

/// Whose action it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User<'a> {
    pub(crate) service: &'a ServiceId,
    /// Of the service's listener.
    pub(crate) protocol: ListenerProtocol,
}

/// An action of one of the service's listeners, with every group looked up. `member` is where it
/// stands in the request.
///
/// # Errors
/// 404 for a group that is not there, 409 for one that cannot be used, 400 for one that does not fit.
pub(crate) fn resolve(
    cell: &Cell,
    view: &View,
    user: User<'_>,
    action: &RuleAction,
    member: &str,
) -> Result<Action, ApiError> {
    if let Some(fixed) = &action.fixed_response {
        if user.protocol == ListenerProtocol::TlsPassthrough {
            let message = "A TLS_PASSTHROUGH listener can only forward";
            return Err(fault::invalid(member, message));
        }
        let status = u16::try_from(fixed.status_code)
            .map_err(|_| fault::invalid(member, "Member must be 404 or 500"))?;
        return Ok(Action::FixedResponse(status));
    }
    let groups = action.forward.iter().flat_map(|f| &f.target_groups);
    let groups: Vec<&WeightedTargetGroup> = groups.collect();
    let default = if groups.len() == 1 { 100 } else { 1 };
    let weighted = |group: &&WeightedTargetGroup| weigh(cell, view, user, group, default);
    let weighted: Result<Vec<_>, ApiError> = groups.iter().map(weighted).collect();
    Ok(Action::Forward(weighted?))
}

fn weigh(
    cell: &Cell,
    view: &View,
    user: User<'_>,
    group: &WeightedTargetGroup,
    default: u32,
) -> Result<lattice::WeightedTargetGroup, ApiError> {
    let weight = group.weight.and_then(|weight| u32::try_from(weight).ok());
    Ok(lattice::WeightedTargetGroup {
        target_group: usable_by(cell, view, user, &group.target_group_identifier)?,
        weight: weight.unwrap_or(default),
    })
}

/// The group of this id or ARN, to which the listener may send requests.
///
/// # Errors
/// As of [`resolve`].
pub(crate) fn usable_by(
    cell: &Cell,
    view: &View,
    user: User<'_>,
    identifier: &str,
) -> Result<TargetGroupId, ApiError> {
    let record = GroupSide::find(cell, view, identifier)?;
    usable(cell, view, user, &record)?;
    Ok(record.id.clone())
}

/// In extended mode a group may serve any number of services, so that each region's service can fall back on
/// the other region's group, and HTTP/2 and gRPC are spoken in the clear too.
fn usable(cell: &Cell, view: &View, user: User<'_>, group: &GroupSide) -> Result<(), ApiError> {
    let id = &group.id;
    if group.status != Status::Active {
        let status = group.status.as_str();
        return Err(fault::wrong_status(Kind::TargetGroup, id.as_str(), status));
    }
    let is_opaque = group.protocol == TargetProtocol::Tcp;
    if is_opaque != (user.protocol == ListenerProtocol::TlsPassthrough) {
        return Err(fault::refused(format!(
            "Target group {id} does not fit: TLS_PASSTHROUGH listeners forward to TCP target groups, and no others do"
        )));
    }
    let needs_tls = cell.mode != Mode::Extended && group.version != ProtocolVersion::Http1;
    if user.protocol == ListenerProtocol::Http && needs_tls {
        return Err(fault::refused(format!(
            "Target group {id} does not speak HTTP1: only HTTPS listeners can forward to HTTP2 and GRPC target groups"
        )));
    }
    if cell.mode == Mode::Extended {
        return Ok(());
    }
    let other = users(view, id)
        .into_iter()
        .find(|other| other != user.service);
    other.map_or(Ok(()), |other| {
        Err(fault::conflict(
            Kind::TargetGroup,
            id.as_str(),
            format!("Target group {id} is in use by another service, {other}"),
        ))
    })
}

/// An action as the wire shows it.
pub(crate) fn show(view: &View, action: &Action) -> RuleAction {
    match action {
        Action::FixedResponse(status) => RuleAction {
            forward: None,
            fixed_response: Some(FixedResponseAction {
                status_code: i64::from(*status),
            }),
        },
        Action::Forward(groups) => RuleAction {
            forward: Some(ForwardAction {
                target_groups: groups.iter().map(|group| show_group(view, group)).collect(),
            }),
            fixed_response: None,
        },
    }
}

fn show_group(view: &View, group: &lattice::WeightedTargetGroup) -> WeightedTargetGroup {
    WeightedTargetGroup {
        target_group_identifier: region::group_identifier(view, &group.target_group),
        weight: Some(i64::from(group.weight)),
    }
}

/// The groups that a rule sends requests to, or copies of them.
pub(crate) fn groups_of(rule: &Rule) -> impl Iterator<Item = &TargetGroupId> {
    let mirrors = rule.traffic.iter().flat_map(|it| it.mirrored());
    groups(&rule.action).chain(mirrors)
}

/// The groups that an action forwards to.
fn groups(action: &Action) -> impl Iterator<Item = &TargetGroupId> {
    let groups: &[lattice::WeightedTargetGroup] = match action {
        Action::Forward(groups) => groups,
        Action::FixedResponse(_) => &[],
    };
    groups.iter().map(|group| &group.target_group)
}

/// The services, of whatever region, with a rule that forwards to the group.
pub(crate) fn users(view: &View, group: &TargetGroupId) -> BTreeSet<ServiceId> {
    let here = view
        .by::<Rule>("group", group.as_str())
        .map(|rule| rule.service.clone());
    let elsewhere = region::services(view)
        .filter(|service| region::groups_of(service).any(|used| used == group))
        .map(|service| service.id);
    here.chain(elsewhere).collect()
}

/// Whether a rule forwards to a group, of whatever region.
pub(crate) fn is_used(view: &View, group: &TargetGroupId) -> bool {
    let mut here = view.by::<Rule>("group", group.as_str());
    here.next().is_some()
        || region::services(view).any(|it| region::groups_of(&it).any(|used| used == group))
}

/// Checks the quota of groups that a service's rules, as they now are, forward to.
///
/// # Errors
/// `ServiceQuotaExceededException`.
pub(crate) fn check_quota(cell: &Cell, view: &View, service: &ServiceId) -> Result<(), ApiError> {
    let mut used = BTreeSet::new();
    for listener in view.range::<Listener>(&format!("{service}/")) {
        for rule in view.range::<Rule>(&format!("{}/", listener.id)) {
            used.extend(groups_of(&rule).cloned());
        }
    }
    quota::check(quota::TARGET_GROUPS_PER_SERVICE, cell, used.len())
}
