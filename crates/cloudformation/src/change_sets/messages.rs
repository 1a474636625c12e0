//! The requests and answers of operations on change sets, and what of them Lath refuses.

use lath_model::Timestamp;
use lath_service::Refuses;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::fault;
use crate::shape::{ParameterInput, ParameterItem, RollbackConfiguration, Tag};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateChangeSet {
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
    #[serde(rename = "NotificationARNs", default)]
    pub(super) topics: Vec<String>,
    pub(super) tags: Option<Vec<Tag>>,
    pub(super) change_set_name: String,
    pub(super) client_token: Option<String>,
    pub(super) description: Option<String>,
    pub(super) change_set_type: Option<String>,
    pub(super) include_nested_stacks: Option<bool>,
    pub(super) on_stack_failure: Option<String>,
    pub(super) import_existing_resources: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneChangeSet {
    pub(super) id: String,
    pub(super) stack_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeChangeSet {
    pub(super) change_set_name: String,
    pub(super) stack_name: Option<String>,
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Change {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) resource_change: ResourceChange,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceChange {
    pub(super) action: String,
    pub(super) logical_resource_id: String,
    pub(super) physical_resource_id: Option<String>,
    pub(super) resource_type: String,
    pub(super) replacement: Option<String>,
    pub(super) scope: Vec<String>,
    pub(super) details: Vec<Detail>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Detail {
    pub(super) target: Target,
    pub(super) evaluation: String,
    pub(super) change_source: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Target {
    pub(super) attribute: String,
    pub(super) name: Option<String>,
    pub(super) requires_recreation: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChangeSetItem {
    pub(super) change_set_name: String,
    pub(super) change_set_id: String,
    pub(super) stack_id: String,
    pub(super) stack_name: String,
    pub(super) description: Option<String>,
    pub(super) parameters: Vec<ParameterItem>,
    pub(super) creation_time: Timestamp,
    pub(super) execution_status: String,
    pub(super) status: String,
    pub(super) status_reason: Option<String>,
    #[serde(rename = "NotificationARNs")]
    pub(super) topics: Vec<String>,
    pub(super) capabilities: Vec<String>,
    pub(super) tags: Vec<Tag>,
    pub(super) changes: Vec<Change>,
    pub(super) next_token: Option<String>,
    pub(super) include_nested_stacks: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecuteChangeSet {
    pub(super) change_set_name: String,
    pub(super) stack_name: Option<String>,
    pub(super) client_request_token: Option<String>,
    pub(super) disable_rollback: Option<bool>,
    pub(super) retain_except_on_create: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Executed {}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteChangeSet {
    pub(super) change_set_name: String,
    pub(super) stack_name: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Deleted {}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListChangeSets {
    pub(super) stack_name: String,
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChangeSetSummary {
    pub(super) stack_id: String,
    pub(super) stack_name: String,
    pub(super) change_set_id: String,
    pub(super) change_set_name: String,
    pub(super) execution_status: String,
    pub(super) status: String,
    pub(super) status_reason: Option<String>,
    pub(super) creation_time: Timestamp,
    pub(super) description: Option<String>,
    pub(super) include_nested_stacks: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChangeSetSummaries {
    pub(super) summaries: Vec<ChangeSetSummary>,
    pub(super) next_token: Option<String>,
}

impl Refuses for CreateChangeSet {
    fn names() -> Vec<String> {
        [
            "TemplateURL",
            "NotificationARNs",
            "ResourceTypes",
            "ChangeSetType: IMPORT",
            "IncludeNestedStacks: true",
            "ImportExistingResources: true",
        ]
        .map(str::to_owned)
        .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        if self.template_url.is_some() {
            return Err(fault::unsupported("templates in S3: TemplateURL"));
        }
        if !self.topics.is_empty() {
            return Err(fault::unsupported("notifications: NotificationARNs"));
        }
        if !self.resource_types.is_empty() {
            return Err(fault::unsupported("ResourceTypes"));
        }
        if self.change_set_type.as_deref() == Some("IMPORT")
            || self.import_existing_resources == Some(true)
        {
            return Err(fault::unsupported("imports of existing resources"));
        }
        if self.include_nested_stacks == Some(true) {
            return Err(fault::unsupported("nested stacks: IncludeNestedStacks"));
        }
        self.rollback_configuration
            .as_ref()
            .map_or(Ok(()), Refuses::refuse)
    }
}

impl Refuses for ExecuteChangeSet {
    fn names() -> Vec<String> {
        vec!["RetainExceptOnCreate: true".into()]
    }

    fn refuse(&self) -> Result<(), ApiError> {
        if self.retain_except_on_create == Some(true) {
            return Err(fault::unsupported("RetainExceptOnCreate"));
        }
        Ok(())
    }
}
