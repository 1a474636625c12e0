//! Rules one by one.

use ipnet::IpNet;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::messages::Done;
use lath_ec2_kit::select::{Listed, Query, select_keyed};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::{client, combination, invalid_value, missing};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::resources::SECURITY_GROUP_RULE;
use lath_ec2_records::{Direction, RuleSource, SecurityGroup, SecurityGroupRule};
use lath_feed::Traffic;
use lath_service::IdForm;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::changes::{check_quota, duplicate_error};
use super::group_of;
use super::messages::*;
use super::permissions::{self, Flat, Wanted, description_of, shown_traffic};

pub(super) fn item(
    app: &Ec2,
    view: &View,
    group: &SecurityGroup,
    rule: &SecurityGroupRule,
) -> RuleItem {
    let plain = revoked(group, rule);
    RuleItem {
        security_group_rule_arn: app
            .cell
            .arn("ec2", format!("security-group-rule/{}", rule.id)),
        tags: tags::of(view, rule.id.as_str()),
        security_group_rule_id: plain.security_group_rule_id,
        group_id: plain.group_id,
        group_owner_id: group.owner.clone(),
        is_egress: plain.is_egress,
        ip_protocol: plain.ip_protocol,
        from_port: plain.from_port,
        to_port: plain.to_port,
        cidr_ipv4: plain.cidr_ipv4,
        cidr_ipv6: plain.cidr_ipv6,
        prefix_list_id: plain.prefix_list_id,
        referenced_group_info: plain.referenced_group_id.map(|group_id| ReferencedGroup {
            group_id,
            user_id: group.owner.clone(),
        }),
        description: plain.description,
    }
}

pub(super) fn revoked(group: &SecurityGroup, rule: &SecurityGroupRule) -> RevokedRule {
    let (ip_protocol, ports) = shown_traffic(rule.traffic);
    let (from_port, to_port) = ports.unwrap_or((-1, -1));
    let source = &rule.source;
    RevokedRule {
        security_group_rule_id: rule.id.to_string(),
        group_id: group.id.to_string(),
        is_egress: rule.direction == Direction::Egress,
        ip_protocol,
        from_port,
        to_port,
        cidr_ipv4: match source {
            RuleSource::Cidr(IpNet::V4(cidr)) => Some(cidr.to_string()),
            _ => None,
        },
        cidr_ipv6: match source {
            RuleSource::Cidr(IpNet::V6(cidr)) => Some(cidr.to_string()),
            _ => None,
        },
        prefix_list_id: match source {
            RuleSource::PrefixList(id) => Some(id.to_string()),
            _ => None,
        },
        referenced_group_id: match source {
            RuleSource::Group(id) => Some(id.to_string()),
            _ => None,
        },
        description: rule.description.clone(),
    }
}

impl Listed for RuleItem {
    const ID: IdForm = SECURITY_GROUP_RULE.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("group-id", |it| vec![it.group_id.clone()]),
        ("security-group-rule-id", |it| {
            vec![it.security_group_rule_id.clone()]
        }),
    ];
    fn id(&self) -> &str {
        &self.security_group_rule_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

pub(super) fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeSecurityGroupRules,
) -> Result<DescribeSecurityGroupRulesResult, ApiError> {
    let show = |group: &SecurityGroup, id: &str| {
        let rule = group.rules.iter().find(|rule| rule.id.as_str() == id)?;
        Some(item(app, view, group, rule))
    };
    let query = Query {
        ids: &op.security_group_rule_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_keyed(view, "rule", show, &query)?;
    Ok(DescribeSecurityGroupRulesResult {
        rules: page.items,
        next_token: page.next_token,
    })
}

/// Replaces rules in place; they keep their ids, directions and kinds of source.
pub(super) fn modify(
    app: &Ec2,
    tx: &mut Tx,
    op: ModifySecurityGroupRules,
) -> Result<Done, ApiError> {
    let group = ids::find::<SecurityGroup>(tx.view(), &op.group_id)?;
    if op.security_group_rules.is_empty() {
        return Err(missing("SecurityGroupRule"));
    }
    let mut changed = SecurityGroup::clone(&group);
    for update in &op.security_group_rules {
        let id = update.security_group_rule_id.as_str();
        SECURITY_GROUP_RULE.id.check(id)?;
        let input = update.security_group_rule.as_ref();
        let input = input.ok_or_else(|| missing("SecurityGroupRule"))?;
        check_sources(input)?;
        let position = changed.rules.iter().position(|it| it.id.as_str() == id);
        let index = position.ok_or_else(|| SECURITY_GROUP_RULE.id.not_found(id))?;
        replace(&mut changed, index, wanted(app, tx.view(), &group, input)?)?;
    }
    check_quota(&app.cell, tx.view(), &changed, Direction::Ingress)?;
    check_quota(&app.cell, tx.view(), &changed, Direction::Egress)?;
    tx.put(changed);
    Ok(Done::YES)
}

fn wanted(
    app: &Ec2,
    view: &View,
    group: &SecurityGroup,
    input: &RuleInput,
) -> Result<Wanted, ApiError> {
    Ok(Wanted {
        traffic: traffic(input)?,
        source: source(app, view, group, input)?,
        description: description_of(input.description.as_ref())?,
    })
}

/// How many sources or destinations a rule names: AWS looks at that before the rule that it changes.
fn check_sources(input: &RuleInput) -> Result<(), ApiError> {
    let given = [
        &input.cidr_ipv4,
        &input.cidr_ipv6,
        &input.prefix_list_id,
        &input.referenced_group_id,
    ];
    let kinds = "cidrIp, cidrIpv6, prefixListId, or referencedGroupId";
    match given.iter().filter(|it| it.is_some()).count() {
        0 => Err(client(
            "MissingParameter",
            format!("The request must contain exactly one of: {kinds}"),
        )),
        1 => Ok(()),
        _ => Err(combination(format!("Only one of {kinds} can be specified"))),
    }
}

fn source(
    app: &Ec2,
    view: &View,
    group: &SecurityGroup,
    input: &RuleInput,
) -> Result<RuleSource, ApiError> {
    let cidr = |text: &String, member, ipv6| {
        permissions::cidr(Some(text), member, ipv6).map(RuleSource::Cidr)
    };
    if let Some(text) = &input.cidr_ipv4 {
        cidr(text, "CidrIpv4", false)
    } else if let Some(text) = &input.cidr_ipv6 {
        cidr(text, "CidrIpv6", true)
    } else if let Some(id) = &input.prefix_list_id {
        permissions::prefix_list(&app.cell, view, id)
    } else {
        let id = input.referenced_group_id.as_deref().unwrap_or_default();
        permissions::source_group(view, group, id)
    }
}

/// As for a new rule, but for the words about ports that are not there.
fn traffic(input: &RuleInput) -> Result<Traffic, ApiError> {
    let protocol = input.ip_protocol.as_deref();
    let has_ports =
        protocol.is_some_and(|it| matches!(&*it.to_ascii_lowercase(), "tcp" | "udp" | "6" | "17"));
    if has_ports && (input.from_port.is_none() || input.to_port.is_none()) {
        return Err(invalid_value(
            "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.",
        ));
    }
    permissions::traffic(protocol, input.from_port, input.to_port)
}

fn replace(group: &mut SecurityGroup, index: usize, wanted: Wanted) -> Result<(), ApiError> {
    let old = &group.rules[index];
    if kind(&old.source) != kind(&wanted.source) {
        return Err(other_kind(old, &wanted.source));
    }
    let clashes = |other: &SecurityGroupRule| {
        other.id != old.id && other.direction == old.direction && wanted.is(other)
    };
    if group.rules.iter().any(clashes) {
        return Err(duplicate_error(&wanted));
    }
    let rule = &mut group.rules[index];
    rule.traffic = wanted.traffic;
    rule.source = wanted.source;
    rule.description = wanted.description;
    Ok(())
}

/// A rule keeps its kind of source or destination.
fn other_kind(old: &SecurityGroupRule, wanted: &RuleSource) -> ApiError {
    let member = match wanted {
        RuleSource::Cidr(IpNet::V4(_)) => "CidrIpv4",
        RuleSource::Cidr(IpNet::V6(_)) => "CidrIpv6",
        RuleSource::Group(_) => "ReferencedGroupId",
        RuleSource::PrefixList(_) => "PrefixListId",
    };
    let existing = match old.source {
        RuleSource::Cidr(IpNet::V4(_)) => "IPv4 CIDR",
        RuleSource::Cidr(IpNet::V6(_)) => "IPv6 CIDR",
        RuleSource::Group(_) => "referenced group id",
        RuleSource::PrefixList(_) => "prefix list id",
    };
    invalid_value(format!(
        "Invalid rule type for security group rule '{}'. You may not specify {member} for an existing {existing} rule.",
        old.id
    ))
}

fn kind(source: &RuleSource) -> u8 {
    match source {
        RuleSource::Cidr(IpNet::V4(_)) => 0,
        RuleSource::Cidr(IpNet::V6(_)) => 1,
        RuleSource::Group(_) => 2,
        RuleSource::PrefixList(_) => 3,
    }
}

pub(super) fn describe_ingress(
    app: &Ec2,
    tx: &mut Tx,
    op: UpdateSecurityGroupRuleDescriptionsIngress,
) -> Result<Done, ApiError> {
    let group = group_of(tx.view(), op.group_id.as_deref(), op.group_name.as_deref())?;
    let rules = (op.ip_permissions, &op.descriptions[..]);
    set_descriptions(app, tx, &group, Direction::Ingress, rules)
}

pub(super) fn describe_egress(
    app: &Ec2,
    tx: &mut Tx,
    op: UpdateSecurityGroupRuleDescriptionsEgress,
) -> Result<Done, ApiError> {
    let group = group_of(tx.view(), op.group_id.as_deref(), op.group_name.as_deref())?;
    let rules = (op.ip_permissions, &op.descriptions[..]);
    set_descriptions(app, tx, &group, Direction::Egress, rules)
}

fn set_descriptions(
    app: &Ec2,
    tx: &mut Tx,
    group: &SecurityGroup,
    direction: Direction,
    (permissions, descriptions): (Vec<PermissionInput>, &[RuleDescription]),
) -> Result<Done, ApiError> {
    let rules = (permissions, Flat::default());
    let wanted = permissions::wanted(&app.cell, tx.view(), group, rules)?;
    if wanted.is_empty() == descriptions.is_empty() {
        return Err(combination(
            "Exactly one of ipPermissions and securityGroupRuleDescriptions must be given",
        ));
    }
    let mut changed = group.clone();
    let of_direction = |rule: &&mut SecurityGroupRule| rule.direction == direction;
    for it in wanted {
        let mut rules = changed.rules.iter_mut().filter(of_direction);
        let rule = rules.find(|rule| it.is(rule)).ok_or_else(|| {
            client(
                "InvalidPermission.NotFound",
                "The specified rule does not exist in this security group.",
            )
        })?;
        rule.description = it.description;
    }
    for it in descriptions {
        let id = it.security_group_rule_id.as_deref();
        let id = id.ok_or_else(|| missing("SecurityGroupRuleId"))?;
        SECURITY_GROUP_RULE.id.check(id)?;
        let mut rules = changed.rules.iter_mut().filter(of_direction);
        let rule = rules.find(|rule| rule.id.as_str() == id);
        let rule = rule.ok_or_else(|| SECURITY_GROUP_RULE.id.not_found(id))?;
        rule.description = description_of(it.description.as_ref())?;
    }
    tx.put(changed);
    Ok(Done::YES)
}
