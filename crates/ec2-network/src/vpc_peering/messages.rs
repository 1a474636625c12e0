//! Requests and answers about VPC peering connections.

use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::tags::{Tag, TagSpecification};
use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateVpcPeeringConnection {
    pub(crate) peer_region: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_id: String,
    pub(crate) peer_vpc_id: Option<String>,
    pub(crate) peer_owner_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeeringResult {
    pub(crate) vpc_peering_connection: PeeringItem,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AcceptVpcPeeringConnection {
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_peering_connection_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RejectVpcPeeringConnection {
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_peering_connection_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteVpcPeeringConnection {
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_peering_connection_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeVpcPeeringConnections {
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "VpcPeeringConnectionId", default)]
    pub(crate) vpc_peering_connection_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeVpcPeeringConnectionsResult {
    #[serde(rename = "vpcPeeringConnectionSet")]
    pub(crate) vpc_peering_connections: Vec<PeeringItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyVpcPeeringConnectionOptions {
    pub(crate) accepter_peering_connection_options: Option<OptionsInput>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) requester_peering_connection_options: Option<OptionsInput>,
    pub(crate) vpc_peering_connection_id: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OptionsInput {
    pub(crate) allow_dns_resolution_from_remote_vpc: Option<bool>,
    pub(crate) allow_egress_from_local_classic_link_to_remote_vpc: Option<bool>,
    pub(crate) allow_egress_from_local_vpc_to_remote_classic_link: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModifyVpcPeeringConnectionOptionsResult {
    pub(crate) accepter_peering_connection_options: Option<OptionsItem>,
    pub(crate) requester_peering_connection_options: Option<OptionsItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeeringItem {
    pub(crate) accepter_vpc_info: SideItem,
    pub(crate) expiration_time: Option<Timestamp>,
    pub(crate) requester_vpc_info: SideItem,
    pub(crate) status: StatusItem,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
    pub(crate) vpc_peering_connection_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SideItem {
    pub(crate) cidr_block: Option<String>,
    pub(crate) cidr_block_set: Vec<BlockItem>,
    pub(crate) owner_id: String,
    pub(crate) peering_options: Option<OptionsItem>,
    pub(crate) vpc_id: String,
    pub(crate) region: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockItem {
    pub(crate) cidr_block: String,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OptionsItem {
    pub(crate) allow_dns_resolution_from_remote_vpc: bool,
    pub(crate) allow_egress_from_local_classic_link_to_remote_vpc: bool,
    pub(crate) allow_egress_from_local_vpc_to_remote_classic_link: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusItem {
    pub(crate) code: String,
    pub(crate) message: String,
}
