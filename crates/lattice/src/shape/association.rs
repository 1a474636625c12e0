use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::{DnsEntry, Status};
use crate::constraint;

/// The states of VPC associations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum VpcAssociationStatus {
    CreateInProgress,
    Active,
    UpdateInProgress,
    DeleteInProgress,
    CreateFailed,
    DeleteFailed,
    UpdateFailed,
}

impl VpcAssociationStatus {
    /// As the wire prints it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::CreateInProgress => "CREATE_IN_PROGRESS",
            Self::Active => "ACTIVE",
            Self::UpdateInProgress => "UPDATE_IN_PROGRESS",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::CreateFailed => "CREATE_FAILED",
            Self::DeleteFailed => "DELETE_FAILED",
            Self::UpdateFailed => "UPDATE_FAILED",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceNetworkServiceAssociation {
    pub(crate) client_token: Option<String>,
    pub(crate) service_identifier: String,
    pub(crate) service_network_identifier: String,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) arn: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) dns_entry: Option<DnsEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetServiceNetworkServiceAssociation {
    pub(crate) service_network_service_association_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetServiceAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) arn: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) service_id: Option<String>,
    pub(crate) service_name: Option<String>,
    pub(crate) service_arn: Option<String>,
    pub(crate) service_network_id: Option<String>,
    pub(crate) service_network_name: Option<String>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) dns_entry: Option<DnsEntry>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) failure_message: Option<String>,
    pub(crate) failure_code: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceNetworkServiceAssociations {
    pub(crate) service_network_identifier: Option<String>,
    pub(crate) service_identifier: Option<String>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceAssociationsOutput {
    pub(crate) items: Vec<ServiceAssociationSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceAssociationSummary {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) arn: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) service_id: Option<String>,
    pub(crate) service_name: Option<String>,
    pub(crate) service_arn: Option<String>,
    pub(crate) service_network_id: Option<String>,
    pub(crate) service_network_name: Option<String>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) dns_entry: Option<DnsEntry>,
    pub(crate) custom_domain_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteServiceNetworkServiceAssociation {
    pub(crate) service_network_service_association_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteServiceAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) arn: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum PrivateDnsPreference {
    VerifiedDomainsOnly,
    AllDomains,
    VerifiedDomainsAndSpecifiedDomains,
    SpecifiedDomainsOnly,
}

impl PrivateDnsPreference {
    /// What the wire prints, read back.
    pub(crate) fn named(text: &str) -> Option<Self> {
        use PrivateDnsPreference::*;
        [
            VerifiedDomainsOnly,
            AllDomains,
            VerifiedDomainsAndSpecifiedDomains,
            SpecifiedDomainsOnly,
        ]
        .into_iter()
        .find(|it| it.as_str() == text)
    }

    /// As the wire prints it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::VerifiedDomainsOnly => "VERIFIED_DOMAINS_ONLY",
            Self::AllDomains => "ALL_DOMAINS",
            Self::VerifiedDomainsAndSpecifiedDomains => "VERIFIED_DOMAINS_AND_SPECIFIED_DOMAINS",
            Self::SpecifiedDomainsOnly => "SPECIFIED_DOMAINS_ONLY",
        }
    }
}

/// Which custom domains of resource configurations get private zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DnsOptions {
    pub(crate) private_dns_preference: Option<PrivateDnsPreference>,
    pub(crate) private_dns_specified_domains: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceNetworkVpcAssociation {
    pub(crate) client_token: Option<String>,
    pub(crate) service_network_identifier: String,
    pub(crate) vpc_identifier: String,
    pub(crate) private_dns_enabled: Option<bool>,
    #[serde(default)]
    pub(crate) security_group_ids: Vec<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) dns_options: Option<DnsOptions>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateVpcAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<VpcAssociationStatus>,
    pub(crate) arn: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) security_group_ids: Option<Vec<String>>,
    pub(crate) private_dns_enabled: Option<bool>,
    pub(crate) dns_options: Option<DnsOptions>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetServiceNetworkVpcAssociation {
    pub(crate) service_network_vpc_association_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetVpcAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<VpcAssociationStatus>,
    pub(crate) arn: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) service_network_id: Option<String>,
    pub(crate) service_network_name: Option<String>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) security_group_ids: Option<Vec<String>>,
    pub(crate) private_dns_enabled: Option<bool>,
    pub(crate) failure_message: Option<String>,
    pub(crate) failure_code: Option<String>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) dns_options: Option<DnsOptions>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceNetworkVpcAssociations {
    pub(crate) service_network_identifier: Option<String>,
    pub(crate) vpc_identifier: Option<String>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListVpcAssociationsOutput {
    pub(crate) items: Vec<VpcAssociationSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VpcAssociationSummary {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<VpcAssociationStatus>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) service_network_id: Option<String>,
    pub(crate) service_network_name: Option<String>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) private_dns_enabled: Option<bool>,
    pub(crate) dns_options: Option<DnsOptions>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateServiceNetworkVpcAssociation {
    pub(crate) service_network_vpc_association_identifier: String,
    pub(crate) security_group_ids: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateVpcAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) status: Option<VpcAssociationStatus>,
    pub(crate) created_by: Option<String>,
    pub(crate) security_group_ids: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteServiceNetworkVpcAssociation {
    pub(crate) service_network_vpc_association_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteVpcAssociationOutput {
    pub(crate) id: Option<String>,
    pub(crate) status: Option<VpcAssociationStatus>,
    pub(crate) arn: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceNetworkVpcEndpointAssociations {
    pub(crate) service_network_identifier: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListEndpointAssociationsOutput {
    pub(crate) items: Vec<EndpointAssociation>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointAssociation {
    pub(crate) vpc_endpoint_id: Option<String>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) vpc_endpoint_owner_id: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) service_network_arn: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
}

/// The model marks both filters optional; the service wants one of them.
fn one_filter(p: &mut Problems, network: Option<&str>, member: &str, other: Option<&str>) {
    if network.is_none() && other.is_none() {
        p.add(
            "serviceNetworkIdentifier",
            format!("Either serviceNetworkIdentifier or {member} must be given"),
        );
    }
}

impl Checked for CreateServiceNetworkServiceAssociation {
    fn check(&self, p: &mut Problems) {
        constraint::tags(p, &self.tags);
    }
}

impl Checked for ListServiceNetworkServiceAssociations {
    fn check(&self, p: &mut Problems) {
        let by_network = self.service_network_identifier.as_deref();
        let by_service = self.service_identifier.as_deref();
        one_filter(p, by_network, "serviceIdentifier", by_service);
    }
}

impl Checked for CreateServiceNetworkVpcAssociation {
    fn check(&self, p: &mut Problems) {
        constraint::tags(p, &self.tags);
    }
}

impl Checked for ListServiceNetworkVpcAssociations {
    fn check(&self, p: &mut Problems) {
        let by_network = self.service_network_identifier.as_deref();
        let by_vpc = self.vpc_identifier.as_deref();
        one_filter(p, by_network, "vpcIdentifier", by_vpc);
    }
}
