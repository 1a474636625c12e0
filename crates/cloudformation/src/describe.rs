//! What stacks are, what they have made, what happened.

use std::sync::Arc;

use lath_control::paginate;
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::record::{Event, Resource, Stack};
use crate::resource_types::STACK;
use crate::shape::{ParameterItem, Tag, shown, tags_shown};
use crate::template::{Template, cut};
use crate::{CloudFormation, fault};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStacks {
    stack_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OutputItem {
    output_key: String,
    output_value: String,
    description: Option<String>,
    export_name: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Drift {
    stack_drift_status: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StackItem {
    stack_id: String,
    stack_name: String,
    change_set_id: Option<String>,
    description: Option<String>,
    parameters: Vec<ParameterItem>,
    creation_time: Timestamp,
    deletion_time: Option<Timestamp>,
    last_updated_time: Option<Timestamp>,
    stack_status: String,
    stack_status_reason: Option<String>,
    disable_rollback: bool,
    #[serde(rename = "NotificationARNs")]
    topics: Vec<String>,
    timeout_in_minutes: Option<i64>,
    capabilities: Vec<String>,
    outputs: Vec<OutputItem>,
    #[serde(rename = "RoleARN")]
    role: Option<String>,
    tags: Vec<Tag>,
    enable_termination_protection: bool,
    drift_information: Drift,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StackItems {
    stacks: Vec<StackItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStacks {
    next_token: Option<String>,
    #[serde(default)]
    stack_status_filter: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StackSummary {
    stack_id: String,
    stack_name: String,
    template_description: Option<String>,
    creation_time: Timestamp,
    last_updated_time: Option<Timestamp>,
    deletion_time: Option<Timestamp>,
    stack_status: String,
    stack_status_reason: Option<String>,
    drift_information: Drift,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StackSummaries {
    stack_summaries: Vec<StackSummary>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStackEvents {
    stack_name: String,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EventItem {
    stack_id: String,
    event_id: String,
    stack_name: String,
    logical_resource_id: String,
    physical_resource_id: String,
    resource_type: String,
    timestamp: Timestamp,
    resource_status: String,
    resource_status_reason: Option<String>,
    resource_properties: Option<String>,
    client_request_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EventItems {
    stack_events: Vec<EventItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStackResources {
    stack_name: Option<String>,
    logical_resource_id: Option<String>,
    physical_resource_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceItem {
    stack_name: String,
    stack_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    resource_type: String,
    timestamp: Timestamp,
    resource_status: String,
    resource_status_reason: Option<String>,
    drift_information: ResourceDrift,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceDrift {
    stack_resource_drift_status: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceItems {
    stack_resources: Vec<ResourceItem>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStackResource {
    stack_name: String,
    logical_resource_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceDetail {
    stack_name: String,
    stack_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    resource_type: String,
    last_updated_timestamp: Timestamp,
    resource_status: String,
    resource_status_reason: Option<String>,
    drift_information: ResourceDrift,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneResource {
    stack_resource_detail: ResourceDetail,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStackResources {
    stack_name: String,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceSummary {
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    resource_type: String,
    last_updated_timestamp: Timestamp,
    resource_status: String,
    resource_status_reason: Option<String>,
    drift_information: ResourceDrift,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceSummaries {
    stack_resource_summaries: Vec<ResourceSummary>,
    next_token: Option<String>,
}

operations! {
    for CloudFormation as "cloudformation";
    read DescribeStacks -> StackItems = describe
        => on(&STACK, |op, _| op.stack_name.clone().unwrap_or_else(|| "*".into()))
        .also_any("cloudformation:ListStacks", |op, _| op.stack_name.is_none());
    read ListStacks -> StackSummaries = list => any();
    read DescribeStackEvents -> EventItems = events => on(&STACK, |op, _| op.stack_name.clone());
    read DescribeStackResources -> ResourceItems = resources
        => on(&STACK, |op, at| match &op.stack_name {
            Some(name) => name.clone(),
            None => owner(at.view, op.physical_resource_id.as_deref()).map_or_else(|| "*".into(), |it| it.arn.clone()),
        });
    read DescribeStackResource -> OneResource = resource => on(&STACK, |op, _| op.stack_name.clone());
    read ListStackResources -> ResourceSummaries = list_resources => on(&STACK, |op, _| op.stack_name.clone());
}

fn drift() -> Drift {
    Drift {
        stack_drift_status: "NOT_CHECKED".into(),
    }
}

fn resource_drift() -> ResourceDrift {
    ResourceDrift {
        stack_resource_drift_status: "NOT_CHECKED".into(),
    }
}

fn description(stack: &Stack) -> Option<String> {
    Template::read(&stack.desired.template).ok()?.description
}

fn item(stack: &Stack) -> StackItem {
    let output = |it: &crate::record::Output| OutputItem {
        output_key: it.key.clone(),
        output_value: it.value.clone(),
        description: it.description.clone(),
        export_name: it.export.clone(),
    };
    StackItem {
        stack_id: stack.arn.clone(),
        stack_name: stack.name.clone(),
        change_set_id: stack.change_set.clone(),
        description: description(stack),
        parameters: shown(&stack.desired),
        creation_time: stack.created,
        deletion_time: stack.deleted,
        last_updated_time: stack.updated,
        stack_status: stack.status.clone(),
        stack_status_reason: stack.reason.clone(),
        disable_rollback: stack.on_failure == crate::record::OnFailure::Nothing,
        topics: stack.desired.topics.clone(),
        timeout_in_minutes: stack.timeout_minutes,
        capabilities: stack.desired.capabilities.clone(),
        outputs: stack.outputs.iter().map(output).collect(),
        role: stack.role.clone(),
        tags: tags_shown(&stack.desired.tags),
        enable_termination_protection: stack.is_protected,
        drift_information: drift(),
    }
}

/// Newest first, as AWS lists stacks.
fn order(stack: &Stack) -> String {
    let at = i64::MAX - stack.created.as_millis();
    format!("{at:020}/{}", stack.uuid)
}

fn sorted(view: &View, keep: impl Fn(&Stack) -> bool) -> Vec<Arc<Stack>> {
    let mut all: Vec<Arc<Stack>> = view.list::<Stack>().filter(|it| keep(it)).collect();
    all.sort_by_cached_key(|it| order(it));
    all
}

fn describe(_: &CloudFormation, view: &View, op: &DescribeStacks) -> Result<StackItems, ApiError> {
    if let Some(name) = &op.stack_name {
        return Ok(StackItems {
            stacks: vec![item(&*fault::find(view, name)?)],
            next_token: None,
        });
    }
    let all = sorted(view, |it| it.deleted.is_none());
    let page =
        paginate(all, |it| order(it), 100, op.next_token.as_deref()).map_err(fault::token)?;
    Ok(StackItems {
        stacks: page.items.iter().map(|it| item(it)).collect(),
        next_token: page.next_token,
    })
}

fn list(_: &CloudFormation, view: &View, op: &ListStacks) -> Result<StackSummaries, ApiError> {
    let filter = &op.stack_status_filter;
    let all = sorted(view, |it| filter.is_empty() || filter.contains(&it.status));
    let page =
        paginate(all, |it| order(it), 100, op.next_token.as_deref()).map_err(fault::token)?;
    let summary = |stack: &Arc<Stack>| StackSummary {
        stack_id: stack.arn.clone(),
        stack_name: stack.name.clone(),
        template_description: description(stack),
        creation_time: stack.created,
        last_updated_time: stack.updated,
        deletion_time: stack.deleted,
        stack_status: stack.status.clone(),
        stack_status_reason: stack.reason.clone(),
        drift_information: drift(),
    };
    Ok(StackSummaries {
        stack_summaries: page.items.iter().map(summary).collect(),
        next_token: page.next_token,
    })
}

fn events(
    _: &CloudFormation,
    view: &View,
    op: &DescribeStackEvents,
) -> Result<EventItems, ApiError> {
    let stack = fault::lookup(view, &op.stack_name).ok_or_else(|| {
        fault::validation(format!("Stack [{}] does not exist", cut(&op.stack_name)))
    })?;
    let prefix = format!("{}/", stack.uuid);
    let mut all: Vec<Arc<Event>> = view.range::<Event>(&prefix).collect();
    all.reverse();
    let key = |it: &Arc<Event>| {
        format!(
            "{:010}",
            u32::MAX - u32::try_from(it.number).unwrap_or(u32::MAX)
        )
    };
    let page = paginate(all, key, 100, op.next_token.as_deref()).map_err(fault::token)?;
    let item = |it: &Arc<Event>| EventItem {
        stack_id: stack.arn.clone(),
        event_id: it.id.clone(),
        stack_name: stack.name.clone(),
        logical_resource_id: it.logical.clone(),
        physical_resource_id: it.physical.clone(),
        resource_type: it.type_name.clone(),
        timestamp: it.at,
        resource_status: it.status.clone(),
        resource_status_reason: it.reason.clone(),
        resource_properties: it.properties.clone(),
        client_request_token: it.token.clone(),
    };
    Ok(EventItems {
        stack_events: page.items.iter().map(item).collect(),
        next_token: page.next_token,
    })
}

fn of_stack(view: &View, stack: &Stack) -> Vec<Arc<Resource>> {
    let prefix = format!("{}/", stack.uuid);
    view.range::<Resource>(&prefix).collect()
}

/// The living stack that made something with a physical id.
fn owner(view: &View, physical: Option<&str>) -> Option<Arc<Stack>> {
    let physical = physical?;
    let own = view
        .list::<Resource>()
        .find(|it| it.is_made && it.physical == physical && it.status != "DELETE_COMPLETE")?;
    view.get::<Stack>(&own.stack)
}

fn physical(it: &Resource) -> Option<String> {
    Some(it.physical.clone()).filter(|it| !it.is_empty())
}

fn resources(
    _: &CloudFormation,
    view: &View,
    op: &DescribeStackResources,
) -> Result<ResourceItems, ApiError> {
    let stack = match (&op.stack_name, &op.physical_resource_id) {
        (Some(_), Some(_)) => {
            return Err(fault::validation(
                "Both StackName and PhysicalResourceId cannot be specified",
            ));
        }
        (Some(name), None) => fault::find(view, name)?,
        (None, Some(id)) => owner(view, Some(id))
            .ok_or_else(|| fault::validation(format!("Stack for {} does not exist", cut(id))))?,
        (None, None) => {
            return Err(fault::validation(
                "StackName or PhysicalResourceId must be specified",
            ));
        }
    };
    let wanted = op.logical_resource_id.as_deref();
    let item = |it: &Arc<Resource>| ResourceItem {
        stack_name: stack.name.clone(),
        stack_id: stack.arn.clone(),
        logical_resource_id: it.logical.clone(),
        physical_resource_id: physical(it),
        resource_type: it.type_name.clone(),
        timestamp: it.at,
        resource_status: it.status.clone(),
        resource_status_reason: it.reason.clone(),
        drift_information: resource_drift(),
    };
    let all = of_stack(view, &stack);
    let all = all
        .iter()
        .filter(|it| wanted.is_none_or(|wanted| it.logical == wanted));
    Ok(ResourceItems {
        stack_resources: all.take(100).map(item).collect(),
    })
}

fn resource(
    _: &CloudFormation,
    view: &View,
    op: &DescribeStackResource,
) -> Result<OneResource, ApiError> {
    let stack = fault::find(view, &op.stack_name)?;
    let it = view
        .get::<Resource>(&Resource::key(&stack.uuid, &op.logical_resource_id))
        .ok_or_else(|| {
            let (logical, stack) = (cut(&op.logical_resource_id), &stack.name);
            fault::validation(format!(
                "Resource {logical} does not exist for stack {stack}"
            ))
        })?;
    Ok(OneResource {
        stack_resource_detail: ResourceDetail {
            stack_name: stack.name.clone(),
            stack_id: stack.arn.clone(),
            logical_resource_id: it.logical.clone(),
            physical_resource_id: physical(&it),
            resource_type: it.type_name.clone(),
            last_updated_timestamp: it.at,
            resource_status: it.status.clone(),
            resource_status_reason: it.reason.clone(),
            drift_information: resource_drift(),
        },
    })
}

fn list_resources(
    _: &CloudFormation,
    view: &View,
    op: &ListStackResources,
) -> Result<ResourceSummaries, ApiError> {
    let stack = fault::find(view, &op.stack_name)?;
    let all = of_stack(view, &stack);
    let page = paginate(all, |it| it.logical.clone(), 100, op.next_token.as_deref())
        .map_err(fault::token)?;
    let summary = |it: &Arc<Resource>| ResourceSummary {
        logical_resource_id: it.logical.clone(),
        physical_resource_id: physical(it),
        resource_type: it.type_name.clone(),
        last_updated_timestamp: it.at,
        resource_status: it.status.clone(),
        resource_status_reason: it.reason.clone(),
        drift_information: resource_drift(),
    };
    Ok(ResourceSummaries {
        stack_resource_summaries: page.items.iter().map(summary).collect(),
        next_token: page.next_token,
    })
}
