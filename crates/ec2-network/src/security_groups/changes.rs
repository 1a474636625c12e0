//! Authorize and Revoke.

use std::sync::Arc;

use ipnet::IpNet;
use lath_control::{Cell, Mode};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::tags::{self, TagSpecification};
use lath_ec2_records::errors::{client, combination, limit, missing};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::prefix_lists;
use lath_ec2_records::resources::SECURITY_GROUP_RULE;
use lath_ec2_records::{Direction, RuleSource, SecurityGroup, SecurityGroupRule, Vpc};
use lath_model::id::SecurityGroupRuleId;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::*;
use super::permissions::{self, Wanted, shown_traffic};
use super::{group_of, rules};

/// How many rules a group may have per direction and address family.
const MAX_RULES: usize = 60;
/// What AWS's own lists count (<https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html>).
const AWS_LIST_WEIGHT: usize = 10;

pub(super) fn authorize_ingress(
    app: &Ec2,
    tx: &mut Tx,
    mut op: AuthorizeSecurityGroupIngress,
) -> Result<AuthorizeResult, ApiError> {
    let group = group_of(tx.view(), op.group_id.as_deref(), op.group_name.as_deref())?;
    let rules = op.take_rules();
    let wanted = permissions::wanted(&app.cell, tx.view(), &group, rules)?;
    let tags = &op.tag_specifications;
    authorize(app, tx, &group, Direction::Ingress, wanted, tags)
}

pub(super) fn authorize_egress(
    app: &Ec2,
    tx: &mut Tx,
    mut op: AuthorizeSecurityGroupEgress,
) -> Result<AuthorizeResult, ApiError> {
    let group = ids::find::<SecurityGroup>(tx.view(), &op.group_id)?;
    let rules = op.take_rules();
    let wanted = permissions::wanted(&app.cell, tx.view(), &group, rules)?;
    let tags = &op.tag_specifications;
    authorize(app, tx, &group, Direction::Egress, wanted, tags)
}

fn authorize(
    app: &Ec2,
    tx: &mut Tx,
    group: &SecurityGroup,
    direction: Direction,
    wanted: Vec<Wanted>,
    specifications: &[TagSpecification],
) -> Result<AuthorizeResult, ApiError> {
    if wanted.is_empty() {
        return Err(missing("ipPermissions"));
    }
    let tags = tags::specified(specifications, "security-group-rule")?;
    let present = |it: &&Wanted| {
        let mut rules = group.rules.iter();
        rules.any(|rule| rule.direction == direction && it.is(rule))
    };
    if let Some(duplicate) = wanted.iter().find(present) {
        return Err(duplicate_error(duplicate));
    }
    let added: Vec<_> = wanted
        .into_iter()
        .map(|it| new_rule(direction, it))
        .collect();
    let mut changed = group.clone();
    changed.rules.extend(added.iter().cloned());
    check_quota(&app.cell, tx.view(), &changed, direction)?;
    let changed = tx.put(changed);
    for rule in &added {
        tags::put(tx, rule.id.as_str(), tags.clone());
    }
    let shown = added
        .iter()
        .map(|it| rules::item(app, tx.view(), &changed, it));
    Ok(AuthorizeResult {
        done: true,
        rules: shown.collect(),
    })
}

fn new_rule(direction: Direction, wanted: Wanted) -> SecurityGroupRule {
    SecurityGroupRule {
        id: SecurityGroupRuleId::random(),
        direction,
        traffic: wanted.traffic,
        source: wanted.source,
        description: wanted.description,
    }
}

pub(super) fn duplicate_error(rule: &Wanted) -> ApiError {
    let peer = match &rule.source {
        RuleSource::Cidr(cidr) => cidr.to_string(),
        RuleSource::Group(id) => id.to_string(),
        RuleSource::PrefixList(id) => id.to_string(),
    };
    let (protocol, ports) = shown_traffic(rule.traffic);
    let protocol = match protocol.as_str() {
        "-1" => "ALL".to_owned(),
        other => other.to_ascii_uppercase(),
    };
    let ports = ports.map_or_else(String::new, |(from, to)| {
        format!(", from port: {from}, to port: {to}")
    });
    client(
        "InvalidPermission.Duplicate",
        format!("the specified rule \"peer: {peer}, {protocol}{ports}, ALLOW\" already exists"),
    )
}

/// Rules are counted once for IPv4 and once for IPv6; a list counts as many as it may hold.
pub(super) fn check_quota(
    cell: &Cell,
    view: &View,
    group: &SecurityGroup,
    direction: Direction,
) -> Result<(), ApiError> {
    let rules = || group.rules.iter().filter(|it| it.direction == direction);
    let count = |ipv6: bool| -> usize {
        rules()
            .map(|rule| weight(cell, view, &rule.source, ipv6))
            .sum()
    };
    if cell.mode == Mode::Strict && (count(false) > MAX_RULES || count(true) > MAX_RULES) {
        return Err(limit(
            "RulesPerSecurityGroupLimitExceeded",
            "rules per security group",
        ));
    }
    Ok(())
}

fn weight(cell: &Cell, view: &View, source: &RuleSource, ipv6: bool) -> usize {
    match source {
        RuleSource::Cidr(cidr) => usize::from(matches!(cidr, IpNet::V6(_)) == ipv6),
        RuleSource::Group(_) => 1,
        RuleSource::PrefixList(id) => prefix_lists::find(cell, view, id.as_str())
            .filter(|list| list.ipv6 == ipv6)
            .map_or(0, |list| list.max_entries.unwrap_or(AWS_LIST_WEIGHT)),
    }
}

pub(super) fn revoke_ingress(
    app: &Ec2,
    tx: &mut Tx,
    mut op: RevokeSecurityGroupIngress,
) -> Result<RevokeResult, ApiError> {
    let group = group_of(tx.view(), op.group_id.as_deref(), op.group_name.as_deref())?;
    let rules = op.take_rules();
    let wanted = permissions::wanted(&app.cell, tx.view(), &group, rules)?;
    let ids = op.security_group_rule_ids;
    revoke(tx, &group, Direction::Ingress, wanted, ids)
}

pub(super) fn revoke_egress(
    app: &Ec2,
    tx: &mut Tx,
    mut op: RevokeSecurityGroupEgress,
) -> Result<RevokeResult, ApiError> {
    let group = ids::find::<SecurityGroup>(tx.view(), &op.group_id)?;
    let rules = op.take_rules();
    let wanted = permissions::wanted(&app.cell, tx.view(), &group, rules)?;
    let ids = op.security_group_rule_ids;
    revoke(tx, &group, Direction::Egress, wanted, ids)
}

fn revoke(
    tx: &mut Tx,
    group: &Arc<SecurityGroup>,
    direction: Direction,
    wanted: Vec<Wanted>,
    ids: Vec<String>,
) -> Result<RevokeResult, ApiError> {
    if !wanted.is_empty() && !ids.is_empty() {
        return Err(combination(
            "The parameter securityGroupRuleIds may not be used in combination with ipPermissions",
        ));
    }
    if wanted.is_empty() && ids.is_empty() {
        return Err(missing("ipPermissions"));
    }
    let named = ids
        .iter()
        .map(|id| named_rule(group, direction, id))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut revoked, mut unknown) = (named, Vec::new());
    for it in wanted {
        let found = group
            .rules
            .iter()
            .find(|rule| rule.direction == direction && it.is(rule));
        match found {
            Some(rule) => revoked.push(rule),
            None => unknown.push(it),
        }
    }
    if !unknown.is_empty() && !is_in_default_vpc(tx.view(), group) {
        return Err(client(
            "InvalidPermission.NotFound",
            "The specified rule does not exist in this security group.",
        ));
    }
    tx.update::<SecurityGroup>(group.id.as_str(), |it| {
        it.rules.retain(|rule| !revoked.contains(&rule));
    });
    for rule in &revoked {
        tags::forget(tx, rule.id.as_str());
    }
    Ok(RevokeResult {
        done: true,
        unknown: permissions::shown_wanted(&group.owner, &unknown),
        revoked: revoked.iter().map(|it| rules::revoked(group, it)).collect(),
    })
}

fn named_rule<'a>(
    group: &'a SecurityGroup,
    direction: Direction,
    id: &str,
) -> Result<&'a SecurityGroupRule, ApiError> {
    SECURITY_GROUP_RULE.id.check(id)?;
    let mut rules = group.rules.iter();
    rules
        .find(|rule| rule.direction == direction && rule.id.as_str() == id)
        .ok_or_else(|| SECURITY_GROUP_RULE.id.not_found(id))
}

fn is_in_default_vpc(view: &View, group: &SecurityGroup) -> bool {
    view.get::<Vpc>(group.vpc.as_str())
        .is_some_and(|vpc| vpc.is_default)
}
