//! Requests and answers about VPCs.

use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::messages::{BooleanInput, BooleanValue};
use lath_ec2_kit::tags::{Tag, TagSpecification};
use lath_service::Asks;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateVpc {
    pub(crate) cidr_block: Option<String>,
    pub(crate) ipv6_pool: Option<String>,
    pub(crate) ipv6_cidr_block: Option<String>,
    pub(crate) ipv4_ipam_pool_id: Option<String>,
    pub(crate) ipv4_netmask_length: Option<i32>,
    pub(crate) ipv6_ipam_pool_id: Option<String>,
    pub(crate) ipv6_netmask_length: Option<i32>,
    pub(crate) ipv6_cidr_block_network_border_group: Option<String>,
    pub(crate) vpc_encryption_control: Option<EncryptionControlInput>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) instance_tenancy: Option<String>,
    pub(crate) amazon_provided_ipv6_cidr_block: Option<bool>,
}

/// Declared because AWS knows it; always refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "whatever it says, it is refused")]
pub(crate) struct EncryptionControlInput {
    mode: String,
    internet_gateway_exclusion: Option<String>,
    egress_only_internet_gateway_exclusion: Option<String>,
    nat_gateway_exclusion: Option<String>,
    virtual_private_gateway_exclusion: Option<String>,
    vpc_peering_exclusion: Option<String>,
    lambda_exclusion: Option<String>,
    vpc_lattice_exclusion: Option<String>,
    elastic_file_system_exclusion: Option<String>,
}

impl Asks for EncryptionControlInput {
    fn asks(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateDefaultVpc {
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateVpcResult {
    pub(crate) vpc: VpcItem,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VpcItem {
    pub(crate) vpc_id: String,
    pub(crate) owner_id: String,
    pub(crate) state: String,
    pub(crate) cidr_block: String,
    pub(crate) cidr_block_association_set: Vec<CidrAssociation>,
    pub(crate) ipv6_cidr_block_association_set: Vec<Ipv6CidrAssociation>,
    pub(crate) dhcp_options_id: String,
    pub(crate) instance_tenancy: String,
    pub(crate) is_default: bool,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CidrAssociation {
    pub(crate) association_id: String,
    pub(crate) cidr_block: String,
    pub(crate) cidr_block_state: CidrState,
}

/// An IPv6 block of a VPC: there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ipv6CidrAssociation {
    association_id: String,
    ipv6_cidr_block: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CidrState {
    pub(crate) state: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteVpc {
    pub(crate) vpc_id: String,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeVpcs {
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
    #[serde(rename = "VpcId", default)]
    pub(crate) vpc_ids: Vec<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeVpcsResult {
    pub(crate) next_token: Option<String>,
    #[serde(rename = "vpcSet")]
    pub(crate) vpcs: Vec<VpcItem>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeVpcAttribute {
    pub(crate) attribute: String,
    pub(crate) vpc_id: String,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeVpcAttributeResult {
    pub(crate) vpc_id: String,
    pub(crate) enable_dns_hostnames: Option<BooleanValue>,
    pub(crate) enable_dns_support: Option<BooleanValue>,
    pub(crate) enable_network_address_usage_metrics: Option<BooleanValue>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyVpcAttribute {
    pub(crate) enable_dns_hostnames: Option<BooleanInput>,
    pub(crate) enable_dns_support: Option<BooleanInput>,
    pub(crate) vpc_id: String,
    pub(crate) enable_network_address_usage_metrics: Option<BooleanInput>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssociateVpcCidrBlock {
    pub(crate) cidr_block: Option<String>,
    pub(crate) ipv6_cidr_block_network_border_group: Option<String>,
    pub(crate) ipv6_pool: Option<String>,
    pub(crate) ipv6_cidr_block: Option<String>,
    pub(crate) ipv4_ipam_pool_id: Option<String>,
    pub(crate) ipv4_netmask_length: Option<i32>,
    pub(crate) ipv6_ipam_pool_id: Option<String>,
    pub(crate) ipv6_netmask_length: Option<i32>,
    pub(crate) vpc_id: String,
    pub(crate) amazon_provided_ipv6_cidr_block: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DisassociateVpcCidrBlock {
    pub(crate) association_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VpcCidrBlockResult {
    pub(crate) vpc_id: String,
    pub(crate) cidr_block_association: CidrAssociation,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateDhcpOptions {
    #[serde(rename = "DhcpConfiguration", default)]
    pub(crate) configurations: Vec<NewDhcpConfiguration>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NewDhcpConfiguration {
    pub(crate) key: Option<String>,
    #[serde(rename = "Value", default)]
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateDhcpOptionsResult {
    pub(crate) dhcp_options: DhcpOptionsItem,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssociateDhcpOptions {
    pub(crate) dhcp_options_id: String,
    pub(crate) vpc_id: String,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteDhcpOptions {
    pub(crate) dhcp_options_id: String,
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeDhcpOptions {
    #[serde(rename = "DhcpOptionsId", default)]
    pub(crate) dhcp_options_ids: Vec<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeDhcpOptionsResult {
    pub(crate) next_token: Option<String>,
    #[serde(rename = "dhcpOptionsSet")]
    pub(crate) dhcp_options: Vec<DhcpOptionsItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DhcpOptionsItem {
    pub(crate) owner_id: String,
    pub(crate) dhcp_options_id: String,
    #[serde(rename = "dhcpConfigurationSet")]
    pub(crate) configurations: Vec<DhcpConfiguration>,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DhcpConfiguration {
    pub(crate) key: String,
    #[serde(rename = "valueSet")]
    pub(crate) values: Vec<DhcpValue>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DhcpValue {
    pub(crate) value: String,
}
