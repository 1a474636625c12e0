use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutAuthPolicy {
    pub(crate) resource_identifier: String,
    pub(crate) policy: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PutAuthPolicyOutput {
    pub(crate) policy: Option<String>,
    pub(crate) state: Option<AuthPolicyState>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetAuthPolicy {
    pub(crate) resource_identifier: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetAuthPolicyOutput {
    pub(crate) policy: Option<String>,
    pub(crate) state: Option<AuthPolicyState>,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) last_updated_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteAuthPolicy {
    pub(crate) resource_identifier: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutResourcePolicy {
    pub(crate) resource_arn: String,
    pub(crate) policy: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetResourcePolicy {
    pub(crate) resource_arn: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GetResourcePolicyOutput {
    pub(crate) policy: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResourcePolicy {
    pub(crate) resource_arn: String,
}

/// Whether a policy is evaluated: only while the resource's auth type is `AWS_IAM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AuthPolicyState {
    Active,
    Inactive,
}
