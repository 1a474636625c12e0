//! Requests and answers about VPC endpoints.

use lath_ec2_kit::filter::Filter;
use lath_ec2_kit::made::attributes;
use lath_ec2_kit::tags::{Tag, TagSpecification};
use lath_ec2_records::resources::{Facts, fact};
use lath_model::Timestamp;
use lath_service::Asks;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateVpcEndpoint {
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_endpoint_type: Option<String>,
    pub(crate) vpc_id: String,
    pub(crate) service_name: Option<String>,
    pub(crate) policy_document: Option<String>,
    #[serde(rename = "RouteTableId", default)]
    pub(crate) route_table_ids: Vec<String>,
    #[serde(rename = "SubnetId", default)]
    pub(crate) subnet_ids: Vec<String>,
    #[serde(rename = "SecurityGroupId", default)]
    pub(crate) security_group_ids: Vec<String>,
    pub(crate) ip_address_type: Option<String>,
    pub(crate) dns_options: Option<DnsOptionsInput>,
    pub(crate) client_token: Option<String>,
    pub(crate) private_dns_enabled: Option<bool>,
    #[serde(rename = "TagSpecification", default)]
    pub(crate) tag_specifications: Vec<TagSpecification>,
    #[serde(rename = "SubnetConfiguration", default)]
    pub(crate) subnet_configurations: Vec<SubnetConfigurationInput>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) resource_configuration_arn: Option<String>,
    pub(crate) service_region: Option<String>,
}

/// The keys that [`CreateVpcEndpoint::private_dns`] fills in.
pub(super) const PRIVATE_DNS: &[&str] = &[
    "ec2:VpcePrivateDnsPreference",
    "ec2:VpcePrivateDnsSpecifiedDomains",
];

impl CreateVpcEndpoint {
    /// What it says of private names, as policies judge it.
    pub(super) fn private_dns(&self) -> Facts {
        let options = self.dns_options.as_ref();
        let preference = options.and_then(|it| it.private_dns_preference.clone());
        let preference = preference.map(|it| fact("ec2:VpcePrivateDnsPreference", it));
        let domains = options.map(|it| it.private_dns_specified_domains.clone());
        let domains = domains.filter(|it| !it.is_empty());
        let domains = domains.map(|it| ("ec2:VpcePrivateDnsSpecifiedDomains".to_owned(), it));
        preference.into_iter().chain(domains).collect()
    }

    /// One of its subnets: all are of one VPC.
    pub(super) fn subnet(&self) -> &str {
        self.subnet_ids.first().map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DnsOptionsInput {
    pub(crate) dns_record_ip_type: Option<String>,
    pub(crate) private_dns_only_for_inbound_resolver_endpoint: Option<bool>,
    pub(crate) private_dns_preference: Option<String>,
    #[serde(rename = "PrivateDnsSpecifiedDomain", default)]
    pub(crate) private_dns_specified_domains: Vec<String>,
}

/// Declared because AWS knows it; always refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "whatever it says, it is refused")]
pub(crate) struct SubnetConfigurationInput {
    pub(crate) subnet_id: Option<String>,
    pub(crate) ipv4: Option<String>,
    pub(crate) ipv6: Option<String>,
}

impl Asks for SubnetConfigurationInput {
    fn asks(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateVpcEndpointResult {
    pub(crate) vpc_endpoint: EndpointItem,
    pub(crate) client_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointItem {
    pub(crate) vpc_endpoint_id: String,
    pub(crate) vpc_endpoint_type: String,
    pub(crate) vpc_id: String,
    pub(crate) state: String,
    #[serde(rename = "routeTableIdSet")]
    pub(crate) route_table_ids: Vec<String>,
    #[serde(rename = "subnetIdSet")]
    pub(crate) subnet_ids: Vec<String>,
    #[serde(rename = "groupSet")]
    pub(crate) groups: Vec<EndpointGroup>,
    pub(crate) ip_address_type: String,
    pub(crate) private_dns_enabled: bool,
    pub(crate) requester_managed: bool,
    #[serde(rename = "networkInterfaceIdSet")]
    pub(crate) network_interface_ids: Vec<String>,
    pub(crate) creation_timestamp: Timestamp,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
    pub(crate) owner_id: String,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) resource_configuration_arn: Option<String>,
    pub(crate) service_region: String,
    pub(crate) dns_options: Option<DnsOptionsItem>,
    pub(crate) last_error: Option<LastError>,
    pub(crate) failure_reason: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DnsOptionsItem {
    pub(crate) private_dns_preference: Option<String>,
    #[serde(rename = "privateDnsSpecifiedDomainSet")]
    pub(crate) private_dns_specified_domains: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastError {
    pub(crate) message: String,
    pub(crate) code: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointGroup {
    pub(crate) group_id: String,
    pub(crate) group_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyVpcEndpoint {
    pub(crate) dry_run: Option<bool>,
    pub(crate) vpc_endpoint_id: String,
    pub(crate) reset_policy: Option<bool>,
    pub(crate) policy_document: Option<String>,
    #[serde(rename = "AddRouteTableId", default)]
    pub(crate) add_route_table_ids: Vec<String>,
    #[serde(rename = "RemoveRouteTableId", default)]
    pub(crate) remove_route_table_ids: Vec<String>,
    #[serde(rename = "AddSubnetId", default)]
    pub(crate) add_subnet_ids: Vec<String>,
    #[serde(rename = "RemoveSubnetId", default)]
    pub(crate) remove_subnet_ids: Vec<String>,
    #[serde(rename = "AddSecurityGroupId", default)]
    pub(crate) add_security_group_ids: Vec<String>,
    #[serde(rename = "RemoveSecurityGroupId", default)]
    pub(crate) remove_security_group_ids: Vec<String>,
    pub(crate) ip_address_type: Option<String>,
    pub(crate) dns_options: Option<DnsOptionsInput>,
    pub(crate) private_dns_enabled: Option<bool>,
    #[serde(rename = "SubnetConfiguration", default)]
    pub(crate) subnet_configurations: Vec<SubnetConfigurationInput>,
}

impl ModifyVpcEndpoint {
    /// The attributes that it sets.
    pub(super) fn set(&self) -> Facts {
        attributes(&[
            ("ResetPolicy", self.reset_policy.map(|it| it.to_string())),
            ("PolicyDocument", self.policy_document.clone()),
            ("IpAddressType", self.ip_address_type.clone()),
            (
                "PrivateDnsEnabled",
                self.private_dns_enabled.map(|it| it.to_string()),
            ),
        ])
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteVpcEndpoints {
    pub(crate) dry_run: Option<bool>,
    #[serde(rename = "VpcEndpointId")]
    pub(crate) vpc_endpoint_ids: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteVpcEndpointsResult {
    pub(crate) unsuccessful: Vec<UnsuccessfulItem>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnsuccessfulItem {
    pub(crate) error: UnsuccessfulError,
    pub(crate) resource_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnsuccessfulError {
    pub(crate) code: String,
    pub(crate) message: String,
}

macro_rules! lists {
    ($($request:ident -> $result:ident($name:literal: $item:ty))*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(crate) struct $request {
                pub(crate) dry_run: Option<bool>,
                #[serde(rename = "VpcEndpointId", default)]
                pub(crate) vpc_endpoint_ids: Vec<String>,
                #[serde(rename = "Filter", default)]
                pub(crate) filters: Vec<Filter>,
                pub(crate) max_results: Option<i32>,
                pub(crate) next_token: Option<String>,
            }

            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $result {
                #[serde(rename = $name)]
                pub(crate) items: Vec<$item>,
                pub(crate) next_token: Option<String>,
            }
        )*
    };
}

lists! {
    DescribeVpcEndpoints -> DescribeVpcEndpointsResult("vpcEndpointSet": EndpointItem)
    DescribeVpcEndpointAssociations
        -> DescribeVpcEndpointAssociationsResult("vpcEndpointAssociationSet": AssociationItem)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociationItem {
    pub(crate) id: String,
    pub(crate) vpc_endpoint_id: String,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) service_network_name: Option<String>,
    pub(crate) associated_resource_accessibility: String,
    pub(crate) failure_reason: Option<String>,
    pub(crate) failure_code: Option<String>,
    pub(crate) dns_entry: DnsEntryItem,
    pub(crate) private_dns_entry: Option<DnsEntryItem>,
    pub(crate) associated_resource_arn: String,
    pub(crate) resource_configuration_group_arn: Option<String>,
    #[serde(rename = "tagSet")]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DnsEntryItem {
    pub(crate) dns_name: String,
}
