use lath_model::Timestamp;
use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use crate::constraint;
use crate::ident::{Identifier, Kind};

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

/// A network or service, by id or ARN.
fn identifier(p: &mut Problems, value: &str) {
    constraint::length(p, "resourceIdentifier", value, 17, 200);
    let good = [Kind::ServiceNetwork, Kind::Service]
        .into_iter()
        .any(|kind| Identifier::parse(kind, value).is_some());
    let pattern = r"((((sn)|(svc)|(rcfg))-[0-9a-z]{17})|(arn(:[a-z0-9]+([.-][a-z0-9]+)*){2}(:([a-z0-9]+([.-][a-z0-9]+)*)?){2}:((servicenetwork/sn)|(resourceconfiguration/rcfg)|(service/svc))-[0-9a-z]{17}))";
    constraint::pattern(p, "resourceIdentifier", good, pattern);
}

/// A network, service or resource configuration, by ARN.
fn arn(p: &mut Problems, value: &str) {
    constraint::length(p, "resourceArn", value, 20, 200);
    let good = matches!(
        Identifier::parse_arn(value),
        Some((
            Kind::ServiceNetwork | Kind::Service | Kind::ResourceConfiguration,
            _
        ))
    );
    let pattern = r"arn(:[a-z0-9]+([.-][a-z0-9]+)*){2}(:([a-z0-9]+([.-][a-z0-9]+)*)?){2}:((servicenetwork/sn)|(service/svc)|(resourceconfiguration/rcfg))-[0-9a-z]{17}";
    constraint::pattern(p, "resourceArn", good, pattern);
}

impl Checked for PutAuthPolicy {
    fn check(&self, p: &mut Problems) {
        identifier(p, &self.resource_identifier);
        constraint::length(p, "policy", &self.policy, 0, 36_864);
    }
}

impl Checked for GetAuthPolicy {
    fn check(&self, p: &mut Problems) {
        identifier(p, &self.resource_identifier);
    }
}

impl Checked for DeleteAuthPolicy {
    fn check(&self, p: &mut Problems) {
        identifier(p, &self.resource_identifier);
    }
}

impl Checked for PutResourcePolicy {
    fn check(&self, p: &mut Problems) {
        arn(p, &self.resource_arn);
        constraint::length(p, "policy", &self.policy, 1, 10_000);
        let visible = self.policy.chars().any(|c| !c.is_whitespace());
        constraint::pattern(p, "policy", visible, r".*\S.*");
    }
}

impl Checked for GetResourcePolicy {
    fn check(&self, p: &mut Problems) {
        arn(p, &self.resource_arn);
    }
}

impl Checked for DeleteResourcePolicy {
    fn check(&self, p: &mut Problems) {
        arn(p, &self.resource_arn);
    }
}
