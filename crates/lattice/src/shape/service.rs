use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::{AuthType, DnsEntry, Status};
use crate::constraint;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateService {
    pub(crate) client_token: Option<String>,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) certificate_arn: Option<String>,
    pub(crate) auth_type: Option<AuthType>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateServiceOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) certificate_arn: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) auth_type: Option<AuthType>,
    pub(crate) dns_entry: Option<DnsEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetService {
    pub(crate) service_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetServiceOutput {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) dns_entry: Option<DnsEntry>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) certificate_arn: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) auth_type: Option<AuthType>,
    pub(crate) failure_code: Option<String>,
    pub(crate) failure_message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServices {
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListServicesOutput {
    pub(crate) items: Option<Vec<ServiceSummary>>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceSummary {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
    pub(crate) dns_entry: Option<DnsEntry>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) status: Option<Status>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateService {
    pub(crate) service_identifier: String,
    pub(crate) certificate_arn: Option<String>,
    pub(crate) auth_type: Option<AuthType>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateServiceOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) custom_domain_name: Option<String>,
    pub(crate) certificate_arn: Option<String>,
    pub(crate) auth_type: Option<AuthType>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteService {
    pub(crate) service_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteServiceOutput {
    pub(crate) id: Option<String>,
    pub(crate) arn: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) status: Option<Status>,
}

fn domain(p: &mut Problems, value: Option<&str>) {
    let Some(value) = value else { return };
    if !is_domain(value) {
        p.add("customDomainName", "Member must be a valid domain name");
    }
}

/// Labels of 1 to 63 letters, digits and inner hyphens, at least two of them (RFC 1123).
pub(super) fn is_domain(value: &str) -> bool {
    let labels: Vec<&str> = value.split('.').collect();
    let good = |label: &&str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    labels.len() >= 2 && labels.iter().all(good)
}

impl Checked for CreateService {
    fn check(&self, p: &mut Problems) {
        constraint::tags_with_policy(p, &self.tags);
        domain(p, self.custom_domain_name.as_deref());
    }
}
