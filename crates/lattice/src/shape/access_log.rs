use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_model::arn::Arn;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use crate::constraint;
use crate::ident::{Identifier, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ServiceNetworkLogType {
    Service,
    Resource,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateAccessLogSubscription {
    pub(crate) client_token: Option<String>,
    pub(crate) resource_identifier: String,
    pub(crate) destination_arn: String,
    pub(crate) service_network_log_type: Option<ServiceNetworkLogType>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateAccessLogSubscriptionOutput {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) resource_id: String,
    pub(crate) resource_arn: String,
    pub(crate) service_network_log_type: Option<ServiceNetworkLogType>,
    pub(crate) destination_arn: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetAccessLogSubscription {
    pub(crate) access_log_subscription_identifier: String,
}

/// What GetAccessLogSubscription answers, and an item of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessLogSubscriptionDetail {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) resource_id: String,
    pub(crate) resource_arn: String,
    pub(crate) destination_arn: String,
    pub(crate) service_network_log_type: Option<ServiceNetworkLogType>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_updated_at: Timestamp,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListAccessLogSubscriptions {
    pub(crate) resource_identifier: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListAccessLogSubscriptionsOutput {
    pub(crate) items: Vec<AccessLogSubscriptionDetail>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateAccessLogSubscription {
    pub(crate) access_log_subscription_identifier: String,
    pub(crate) destination_arn: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateAccessLogSubscriptionOutput {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) resource_id: String,
    pub(crate) resource_arn: String,
    pub(crate) destination_arn: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteAccessLogSubscription {
    pub(crate) access_log_subscription_identifier: String,
}

fn destination(p: &mut Problems, value: &str) {
    let member = "destinationArn";
    match value.parse::<Arn>() {
        Err(_) => p.add(member, "Member must be an ARN"),
        Ok(arn) if arn.service == "logs" && arn.resource.starts_with("log-group:") => {}
        Ok(_) => p.add(
            member,
            "Access logs are delivered to CloudWatch Logs log groups only: S3 buckets and Firehose streams are not available",
        ),
    }
}

impl Checked for CreateAccessLogSubscription {
    fn check(&self, p: &mut Problems) {
        destination(p, &self.destination_arn);
        constraint::tags(p, &self.tags);
        let network = Identifier::parse(Kind::ServiceNetwork, &self.resource_identifier);
        if self.service_network_log_type.is_some() && network.is_none() {
            p.add(
                "serviceNetworkLogType",
                "Only a service network has logs of more than one type",
            );
        }
    }
}

impl Checked for UpdateAccessLogSubscription {
    fn check(&self, p: &mut Problems) {
        destination(p, &self.destination_arn);
    }
}
