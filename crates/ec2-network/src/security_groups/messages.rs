//! Requests and answers about security groups.

use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::tags::{Tag, TagSpecification};
use serde::{Deserialize, Serialize};

use super::permissions::Flat;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateSecurityGroup {
    #[serde(rename = "GroupDescription")]
    pub(crate) description: String,
    pub(crate) group_name: String,
    pub(crate) vpc_id: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateSecurityGroupResult {
    pub(crate) group_id: String,
    /// Absent where the group was made without tags.
    #[serde(rename = "tagSet")]
    pub(crate) tags: Option<Vec<Tag>>,
    pub(crate) security_group_arn: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteSecurityGroup {
    pub(crate) group_id: Option<String>,
    pub(crate) group_name: Option<String>,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteSecurityGroupResult {
    #[serde(rename = "return")]
    pub(crate) done: bool,
    pub(crate) group_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeSecurityGroups {
    #[serde(rename = "GroupId", default)]
    pub(crate) group_ids: Vec<String>,
    #[serde(rename = "GroupName", default)]
    pub(crate) group_names: Vec<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeSecurityGroupsResult {
    pub(crate) next_token: Option<String>,
    #[serde(rename = "securityGroupInfo")]
    pub(crate) security_groups: Vec<GroupItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupItem {
    pub(crate) group_id: String,
    pub(crate) group_name: String,
    #[serde(rename = "groupDescription")]
    pub(crate) description: String,
    pub(crate) owner_id: String,
    pub(crate) vpc_id: String,
    pub(crate) security_group_arn: String,
    pub(crate) ip_permissions: Vec<Permission>,
    pub(crate) ip_permissions_egress: Vec<Permission>,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
}

/// All rules of one protocol and port range, as answers show them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Permission {
    pub(crate) ip_protocol: String,
    pub(crate) from_port: Option<i32>,
    pub(crate) to_port: Option<i32>,
    pub(crate) groups: Vec<GroupPair>,
    pub(crate) ip_ranges: Vec<Range>,
    pub(crate) ipv6_ranges: Vec<Ipv6Range>,
    pub(crate) prefix_list_ids: Vec<PrefixListRef>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupPair {
    pub(crate) description: Option<String>,
    pub(crate) user_id: String,
    pub(crate) group_id: String,
    /// Read only where a filter asks for it: answers refer to groups by their ids.
    #[serde(skip)]
    pub(crate) group_name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Range {
    pub(crate) description: Option<String>,
    pub(crate) cidr_ip: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ipv6Range {
    pub(crate) description: Option<String>,
    pub(crate) cidr_ipv6: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PrefixListRef {
    pub(crate) description: Option<String>,
    pub(crate) prefix_list_id: String,
}

/// Rules of one protocol and port range, as requests give them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PermissionInput {
    pub(crate) ip_protocol: Option<String>,
    pub(crate) from_port: Option<i32>,
    pub(crate) to_port: Option<i32>,
    #[serde(default)]
    pub(crate) groups: Vec<GroupPairInput>,
    #[serde(default)]
    pub(crate) ip_ranges: Vec<RangeInput>,
    #[serde(default)]
    pub(crate) ipv6_ranges: Vec<Ipv6RangeInput>,
    #[serde(default)]
    pub(crate) prefix_list_ids: Vec<PrefixListInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GroupPairInput {
    pub(crate) description: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) group_name: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) vpc_peering_connection_id: Option<String>,
    #[expect(
        dead_code,
        reason = "what answers say of a connection, requests cannot change"
    )]
    pub(crate) peering_status: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RangeInput {
    pub(crate) description: Option<String>,
    pub(crate) cidr_ip: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Ipv6RangeInput {
    pub(crate) description: Option<String>,
    pub(crate) cidr_ipv6: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PrefixListInput {
    pub(crate) description: Option<String>,
    pub(crate) prefix_list_id: Option<String>,
}

/// The requests that add or remove rules: each names them in either of two forms.
macro_rules! rule_requests {
    ($($name:ident { $($(#[$attr:meta])* $member:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name {
            pub(crate) dry_run: Option<bool>,
            cidr_ip: Option<String>,
            from_port: Option<i32>,
            to_port: Option<i32>,
            ip_protocol: Option<String>,
            source_security_group_name: Option<String>,
            source_security_group_owner_id: Option<String>,
            #[serde(default)]
            ip_permissions: Vec<PermissionInput>,
            $($(#[$attr])* pub(crate) $member: $type,)*
        }

        impl $name {
            /// Takes the rules out of the request: of the newer form, and of the older one.
            pub(super) fn take_rules(&mut self) -> (Vec<PermissionInput>, Flat) {
                let flat = Flat {
                    ip_protocol: self.ip_protocol.take(),
                    from_port: self.from_port.take(),
                    to_port: self.to_port.take(),
                    cidr_ip: self.cidr_ip.take(),
                    source_group_name: self.source_security_group_name.take(),
                    source_group_owner: self.source_security_group_owner_id.take(),
                };
                (std::mem::take(&mut self.ip_permissions), flat)
            }
        }
    )*};
}

rule_requests! {
    AuthorizeSecurityGroupIngress {
        group_id: Option<String>,
        group_name: Option<String>,
        #[serde(rename = "TagSpecification", default)]
        tag_specifications: Vec<TagSpecification>,
    }
    AuthorizeSecurityGroupEgress {
        group_id: String,
        #[serde(rename = "TagSpecification", default)]
        tag_specifications: Vec<TagSpecification>,
    }
    RevokeSecurityGroupIngress {
        group_id: Option<String>,
        group_name: Option<String>,
        #[serde(rename = "SecurityGroupRuleId", default)]
        security_group_rule_ids: Vec<String>,
    }
    RevokeSecurityGroupEgress {
        group_id: String,
        #[serde(rename = "SecurityGroupRuleId", default)]
        security_group_rule_ids: Vec<String>,
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthorizeResult {
    #[serde(rename = "return")]
    pub(crate) done: bool,
    #[serde(rename = "securityGroupRuleSet")]
    pub(crate) rules: Vec<RuleItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleItem {
    pub(crate) security_group_rule_id: String,
    pub(crate) group_id: String,
    pub(crate) group_owner_id: String,
    pub(crate) is_egress: bool,
    pub(crate) ip_protocol: String,
    pub(crate) from_port: i32,
    pub(crate) to_port: i32,
    pub(crate) cidr_ipv4: Option<String>,
    pub(crate) cidr_ipv6: Option<String>,
    pub(crate) prefix_list_id: Option<String>,
    pub(crate) referenced_group_info: Option<ReferencedGroup>,
    pub(crate) description: Option<String>,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
    pub(crate) security_group_rule_arn: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReferencedGroup {
    pub(crate) group_id: String,
    pub(crate) user_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokeResult {
    #[serde(rename = "return")]
    pub(crate) done: bool,
    #[serde(rename = "unknownIpPermissionSet")]
    pub(crate) unknown: Vec<Permission>,
    #[serde(rename = "revokedSecurityGroupRuleSet")]
    pub(crate) revoked: Vec<RevokedRule>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokedRule {
    pub(crate) security_group_rule_id: String,
    pub(crate) group_id: String,
    pub(crate) is_egress: bool,
    pub(crate) ip_protocol: String,
    pub(crate) from_port: i32,
    pub(crate) to_port: i32,
    pub(crate) cidr_ipv4: Option<String>,
    pub(crate) cidr_ipv6: Option<String>,
    pub(crate) prefix_list_id: Option<String>,
    pub(crate) referenced_group_id: Option<String>,
    pub(crate) description: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeSecurityGroupRules {
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
    #[serde(rename = "SecurityGroupRuleId", default)]
    pub(crate) security_group_rule_ids: Vec<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeSecurityGroupRulesResult {
    #[serde(rename = "securityGroupRuleSet")]
    pub(crate) rules: Vec<RuleItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifySecurityGroupRules {
    pub(crate) group_id: String,
    #[serde(rename = "SecurityGroupRule")]
    pub(crate) security_group_rules: Vec<RuleUpdate>,
    pub(crate) dry_run: Option<bool>,
}

impl ModifySecurityGroupRules {
    /// The ids of the rules.
    pub(super) fn rules(&self) -> Vec<String> {
        let updates = self.security_group_rules.iter();
        updates
            .map(|it| it.security_group_rule_id.clone())
            .collect()
    }

    /// The ids of the lists that rules are to name.
    pub(super) fn prefix_lists(&self) -> Vec<String> {
        let updates = self.security_group_rules.iter();
        let rules = updates.filter_map(|it| it.security_group_rule.as_ref());
        rules.filter_map(|it| it.prefix_list_id.clone()).collect()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RuleUpdate {
    pub(crate) security_group_rule_id: String,
    pub(crate) security_group_rule: Option<RuleInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RuleInput {
    pub(crate) ip_protocol: Option<String>,
    pub(crate) from_port: Option<i32>,
    pub(crate) to_port: Option<i32>,
    pub(crate) cidr_ipv4: Option<String>,
    pub(crate) cidr_ipv6: Option<String>,
    pub(crate) prefix_list_id: Option<String>,
    pub(crate) referenced_group_id: Option<String>,
    pub(crate) description: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateSecurityGroupRuleDescriptionsIngress {
    pub(crate) dry_run: Option<bool>,
    pub(crate) group_id: Option<String>,
    pub(crate) group_name: Option<String>,
    #[serde(default)]
    pub(crate) ip_permissions: Vec<PermissionInput>,
    #[serde(rename = "SecurityGroupRuleDescription", default)]
    pub(crate) descriptions: Vec<RuleDescription>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateSecurityGroupRuleDescriptionsEgress {
    pub(crate) dry_run: Option<bool>,
    pub(crate) group_id: Option<String>,
    pub(crate) group_name: Option<String>,
    #[serde(default)]
    pub(crate) ip_permissions: Vec<PermissionInput>,
    #[serde(rename = "SecurityGroupRuleDescription", default)]
    pub(crate) descriptions: Vec<RuleDescription>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RuleDescription {
    pub(crate) security_group_rule_id: Option<String>,
    pub(crate) description: Option<String>,
}
