//! Resource gateways, associations with resources, and domain verifications.

use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_service::{Checked, Refuses};
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::service::is_domain;
use super::unavailable::Unavailable;
use super::{DnsEntry, IpAddressType};
use crate::constraint;

/// The states of resource gateways and resource configurations.
pub(crate) use super::VpcAssociationStatus as ChangingStatus;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ResourceIpAddressType {
    Ipv4,
    Ipv6,
    Dualstack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ResourceConfigDnsResolution {
    InVpc,
    Public,
}

const ADDRESS_TYPES: Unavailable<ResourceIpAddressType> = Unavailable {
    place: "ipAddressType",
    values: &[
        ResourceIpAddressType::Ipv6,
        ResourceIpAddressType::Dualstack,
    ],
    why: "Subnets have no IPv6 addresses: use IPV4",
};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateResourceGateway {
    pub(crate) client_token: Option<String>,
    pub(crate) name: String,
    pub(crate) vpc_identifier: Option<String>,
    #[serde(default)]
    pub(crate) subnet_ids: Vec<String>,
    #[serde(default)]
    pub(crate) security_group_ids: Vec<String>,
    pub(crate) ip_address_type: Option<ResourceIpAddressType>,
    pub(crate) ipv4_addresses_per_eni: Option<i64>,
    pub(crate) resource_config_dns_resolution: Option<ResourceConfigDnsResolution>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

impl Refuses for CreateResourceGateway {
    fn names() -> Vec<String> {
        vec![ADDRESS_TYPES.shown()]
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateResourceGatewayOutput {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) vpc_identifier: Option<String>,
    pub(crate) subnet_ids: Option<Vec<String>>,
    pub(crate) security_group_ids: Option<Vec<String>>,
    pub(crate) ip_address_type: Option<ResourceIpAddressType>,
    pub(crate) ipv4_addresses_per_eni: Option<i64>,
    pub(crate) resource_config_dns_resolution: Option<ResourceConfigDnsResolution>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetResourceGateway {
    pub(crate) resource_gateway_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetResourceGatewayOutput {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) subnet_ids: Option<Vec<String>>,
    pub(crate) service_managed: Option<bool>,
    /// The service that manages it; of one's own gateways there is none.
    pub(crate) managed_by: Option<String>,
    pub(crate) security_group_ids: Option<Vec<String>>,
    pub(crate) ip_address_type: Option<ResourceIpAddressType>,
    pub(crate) ipv4_addresses_per_eni: Option<i64>,
    pub(crate) resource_config_dns_resolution: Option<ResourceConfigDnsResolution>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResourceGateways {
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResourceGatewaysOutput {
    pub(crate) items: Option<Vec<ResourceGatewaySummary>>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceGatewaySummary {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) vpc_identifier: Option<String>,
    pub(crate) subnet_ids: Option<Vec<String>>,
    pub(crate) security_group_ids: Option<Vec<String>>,
    pub(crate) ip_address_type: Option<ResourceIpAddressType>,
    pub(crate) ipv4_addresses_per_eni: Option<i64>,
    pub(crate) resource_config_dns_resolution: Option<ResourceConfigDnsResolution>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateResourceGateway {
    pub(crate) resource_gateway_identifier: String,
    pub(crate) security_group_ids: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateResourceGatewayOutput {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ChangingStatus>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) subnet_ids: Option<Vec<String>>,
    pub(crate) security_group_ids: Option<Vec<String>>,
    pub(crate) ip_address_type: Option<IpAddressType>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResourceGateway {
    pub(crate) resource_gateway_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResourceGatewayOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) status: Option<ChangingStatus>,
}

/// The states of associations with resource configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ResourceAssociationStatus {
    CreateInProgress,
    Active,
    Partial,
    DeleteInProgress,
    CreateFailed,
    DeleteFailed,
}

impl ResourceAssociationStatus {
    /// As the wire prints it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::CreateInProgress => "CREATE_IN_PROGRESS",
            Self::Active => "ACTIVE",
            Self::Partial => "PARTIAL",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::CreateFailed => "CREATE_FAILED",
            Self::DeleteFailed => "DELETE_FAILED",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceNetworkResourceAssociation {
    pub(crate) client_token: Option<String>,
    pub(crate) resource_configuration_identifier: String,
    pub(crate) service_network_identifier: String,
    pub(crate) private_dns_enabled: Option<bool>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateResourceAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ResourceAssociationStatus>,
    pub(crate) created_by: Option<String>,
    pub(crate) private_dns_enabled: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetServiceNetworkResourceAssociation {
    pub(crate) service_network_resource_association_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetResourceAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ResourceAssociationStatus>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) resource_configuration_id: Option<String>,
    pub(crate) resource_configuration_arn: Option<String>,
    pub(crate) resource_configuration_name: Option<String>,
    pub(crate) service_network_id: Option<String>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) service_network_name: Option<String>,
    pub(crate) failure_reason: Option<String>,
    pub(crate) failure_code: Option<String>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) private_dns_entry: Option<DnsEntry>,
    pub(crate) private_dns_enabled: Option<bool>,
    pub(crate) dns_entry: Option<DnsEntry>,
    pub(crate) is_managed_association: Option<bool>,
    pub(crate) domain_verification_status: Option<VerificationStatus>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceNetworkResourceAssociations {
    pub(crate) service_network_identifier: Option<String>,
    pub(crate) resource_configuration_identifier: Option<String>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) include_children: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResourceAssociationsOutput {
    pub(crate) items: Vec<ResourceAssociationSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceAssociationSummary {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ResourceAssociationStatus>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) resource_configuration_id: Option<String>,
    pub(crate) resource_configuration_arn: Option<String>,
    pub(crate) resource_configuration_name: Option<String>,
    pub(crate) service_network_id: Option<String>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) service_network_name: Option<String>,
    pub(crate) dns_entry: Option<DnsEntry>,
    pub(crate) private_dns_entry: Option<DnsEntry>,
    pub(crate) is_managed_association: Option<bool>,
    pub(crate) failure_code: Option<String>,
    pub(crate) private_dns_enabled: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteServiceNetworkResourceAssociation {
    pub(crate) service_network_resource_association_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResourceAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<ResourceAssociationStatus>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResourceEndpointAssociations {
    pub(crate) resource_configuration_identifier: String,
    pub(crate) resource_endpoint_association_identifier: Option<String>,
    pub(crate) vpc_endpoint_id: Option<String>,
    pub(crate) vpc_endpoint_owner: Option<String>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResourceEndpointAssociationsOutput {
    pub(crate) items: Vec<ResourceEndpointAssociationSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceEndpointAssociationSummary {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) resource_configuration_id: Option<String>,
    pub(crate) resource_configuration_arn: Option<String>,
    pub(crate) resource_configuration_name: Option<String>,
    pub(crate) vpc_endpoint_id: Option<String>,
    pub(crate) vpc_endpoint_owner: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResourceEndpointAssociation {
    pub(crate) resource_endpoint_association_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResourceEndpointAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) resource_configuration_id: Option<String>,
    pub(crate) resource_configuration_arn: Option<String>,
    pub(crate) vpc_endpoint_id: Option<String>,
}

/// Whether a domain is its account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum VerificationStatus {
    Verified,
    Pending,
    VerificationTimedOut,
}

/// The record that proves a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TxtMethodConfig {
    pub(crate) value: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartDomainVerification {
    pub(crate) client_token: Option<String>,
    pub(crate) domain_name: String,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartDomainVerificationOutput {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) domain_name: String,
    pub(crate) status: VerificationStatus,
    pub(crate) txt_method_config: Option<TxtMethodConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetDomainVerification {
    pub(crate) domain_verification_identifier: String,
}

/// What GetDomainVerification answers, and an item of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DomainVerificationDetail {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) domain_name: String,
    pub(crate) status: VerificationStatus,
    pub(crate) txt_method_config: Option<TxtMethodConfig>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_verified_time: Option<Timestamp>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListDomainVerifications {
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListDomainVerificationsOutput {
    pub(crate) items: Vec<DomainVerificationDetail>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteDomainVerification {
    pub(crate) domain_verification_identifier: String,
}

impl Checked for CreateResourceGateway {
    fn check(&self, p: &mut Problems) {
        if self.vpc_identifier.is_none() {
            p.add("vpcIdentifier", "Member must not be null");
        }
        if self.subnet_ids.is_empty() {
            p.add(
                "subnetIds",
                "Member must have length greater than or equal to 1",
            );
        }
        if let Some(kind) = &self.ip_address_type {
            ADDRESS_TYPES.check(p, kind);
        }
        constraint::tags(p, &self.tags);
    }
}

impl Checked for CreateServiceNetworkResourceAssociation {
    fn check(&self, p: &mut Problems) {
        constraint::tags(p, &self.tags);
    }
}

impl Checked for StartDomainVerification {
    fn check(&self, p: &mut Problems) {
        if !is_domain(&self.domain_name) {
            p.add("domainName", "Member must be a valid domain name");
        }
        constraint::tags(p, &self.tags);
    }
}
