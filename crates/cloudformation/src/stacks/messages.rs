//! The requests of operations on stacks, and what of them Lath refuses.

use lath_service::Refuses;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::fault;
use crate::shape::{ParameterInput, RollbackConfiguration, Tag};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateStack {
    pub(super) stack_name: String,
    pub(super) template_body: Option<String>,
    #[serde(rename = "TemplateURL")]
    pub(super) template_url: Option<String>,
    #[serde(default)]
    pub(super) parameters: Vec<ParameterInput>,
    pub(super) disable_rollback: Option<bool>,
    pub(super) rollback_configuration: Option<RollbackConfiguration>,
    pub(super) timeout_in_minutes: Option<i64>,
    #[serde(rename = "NotificationARNs", default)]
    pub(super) topics: Vec<String>,
    #[serde(default)]
    pub(super) capabilities: Vec<String>,
    #[serde(default)]
    pub(super) resource_types: Vec<String>,
    #[serde(rename = "RoleARN")]
    pub(super) role: Option<String>,
    pub(super) on_failure: Option<String>,
    pub(super) stack_policy_body: Option<String>,
    #[serde(rename = "StackPolicyURL")]
    pub(super) stack_policy_url: Option<String>,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
    pub(super) client_request_token: Option<String>,
    pub(super) enable_termination_protection: Option<bool>,
    pub(super) retain_except_on_create: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateStack {
    pub(super) stack_name: String,
    pub(super) template_body: Option<String>,
    #[serde(rename = "TemplateURL")]
    pub(super) template_url: Option<String>,
    pub(super) use_previous_template: Option<bool>,
    #[serde(default)]
    pub(super) parameters: Vec<ParameterInput>,
    #[serde(default)]
    pub(super) capabilities: Vec<String>,
    #[serde(default)]
    pub(super) resource_types: Vec<String>,
    #[serde(rename = "RoleARN")]
    pub(super) role: Option<String>,
    pub(super) rollback_configuration: Option<RollbackConfiguration>,
    pub(super) stack_policy_body: Option<String>,
    #[serde(rename = "StackPolicyURL")]
    pub(super) stack_policy_url: Option<String>,
    #[serde(rename = "NotificationARNs", default)]
    pub(super) topics: Vec<String>,
    pub(super) tags: Option<Vec<Tag>>,
    pub(super) disable_rollback: Option<bool>,
    pub(super) client_request_token: Option<String>,
    pub(super) retain_except_on_create: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneStack {
    pub(crate) stack_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteStack {
    pub(super) stack_name: String,
    #[serde(default)]
    pub(super) retain_resources: Vec<String>,
    #[serde(rename = "RoleARN")]
    pub(super) role: Option<String>,
    pub(super) client_request_token: Option<String>,
    pub(super) deletion_mode: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CancelUpdateStack {
    pub(super) stack_name: String,
    pub(super) client_request_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContinueUpdateRollback {
    pub(super) stack_name: String,
    #[serde(rename = "RoleARN")]
    pub(super) role: Option<String>,
    #[serde(default)]
    pub(super) resources_to_skip: Vec<String>,
    pub(super) client_request_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Continued {}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateTerminationProtection {
    pub(super) stack_name: String,
    pub(super) enable_termination_protection: bool,
}

/// What requests may have that Lath cannot do.
struct Beyond<'a> {
    url: Option<&'a str>,
    topics: &'a [String],
    types: &'a [String],
    policy: bool,
    retain: Option<bool>,
    triggers: Option<&'a RollbackConfiguration>,
}

impl Beyond<'_> {
    fn refuse(&self) -> Result<(), ApiError> {
        if self.url.is_some() {
            return Err(fault::unsupported("templates in S3: TemplateURL"));
        }
        if !self.topics.is_empty() {
            return Err(fault::unsupported("notifications: NotificationARNs"));
        }
        if !self.types.is_empty() {
            return Err(fault::unsupported("ResourceTypes"));
        }
        if self.retain == Some(true) {
            return Err(fault::unsupported("RetainExceptOnCreate"));
        }
        if self.policy {
            return Err(fault::unsupported("stack policies"));
        }
        self.triggers.map_or(Ok(()), Refuses::refuse)
    }
}

impl Refuses for CreateStack {
    fn names() -> Vec<String> {
        [
            "TemplateURL",
            "NotificationARNs",
            "ResourceTypes",
            "StackPolicyBody",
            "StackPolicyURL",
            "RetainExceptOnCreate: true",
        ]
        .map(str::to_owned)
        .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        Beyond {
            url: self.template_url.as_deref(),
            topics: &self.topics,
            types: &self.resource_types,
            policy: self.stack_policy_body.is_some() || self.stack_policy_url.is_some(),
            retain: self.retain_except_on_create,
            triggers: self.rollback_configuration.as_ref(),
        }
        .refuse()
    }
}

impl Refuses for UpdateStack {
    fn names() -> Vec<String> {
        CreateStack::names()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        Beyond {
            url: self.template_url.as_deref(),
            topics: &self.topics,
            types: &self.resource_types,
            policy: self.stack_policy_body.is_some() || self.stack_policy_url.is_some(),
            retain: self.retain_except_on_create,
            triggers: self.rollback_configuration.as_ref(),
        }
        .refuse()
    }
}

impl Refuses for DeleteStack {
    fn names() -> Vec<String> {
        vec!["DeletionMode: FORCE_DELETE_STACK".into()]
    }

    fn refuse(&self) -> Result<(), ApiError> {
        match self.deletion_mode.as_deref() {
            None | Some("STANDARD") => Ok(()),
            Some(_) => Err(fault::unsupported("DeletionMode FORCE_DELETE_STACK")),
        }
    }
}

impl Refuses for ContinueUpdateRollback {
    fn names() -> Vec<String> {
        vec!["ResourcesToSkip".into()]
    }

    fn refuse(&self) -> Result<(), ApiError> {
        if self.resources_to_skip.is_empty() {
            Ok(())
        } else {
            Err(fault::unsupported("ResourcesToSkip"))
        }
    }
}
