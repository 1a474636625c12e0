use serde::{Deserialize, Serialize};

/// A target as callers name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) port: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisterTargets {
    pub(crate) target_group_identifier: String,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeregisterTargets {
    pub(crate) target_group_identifier: String,
    pub(crate) targets: Vec<Target>,
}

/// What RegisterTargets and DeregisterTargets answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetsOutput {
    pub(crate) successful: Option<Vec<Target>>,
    pub(crate) unsuccessful: Option<Vec<TargetFailure>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetFailure {
    pub(crate) id: Option<String>,
    pub(crate) port: Option<i64>,
    pub(crate) failure_code: Option<String>,
    pub(crate) failure_message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTargets {
    pub(crate) target_group_identifier: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) targets: Option<Vec<Target>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTargetsOutput {
    pub(crate) items: Vec<TargetSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TargetStatus {
    Draining,
    Unavailable,
    Healthy,
    Unhealthy,
    Initial,
    Unused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetSummary {
    pub(crate) id: Option<String>,
    pub(crate) port: Option<i64>,
    pub(crate) status: Option<TargetStatus>,
    pub(crate) reason_code: Option<String>,
}
