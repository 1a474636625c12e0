//! Requests and answers about route tables.

use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::tags::{Tag, TagSpecification};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateRouteTable {
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    pub(crate) client_token: Option<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateRouteTableResult {
    pub(crate) route_table: TableItem,
    pub(crate) client_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TableItem {
    pub(crate) route_table_id: String,
    pub(crate) vpc_id: String,
    pub(crate) owner_id: String,
    #[serde(rename = "associationSet")]
    pub(crate) associations: Vec<AssociationItem>,
    #[serde(rename = "propagatingVgwSet")]
    pub(crate) propagating_gateways: Vec<PropagatingGateway>,
    #[serde(rename = "routeSet")]
    pub(crate) routes: Vec<RouteItem>,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PropagatingGateway {
    pub(crate) gateway_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociationItem {
    pub(crate) main: bool,
    pub(crate) route_table_association_id: String,
    pub(crate) route_table_id: String,
    pub(crate) subnet_id: Option<String>,
    pub(crate) association_state: AssociationState,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociationState {
    pub(crate) state: String,
}

impl AssociationState {
    pub(crate) fn associated() -> Self {
        Self {
            state: "associated".into(),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteItem {
    pub(crate) destination_cidr_block: Option<String>,
    pub(crate) destination_ipv6_cidr_block: Option<String>,
    pub(crate) destination_prefix_list_id: Option<String>,
    pub(crate) gateway_id: Option<String>,
    pub(crate) instance_id: Option<String>,
    pub(crate) instance_owner_id: Option<String>,
    pub(crate) nat_gateway_id: Option<String>,
    pub(crate) network_interface_id: Option<String>,
    pub(crate) transit_gateway_id: Option<String>,
    pub(crate) vpc_peering_connection_id: Option<String>,
    pub(crate) origin: String,
    pub(crate) state: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteRouteTable {
    pub(crate) dry_run: Option<bool>,
    pub(crate) route_table_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeRouteTables {
    pub(crate) next_token: Option<String>,
    pub(crate) max_results: Option<i32>,
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "RouteTableId", default)]
    pub(crate) route_table_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeRouteTablesResult {
    #[serde(rename = "routeTableSet")]
    pub(crate) route_tables: Vec<TableItem>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateRoute {
    pub(crate) destination_prefix_list_id: Option<String>,
    pub(crate) vpc_endpoint_id: Option<String>,
    pub(crate) transit_gateway_id: Option<String>,
    pub(crate) local_gateway_id: Option<String>,
    pub(crate) carrier_gateway_id: Option<String>,
    pub(crate) core_network_arn: Option<String>,
    pub(crate) odb_network_arn: Option<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) route_table_id: String,
    pub(crate) destination_cidr_block: Option<String>,
    pub(crate) gateway_id: Option<String>,
    pub(crate) destination_ipv6_cidr_block: Option<String>,
    pub(crate) egress_only_internet_gateway_id: Option<String>,
    pub(crate) instance_id: Option<String>,
    pub(crate) network_interface_id: Option<String>,
    pub(crate) vpc_peering_connection_id: Option<String>,
    pub(crate) nat_gateway_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReplaceRoute {
    pub(crate) destination_prefix_list_id: Option<String>,
    pub(crate) vpc_endpoint_id: Option<String>,
    pub(crate) local_target: Option<bool>,
    pub(crate) transit_gateway_id: Option<String>,
    pub(crate) local_gateway_id: Option<String>,
    pub(crate) carrier_gateway_id: Option<String>,
    pub(crate) core_network_arn: Option<String>,
    pub(crate) odb_network_arn: Option<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) route_table_id: String,
    pub(crate) destination_cidr_block: Option<String>,
    pub(crate) gateway_id: Option<String>,
    pub(crate) destination_ipv6_cidr_block: Option<String>,
    pub(crate) egress_only_internet_gateway_id: Option<String>,
    pub(crate) instance_id: Option<String>,
    pub(crate) network_interface_id: Option<String>,
    pub(crate) vpc_peering_connection_id: Option<String>,
    pub(crate) nat_gateway_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteRoute {
    pub(crate) destination_prefix_list_id: Option<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) route_table_id: String,
    pub(crate) destination_cidr_block: Option<String>,
    pub(crate) destination_ipv6_cidr_block: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssociateRouteTable {
    pub(crate) gateway_id: Option<String>,
    pub(crate) public_ipv4_pool: Option<String>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) subnet_id: Option<String>,
    pub(crate) route_table_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociateRouteTableResult {
    pub(crate) association_id: String,
    pub(crate) association_state: AssociationState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DisassociateRouteTable {
    pub(crate) dry_run: Option<bool>,
    pub(crate) association_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReplaceRouteTableAssociation {
    pub(crate) dry_run: Option<bool>,
    pub(crate) association_id: String,
    pub(crate) route_table_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplaceRouteTableAssociationResult {
    pub(crate) new_association_id: String,
    pub(crate) association_state: AssociationState,
}
