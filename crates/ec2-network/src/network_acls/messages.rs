//! Requests and answers about network ACLs.

use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::tags::{Tag, TagSpecification};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNetworkAcl {
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) client_token: Option<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateNetworkAclResult {
    pub(crate) network_acl: AclItem,
    pub(crate) client_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteNetworkAcl {
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_acl_id: String,
}

/// The members of an entry that requests give.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNetworkAclEntry {
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_acl_id: String,
    pub(crate) rule_number: i32,
    pub(crate) protocol: String,
    pub(crate) rule_action: String,
    pub(crate) egress: bool,
    pub(crate) cidr_block: Option<String>,
    pub(crate) ipv6_cidr_block: Option<String>,
    #[serde(rename = "Icmp")]
    pub(crate) icmp_type_code: Option<IcmpInput>,
    pub(crate) port_range: Option<PortsInput>,
}

/// As [`CreateNetworkAclEntry`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReplaceNetworkAclEntry {
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_acl_id: String,
    pub(crate) rule_number: i32,
    pub(crate) protocol: String,
    pub(crate) rule_action: String,
    pub(crate) egress: bool,
    pub(crate) cidr_block: Option<String>,
    pub(crate) ipv6_cidr_block: Option<String>,
    #[serde(rename = "Icmp")]
    pub(crate) icmp_type_code: Option<IcmpInput>,
    pub(crate) port_range: Option<PortsInput>,
}

impl From<ReplaceNetworkAclEntry> for CreateNetworkAclEntry {
    fn from(op: ReplaceNetworkAclEntry) -> Self {
        Self {
            dry_run: op.dry_run,
            network_acl_id: op.network_acl_id,
            rule_number: op.rule_number,
            protocol: op.protocol,
            rule_action: op.rule_action,
            egress: op.egress,
            cidr_block: op.cidr_block,
            ipv6_cidr_block: op.ipv6_cidr_block,
            icmp_type_code: op.icmp_type_code,
            port_range: op.port_range,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct IcmpInput {
    pub(crate) code: Option<i32>,
    #[serde(rename = "Type")]
    pub(crate) kind: Option<i32>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PortsInput {
    pub(crate) from: Option<i32>,
    pub(crate) to: Option<i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteNetworkAclEntry {
    pub(crate) dry_run: Option<bool>,
    pub(crate) network_acl_id: String,
    pub(crate) rule_number: i32,
    pub(crate) egress: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReplaceNetworkAclAssociation {
    pub(crate) dry_run: Option<bool>,
    pub(crate) association_id: String,
    pub(crate) network_acl_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplaceNetworkAclAssociationResult {
    pub(crate) new_association_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeNetworkAcls {
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "NetworkAclId", default)]
    pub(crate) network_acl_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeNetworkAclsResult {
    #[serde(rename = "networkAclSet")]
    pub(crate) network_acls: Vec<AclItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AclItem {
    pub(crate) network_acl_id: String,
    pub(crate) vpc_id: String,
    pub(crate) owner_id: String,
    #[serde(rename = "default")]
    pub(crate) is_default: bool,
    #[serde(rename = "associationSet")]
    pub(crate) associations: Vec<AssociationItem>,
    #[serde(rename = "entrySet")]
    pub(crate) entries: Vec<EntryItem>,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociationItem {
    pub(crate) network_acl_association_id: String,
    pub(crate) network_acl_id: String,
    pub(crate) subnet_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryItem {
    pub(crate) cidr_block: Option<String>,
    pub(crate) ipv6_cidr_block: Option<String>,
    pub(crate) egress: bool,
    pub(crate) icmp_type_code: Option<IcmpItem>,
    pub(crate) port_range: Option<PortsItem>,
    pub(crate) protocol: String,
    pub(crate) rule_action: String,
    pub(crate) rule_number: i32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IcmpItem {
    pub(crate) code: i32,
    #[serde(rename = "type")]
    pub(crate) kind: i32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortsItem {
    pub(crate) from: i32,
    pub(crate) to: i32,
}
