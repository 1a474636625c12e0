//! Rules that name groups of other VPCs
//! (<https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html>).

use std::collections::BTreeSet;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::select::{Listed, Query, select};
use lath_ec2_kit::tags::Tag;
use lath_ec2_records::errors::missing;
use lath_ec2_records::resources::SECURITY_GROUP;
use lath_ec2_records::{
    Direction, RuleSource, SecurityGroup, SecurityGroupRule, Vpc, VpcPeering, ids, transit,
};
use lath_model::id::VpcId;
use lath_service::IdForm;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::messages::Permission;
use super::permissions::shown;
use crate::joined;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeSecurityGroupReferences {
    #[serde(rename = "GroupId", default)]
    pub(super) group_ids: Vec<String>,
    pub(super) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeSecurityGroupReferencesResult {
    #[serde(rename = "securityGroupReferenceSet")]
    references: Vec<Reference>,
}

/// A VPC whose rules name a group of another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reference {
    group_id: String,
    referencing_vpc_id: String,
    vpc_peering_connection_id: Option<String>,
    transit_gateway_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStaleSecurityGroups {
    pub(super) vpc_id: String,
    next_token: Option<String>,
    max_results: Option<i32>,
    pub(super) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeStaleSecurityGroupsResult {
    next_token: Option<String>,
    #[serde(rename = "staleSecurityGroupSet")]
    groups: Vec<StaleGroup>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StaleGroup {
    description: String,
    group_id: String,
    group_name: String,
    stale_ip_permissions: Vec<StalePermission>,
    stale_ip_permissions_egress: Vec<StalePermission>,
    vpc_id: String,
}

/// Rules of one protocol and port range. Only those that name groups become stale, so that there are no blocks and prefix lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StalePermission {
    from_port: Option<i32>,
    ip_protocol: String,
    ip_ranges: Vec<String>,
    prefix_list_ids: Vec<String>,
    to_port: Option<i32>,
    groups: Vec<StalePair>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StalePair {
    description: Option<String>,
    user_id: String,
    group_name: Option<String>,
    group_id: String,
    vpc_id: Option<String>,
    vpc_peering_connection_id: Option<String>,
    peering_status: Option<String>,
}

impl Listed for StaleGroup {
    const ID: IdForm = SECURITY_GROUP.id;
    const FIELDS: &'static [Field<Self>] = &[];
    fn id(&self) -> &str {
        &self.group_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

/// The VPCs on the other side of a connection whose rules name one of these groups.
pub(super) fn references(
    _app: &Ec2,
    view: &View,
    op: &DescribeSecurityGroupReferences,
) -> Result<DescribeSecurityGroupReferencesResult, ApiError> {
    if op.group_ids.is_empty() {
        return Err(missing("GroupId"));
    }
    let mut references = BTreeSet::new();
    for id in &op.group_ids {
        let group = ids::find::<SecurityGroup>(view, id)?;
        let naming = view.by::<SecurityGroup>("names", group.id.as_str());
        let vpcs: BTreeSet<_> = naming.map(|it| it.vpc.clone()).collect();
        for vpc in vpcs.into_iter().filter(|it| *it != group.vpc) {
            let peering = connection(view, &group.vpc, &vpc).filter(|it| it.state.is_up());
            let gateway = transit::joining(view, &group.vpc, &vpc);
            if peering.is_none() && gateway.is_none() {
                // Such rules are stale.
                continue;
            }
            references.insert(Reference {
                group_id: group.id.to_string(),
                referencing_vpc_id: vpc.to_string(),
                transit_gateway_id: gateway
                    .filter(|_| peering.is_none())
                    .map(|it| it.to_string()),
                vpc_peering_connection_id: peering.map(|it| it.id.to_string()),
            });
        }
    }
    Ok(DescribeSecurityGroupReferencesResult {
        references: references.into_iter().collect(),
    })
}

/// The peering connection of two VPCs: one that works before those that ended, of which the newest counts.
fn connection(view: &View, one: &VpcId, other: &VpcId) -> Option<VpcPeering> {
    let all = view.list::<VpcPeering>();
    let of_both = all.filter(|it| it.seen_from(one).is_some() && it.seen_from(other).is_some());
    let best = of_both.max_by_key(|it| (it.state.is_up(), it.state.lives(), it.ended_at));
    best.map(|it| VpcPeering::clone(&it))
}

/// The groups of a VPC that have rules which name groups that nothing joins to the VPC any more.
pub(super) fn stale(
    _app: &Ec2,
    view: &View,
    op: &DescribeStaleSecurityGroups,
) -> Result<DescribeStaleSecurityGroupsResult, ApiError> {
    let vpc = ids::find::<Vpc>(view, &op.vpc_id)?;
    let own = view.by::<SecurityGroup>("vpc", vpc.id.as_str());
    let items = own.filter_map(|group| {
        let mut of_stale = SecurityGroup::clone(&group);
        of_stale
            .rules
            .retain(|rule| is_stale(view, &group.vpc, rule));
        (!of_stale.rules.is_empty()).then(|| item(view, &of_stale))
    });
    let query = Query {
        ids: &[],
        filters: &[],
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(DescribeStaleSecurityGroupsResult {
        next_token: page.next_token,
        groups: page.items,
    })
}

fn is_stale(view: &View, vpc: &VpcId, rule: &SecurityGroupRule) -> bool {
    let RuleSource::Group(id) = &rule.source else {
        return false;
    };
    let named = view.get::<SecurityGroup>(id.as_str());
    named.is_none_or(|it| it.vpc != *vpc && !joined(view, vpc, &it.vpc))
}

/// What is said of a group of which stale rules alone are left.
fn item(view: &View, group: &SecurityGroup) -> StaleGroup {
    let permissions = |direction| {
        let all = shown(group, direction).into_iter();
        all.map(|it| permission(view, &group.vpc, it)).collect()
    };
    StaleGroup {
        description: group.description.clone(),
        group_id: group.id.to_string(),
        group_name: group.name.clone(),
        stale_ip_permissions: permissions(Direction::Ingress),
        stale_ip_permissions_egress: permissions(Direction::Egress),
        vpc_id: group.vpc.to_string(),
    }
}

fn permission(view: &View, vpc: &VpcId, of: Permission) -> StalePermission {
    let groups = of.groups.into_iter().map(|pair| {
        let named = view.get::<SecurityGroup>(&pair.group_id);
        let connection = named.as_ref().and_then(|it| connection(view, vpc, &it.vpc));
        StalePair {
            description: pair.description,
            user_id: pair.user_id,
            group_name: named.as_ref().map(|it| it.name.clone()),
            group_id: pair.group_id,
            vpc_id: named.map(|it| it.vpc.to_string()),
            peering_status: connection.as_ref().map(|it| it.state.code().to_owned()),
            vpc_peering_connection_id: connection.map(|it| it.id.to_string()),
        }
    });
    StalePermission {
        from_port: of.from_port,
        ip_protocol: of.ip_protocol,
        ip_ranges: Vec::new(),
        prefix_list_ids: Vec::new(),
        to_port: of.to_port,
        groups: groups.collect(),
    }
}
