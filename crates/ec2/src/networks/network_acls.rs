//! Network ACLs. Each VPC has its default one, which allows everything, as AWS's does; there are no
//! others (<https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html>).

use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Ec2;
use crate::filter::{Field, Filter};
use crate::records::{Subnet, Vpc};
use crate::resources::NETWORK_ACL;
use crate::select::{Listed, Query, select_keyed};
use crate::tags::{self, Tag};

operations! {
    for Ec2 as "ec2";
    read DescribeNetworkAcls -> DescribeNetworkAclsResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeNetworkAcls {
    next_token: Option<String>,
    max_results: Option<i32>,
    dry_run: Option<bool>,
    #[serde(rename = "NetworkAclId", default)]
    network_acl_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeNetworkAclsResult {
    #[serde(rename = "networkAclSet")]
    network_acls: Vec<AclItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AclItem {
    network_acl_id: String,
    vpc_id: String,
    owner_id: String,
    #[serde(rename = "default")]
    is_default: bool,
    #[serde(rename = "associationSet")]
    associations: Vec<AclAssociation>,
    #[serde(rename = "entrySet")]
    entries: Vec<AclEntry>,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AclAssociation {
    network_acl_association_id: String,
    network_acl_id: String,
    subnet_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AclEntry {
    cidr_block: String,
    egress: bool,
    protocol: String,
    rule_action: String,
    rule_number: i32,
}

fn entry(egress: bool, rule_number: i32, rule_action: &str) -> AclEntry {
    AclEntry {
        cidr_block: "0.0.0.0/0".into(),
        egress,
        protocol: "-1".into(),
        rule_action: rule_action.into(),
        rule_number,
    }
}

fn item(view: &View, vpc: &Vpc) -> AclItem {
    let id = vpc.network_acl.to_string();
    let associations = view
        .by::<Subnet>("vpc", vpc.id.as_str())
        .map(|subnet| AclAssociation {
            network_acl_association_id: subnet.acl_association.clone(),
            network_acl_id: id.clone(),
            subnet_id: subnet.id.to_string(),
        })
        .collect();
    AclItem {
        vpc_id: vpc.id.to_string(),
        owner_id: vpc.owner.clone(),
        is_default: true,
        associations,
        entries: [true, false]
            .into_iter()
            .flat_map(|egress| [entry(egress, 100, "allow"), entry(egress, 32_767, "deny")])
            .collect(),
        tags: tags::of(view, &id),
        network_acl_id: id,
    }
}

fn associations(it: &AclItem, text: fn(&AclAssociation) -> &String) -> Vec<String> {
    it.associations.iter().map(text).cloned().collect()
}

fn entries(it: &AclItem, text: fn(&AclEntry) -> String) -> Vec<String> {
    it.entries.iter().map(text).collect()
}

impl Listed for AclItem {
    const ID: IdForm = NETWORK_ACL.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("network-acl-id", |it| vec![it.network_acl_id.clone()]),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("default", |it| vec![it.is_default.to_string()]),
        ("association.association-id", |it| {
            associations(it, |it| &it.network_acl_association_id)
        }),
        ("association.network-acl-id", |it| {
            associations(it, |it| &it.network_acl_id)
        }),
        ("association.subnet-id", |it| {
            associations(it, |it| &it.subnet_id)
        }),
        ("entry.cidr", |it| entries(it, |it| it.cidr_block.clone())),
        ("entry.egress", |it| entries(it, |it| it.egress.to_string())),
        ("entry.protocol", |it| entries(it, |it| it.protocol.clone())),
        ("entry.rule-action", |it| {
            entries(it, |it| it.rule_action.clone())
        }),
        ("entry.rule-number", |it| {
            entries(it, |it| it.rule_number.to_string())
        }),
        ("entry.icmp.code", |_| vec![]),
        ("entry.icmp.type", |_| vec![]),
        ("entry.ipv6-cidr", |_| vec![]),
        ("entry.port-range.from", |_| vec![]),
        ("entry.port-range.to", |_| vec![]),
    ];
    fn id(&self) -> &str {
        &self.network_acl_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeNetworkAcls,
) -> Result<DescribeNetworkAclsResult, ApiError> {
    let show = |vpc: &Vpc, _: &str| Some(item(view, vpc));
    let query = Query {
        ids: &op.network_acl_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_keyed(view, "acl", show, &query)?;
    Ok(DescribeNetworkAclsResult {
        network_acls: page.items,
        next_token: page.next_token,
    })
}
