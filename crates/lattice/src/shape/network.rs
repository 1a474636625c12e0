use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::AuthType;
use crate::constraint;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceNetwork {
    pub(crate) client_token: Option<String>,
    pub(crate) name: String,
    pub(crate) auth_type: Option<AuthType>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) sharing_config: Option<SharingConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SharingConfig {
    pub(crate) enabled: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceNetworkOutput {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) sharing_config: Option<SharingConfig>,
    pub(crate) auth_type: Option<AuthType>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetServiceNetwork {
    pub(crate) service_network_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetServiceNetworkOutput {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) arn: Option<String>,
    pub(crate) auth_type: Option<AuthType>,
    pub(crate) sharing_config: Option<SharingConfig>,
    #[serde(rename = "numberOfAssociatedVPCs")]
    pub(crate) number_of_associated_vpcs: Option<i64>,
    pub(crate) number_of_associated_services: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceNetworks {
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServiceNetworksOutput {
    pub(crate) items: Vec<ServiceNetworkSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceNetworkSummary {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
    #[serde(rename = "numberOfAssociatedVPCs")]
    pub(crate) number_of_associated_vpcs: Option<i64>,
    pub(crate) number_of_associated_services: Option<i64>,
    pub(crate) number_of_associated_resource_configurations: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateServiceNetwork {
    pub(crate) service_network_identifier: String,
    pub(crate) auth_type: AuthType,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateServiceNetworkOutput {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) auth_type: Option<AuthType>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteServiceNetwork {
    pub(crate) service_network_identifier: String,
}

impl Checked for CreateServiceNetwork {
    fn check(&self, p: &mut Problems) {
        constraint::tags(p, &self.tags);
    }
}
