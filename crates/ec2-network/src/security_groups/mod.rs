//! Security groups and their rules
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>).

mod changes;
mod messages;
mod permissions;
mod references;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ipnet::IpNet;
use lath_authz::Scope;
use lath_control::{Cell, claims_on};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::messages::Done;
use lath_ec2_kit::select::{Listed, Query, select, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{
    client, dependency, invalid_parameter, invalid_value, missing, over,
};
use lath_ec2_records::ids;
use lath_ec2_records::resources::{PREFIX_LIST, SECURITY_GROUP, SECURITY_GROUP_RULE, VPC};
use lath_ec2_records::{
    Direction, NetworkInterface, RuleSource, SecurityGroup, SecurityGroupRule, Vpc,
};
use lath_feed::Traffic;
use lath_model::id::{SecurityGroupId, SecurityGroupRuleId, VpcId};
use lath_service::{IdForm, Quota, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use self::messages::*;
use self::references::*;
use crate::vpcs;

/// How many groups a region may have.
const MAX_GROUPS: Quota<&str> = Quota::new("security groups", "SecurityGroupLimitExceeded", 2500);

operations! {
    for Ec2 as "ec2";
    change CreateSecurityGroup -> CreateSecurityGroupResult = create, dry_run
        => on(&VPC, |op, at| {
            let given = op.vpc_id.clone();
            given.or_else(|| Some(vpc_of(at.view, None).ok()?.id.to_string()))
        })
            .creates(&SECURITY_GROUP, |op| &op.tag_specifications);
    change DeleteSecurityGroup -> DeleteSecurityGroupResult = delete, dry_run
        => on(&SECURITY_GROUP, |op, at| judged(at, op.group_id.as_ref(), op.group_name.as_ref()));
    read DescribeSecurityGroups -> DescribeSecurityGroupsResult = describe, dry_run => any();
    read GetSecurityGroupsForVpc -> GetSecurityGroupsForVpcResult = for_vpc, dry_run
        => on(&VPC, |op, _| op.vpc_id.clone());
    read DescribeSecurityGroupReferences -> DescribeSecurityGroupReferencesResult = references::references, dry_run
        => on(&SECURITY_GROUP, |op, _| op.group_ids.clone());
    read DescribeStaleSecurityGroups -> DescribeStaleSecurityGroupsResult = references::stale, dry_run => any();
    change AuthorizeSecurityGroupIngress -> AuthorizeResult = changes::authorize_ingress, dry_run
        => on(&SECURITY_GROUP, |op, at| judged(at, op.group_id.as_ref(), op.group_name.as_ref()))
            .on(&SECURITY_GROUP_RULE, |op, _| tagged_rules(&op.tag_specifications))
            .with_tags_of(&SECURITY_GROUP_RULE, |op| &op.tag_specifications);
    change AuthorizeSecurityGroupEgress -> AuthorizeResult = changes::authorize_egress, dry_run
        => on(&SECURITY_GROUP, |op, _| op.group_id.clone())
            .on(&SECURITY_GROUP_RULE, |op, _| tagged_rules(&op.tag_specifications))
            .with_tags_of(&SECURITY_GROUP_RULE, |op| &op.tag_specifications);
    change RevokeSecurityGroupIngress -> RevokeResult = changes::revoke_ingress, dry_run
        => on(&SECURITY_GROUP, |op, at| judged(at, op.group_id.as_ref(), op.group_name.as_ref()));
    change RevokeSecurityGroupEgress -> RevokeResult = changes::revoke_egress, dry_run
        => on(&SECURITY_GROUP, |op, _| op.group_id.clone());
    read DescribeSecurityGroupRules -> DescribeSecurityGroupRulesResult = rules::describe, dry_run => any();
    change ModifySecurityGroupRules -> Done = rules::modify, dry_run
        => on(&SECURITY_GROUP, |op, _| op.group_id.clone())
            .on(&SECURITY_GROUP_RULE, |op, _| op.rules())
            .on(&PREFIX_LIST, |op, _| op.prefix_lists());
    change UpdateSecurityGroupRuleDescriptionsIngress -> Done = rules::describe_ingress, dry_run
        => on(&SECURITY_GROUP, |op, at| judged(at, op.group_id.as_ref(), op.group_name.as_ref()));
    change UpdateSecurityGroupRuleDescriptionsEgress -> Done = rules::describe_egress, dry_run
        => on(&SECURITY_GROUP, |op, at| judged(at, op.group_id.as_ref(), op.group_name.as_ref()));
}

/// What names and descriptions may be made of.
fn is_name_char(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(ch)
}

/// The group that comes with a VPC: in from itself, out to everywhere.
pub(crate) fn default_group(vpc: &Vpc) -> SecurityGroup {
    SecurityGroup {
        name: "default".into(),
        description: "default VPC security group".into(),
        ..among_members(vpc.id.clone(), vpc.owner.clone())
    }
}

/// A group without a name: in from itself, out to everywhere.
pub(crate) fn among_members(vpc: VpcId, owner: String) -> SecurityGroup {
    let id = SecurityGroupId::random();
    let from_itself = rule(Direction::Ingress, RuleSource::Group(id.clone()));
    SecurityGroup {
        id,
        vpc,
        owner,
        name: String::new(),
        description: String::new(),
        rules: vec![from_itself, out_to_everywhere()],
    }
}

/// Whether the region may have one more.
///
/// # Errors
/// `SecurityGroupLimitExceeded`.
pub(crate) fn check_quota(cell: &Cell, view: &View) -> Result<(), ApiError> {
    MAX_GROUPS.check(cell, view.count::<SecurityGroup>() + 1, over)
}

fn out_to_everywhere() -> SecurityGroupRule {
    rule(
        Direction::Egress,
        RuleSource::Cidr(IpNet::V4(ipnet::Ipv4Net::default())),
    )
}

fn rule(direction: Direction, source: RuleSource) -> SecurityGroupRule {
    SecurityGroupRule {
        id: SecurityGroupRuleId::random(),
        direction,
        traffic: Traffic::All,
        source,
        description: None,
    }
}

/// Deletes a group with the tags of it and of its rules.
pub(crate) fn remove(tx: &mut Tx, group: &SecurityGroup) {
    for rule in &group.rules {
        tags::forget(tx, rule.id.as_str());
    }
    tags::forget(tx, group.id.as_str());
    tx.delete::<SecurityGroup>(group.id.as_str());
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateSecurityGroup,
) -> Result<CreateSecurityGroupResult, ApiError> {
    check_name(&op.group_name)?;
    check_description(&op.description)?;
    let vpc = vpc_of(tx.view(), op.vpc_id.as_deref())?;
    let tags = tags::specified(&op.tag_specifications, "security-group")?;
    if SecurityGroup::named(tx.view(), &vpc.id, &op.group_name).is_some() {
        return Err(client(
            "InvalidGroup.Duplicate",
            format!(
                "The security group '{}' already exists for VPC '{}'",
                op.group_name, vpc.id
            ),
        ));
    }
    check_quota(&app.cell, tx.view())?;
    let group = tx.put(SecurityGroup {
        id: SecurityGroupId::random(),
        vpc: vpc.id.clone(),
        owner: app.cell.account.clone(),
        name: op.group_name,
        description: op.description,
        rules: vec![out_to_everywhere()],
    });
    tags::put(tx, group.id.as_str(), tags);
    Ok(CreateSecurityGroupResult {
        group_id: group.id.to_string(),
        tags: Some(tags::of(tx.view(), group.id.as_str())).filter(|tags| !tags.is_empty()),
        security_group_arn: arn(app, &group),
    })
}

fn arn(app: &Ec2, group: &SecurityGroup) -> String {
    app.cell.arn("ec2", format!("security-group/{}", group.id))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if name == "default" {
        return Err(invalid_value(
            "Cannot use reserved security group name: default",
        ));
    }
    if name.starts_with("sg-") {
        return Err(invalid_parameter(
            "GroupName",
            name,
            "Group names may not be in the format sg-*.",
        ));
    }
    check_text("GroupName", name)
}

fn check_description(description: &str) -> Result<(), ApiError> {
    check_text("GroupDescription", description)
}

fn check_text(parameter: &str, text: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Err(missing(parameter));
    }
    if text.chars().count() > 255 || !text.chars().all(is_name_char) {
        return Err(invalid_parameter(
            parameter,
            text.chars().take(300).collect::<String>(),
            "It must be at most 255 characters of a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(())
}

fn vpc_of(view: &View, id: Option<&str>) -> Result<Arc<Vpc>, ApiError> {
    match id {
        Some(id) => ids::find::<Vpc>(view, id),
        None => vpcs::default::find(view)
            .ok_or_else(|| client("VPCIdNotSpecified", "No default VPC for this user")),
    }
}

/// The group that a request means: by id, or by name in the default VPC.
fn group_of(
    view: &View,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<Arc<SecurityGroup>, ApiError> {
    match (id, name) {
        (Some(id), _) => ids::find::<SecurityGroup>(view, id),
        (None, Some(name)) => in_default_vpc(view, name),
        (None, None) => Err(missing("groupName or groupId")),
    }
}

/// The id of the group that a request means, as `group_of` finds it.
fn judged(at: &Scope<'_>, id: Option<&String>, name: Option<&String>) -> Option<String> {
    let by_name = || Some(in_default_vpc(at.view, name?).ok()?.id.to_string());
    id.cloned().or_else(by_name)
}

/// Rules that are to be made with tags.
fn tagged_rules(specifications: &[TagSpecification]) -> Option<&'static str> {
    let tags = tags::requested(specifications, "security-group-rule");
    (!tags.is_empty()).then_some("*")
}

fn in_default_vpc(view: &View, name: &str) -> Result<Arc<SecurityGroup>, ApiError> {
    let vpc = vpcs::default::find(view);
    let shown = vpc
        .as_ref()
        .map_or_else(|| "null".to_owned(), |vpc| vpc.id.to_string());
    vpc.and_then(|vpc| SecurityGroup::named(view, &vpc.id, name))
        .ok_or_else(|| {
            client(
                "InvalidGroup.NotFound",
                format!("The security group '{name}' does not exist in default VPC '{shown}'"),
            )
        })
}

fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteSecurityGroup,
) -> Result<DeleteSecurityGroupResult, ApiError> {
    let group = group_of(tx.view(), op.group_id.as_deref(), op.group_name.as_deref())?;
    if group.is_default() {
        return Err(client(
            "CannotDelete",
            format!(
                "the specified group: \"{}\" name: \"default\" cannot be deleted by a user",
                group.id
            ),
        ));
    }
    if is_used(tx.view(), &group) {
        return Err(dependency(format!(
            "resource {} has a dependent object",
            group.id
        )));
    }
    remove(tx, &group);
    Ok(DeleteSecurityGroupResult {
        done: true,
        group_id: group.id.to_string(),
    })
}

/// By an interface, a rule of another group, or another service.
pub(crate) fn is_used(view: &View, group: &SecurityGroup) -> bool {
    let id = group.id.as_str();
    let mut naming = view.by::<SecurityGroup>("names", id);
    view.has::<NetworkInterface>("group", id)
        || naming.any(|other| other.id != group.id)
        || !claims_on(view, group.id.as_str()).is_empty()
}

fn item(app: &Ec2, view: &View, group: &SecurityGroup) -> GroupItem {
    GroupItem {
        group_id: group.id.to_string(),
        group_name: group.name.clone(),
        description: group.description.clone(),
        owner_id: group.owner.clone(),
        vpc_id: group.vpc.to_string(),
        security_group_arn: arn(app, group),
        ip_permissions: permissions::shown(group, Direction::Ingress),
        ip_permissions_egress: permissions::shown(group, Direction::Egress),
        tags: tags::of(view, group.id.as_str()),
    }
}

fn each(permissions: &[Permission], texts: fn(&Permission) -> Vec<String>) -> Vec<String> {
    permissions.iter().flat_map(texts).collect()
}

fn cidrs(it: &Permission) -> Vec<String> {
    it.ip_ranges.iter().map(|it| it.cidr_ip.clone()).collect()
}

fn ipv6_cidrs(it: &Permission) -> Vec<String> {
    it.ipv6_ranges
        .iter()
        .map(|it| it.cidr_ipv6.clone())
        .collect()
}

fn group_ids(it: &Permission) -> Vec<String> {
    it.groups.iter().map(|it| it.group_id.clone()).collect()
}

fn group_names(it: &Permission) -> Vec<String> {
    let names = it.groups.iter().map(|it| it.group_name.clone());
    names.flatten().collect()
}

fn user_ids(it: &Permission) -> Vec<String> {
    it.groups.iter().map(|it| it.user_id.clone()).collect()
}

fn lists(it: &Permission) -> Vec<String> {
    it.prefix_list_ids
        .iter()
        .map(|it| it.prefix_list_id.clone())
        .collect()
}

fn port(port: Option<i32>) -> Vec<String> {
    port.iter().map(ToString::to_string).collect()
}

macro_rules! permission_fields {
    ($($name:literal, $egress:literal: $texts:expr;)*) => {
        &[
            ("group-id", |it| vec![it.group_id.clone()]),
            ("group-name", |it| vec![it.group_name.clone()]),
            ("description", |it| vec![it.description.clone()]),
            ("owner-id", |it| vec![it.owner_id.clone()]),
            ("vpc-id", |it| vec![it.vpc_id.clone()]),
            $(
                ($name, |it| each(&it.ip_permissions, $texts)),
                ($egress, |it| each(&it.ip_permissions_egress, $texts)),
            )*
        ]
    };
}

impl Listed for GroupItem {
    const ID: IdForm = SECURITY_GROUP.id;
    const FIELDS: &'static [Field<Self>] = permission_fields! {
        "ip-permission.cidr", "egress.ip-permission.cidr": cidrs;
        "ip-permission.ipv6-cidr", "egress.ip-permission.ipv6-cidr": ipv6_cidrs;
        "ip-permission.group-id", "egress.ip-permission.group-id": group_ids;
        "ip-permission.group-name", "egress.ip-permission.group-name": group_names;
        "ip-permission.user-id", "egress.ip-permission.user-id": user_ids;
        "ip-permission.prefix-list-id", "egress.ip-permission.prefix-list-id": lists;
        "ip-permission.protocol", "egress.ip-permission.protocol": |it| vec![it.ip_protocol.clone()];
        "ip-permission.from-port", "egress.ip-permission.from-port": |it| port(it.from_port);
        "ip-permission.to-port", "egress.ip-permission.to-port": |it| port(it.to_port);
    };
    fn id(&self) -> &str {
        &self.group_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeSecurityGroups,
) -> Result<DescribeSecurityGroupsResult, ApiError> {
    let mut ids = op.group_ids.clone();
    for name in &op.group_names {
        ids.push(in_default_vpc(view, name)?.id.to_string());
    }
    let mut filters = op.filters.iter().filter_map(|it| it.name.as_deref());
    let by_names = filters.any(|it| it.ends_with("ip-permission.group-name"));
    let show = |it: &SecurityGroup| {
        let mut item = item(app, view, it);
        if by_names {
            name_groups(view, &mut item);
        }
        Some(item)
    };
    let query = Query {
        ids: &ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeSecurityGroupsResult {
        next_token: page.next_token,
        security_groups: page.items,
    })
}

/// Looks up the names of the groups that rules refer to.
fn name_groups(view: &View, item: &mut GroupItem) {
    let ingress = item.ip_permissions.iter_mut();
    for permission in ingress.chain(&mut item.ip_permissions_egress) {
        for pair in &mut permission.groups {
            let group = view.get::<SecurityGroup>(&pair.group_id);
            pair.group_name = group.map(|it| it.name.clone());
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetSecurityGroupsForVpc {
    vpc_id: String,
    next_token: Option<String>,
    max_results: Option<i32>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetSecurityGroupsForVpcResult {
    next_token: Option<String>,
    #[serde(rename = "securityGroupForVpcSet")]
    groups: Vec<GroupForVpc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupForVpc {
    description: String,
    group_name: String,
    owner_id: String,
    group_id: String,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
    primary_vpc_id: String,
}

impl Listed for GroupForVpc {
    const ID: IdForm = SECURITY_GROUP.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("group-id", |it| vec![it.group_id.clone()]),
        ("description", |it| vec![it.description.clone()]),
        ("group-name", |it| vec![it.group_name.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("primary-vpc-id", |it| vec![it.primary_vpc_id.clone()]),
    ];
    fn id(&self) -> &str {
        &self.group_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

/// The groups that interfaces in a VPC may have: its own. A group cannot be associated with a second VPC here.
fn for_vpc(
    app: &Ec2,
    view: &View,
    op: &GetSecurityGroupsForVpc,
) -> Result<GetSecurityGroupsForVpcResult, ApiError> {
    let vpc = ids::find::<Vpc>(view, &op.vpc_id)?;
    let own = view.by::<SecurityGroup>("vpc", vpc.id.as_str());
    let items = own.map(|it| {
        let GroupItem {
            description,
            group_name,
            owner_id,
            group_id,
            tags,
            vpc_id: primary_vpc_id,
            ..
        } = item(app, view, &it);
        GroupForVpc {
            description,
            group_name,
            owner_id,
            group_id,
            tags,
            primary_vpc_id,
        }
    });
    let query = Query {
        ids: &[],
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(GetSecurityGroupsForVpcResult {
        next_token: page.next_token,
        groups: page.items,
    })
}
