//! Change sets: what an update would do, and its execution.

mod messages;

use lath_control::paginate;
use lath_iam::resource_types::ROLE;
use lath_service::{App as _, Refuses, Stateful as _, operations};
use lath_store::View;
use lath_wire::{ApiError, Caller};
use uuid::Uuid;

use self::messages::*;
use crate::engine::{resources, stack_happened};
use crate::plan::Plan;
use crate::record::{ChangeSet, Desired, OnFailure, Planned, Stack};
use crate::resource_types::STACK;
use crate::shape::{RollbackConfiguration, on_failure, pairs, shown, tags_shown};
use crate::stacks::{
    Asked, authority, begin_create, begin_update, blank, check, check_name, check_number,
    check_updatable, exists,
};
use crate::template::cut;
use crate::{CloudFormation, fault};

const NAME: &str = "cloudformation:ChangeSetName";

operations! {
    for CloudFormation as "cloudformation";
    asynchronous CreateChangeSet -> OneChangeSet = create => on(&STACK, |op, _| op.stack_name.clone())
        .tagged(|op, _| pairs(op.tags.as_deref().unwrap_or_default()))
        .with(NAME, |op, _| op.change_set_name.clone())
        .with("cloudformation:RoleArn", |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with("cloudformation:TemplateUrl", |op, _| op.template_url.clone())
        .with("cloudformation:ResourceTypes", |op, _| op.resource_types.clone())
        .with("cloudformation:ImportResourceTypes", |_, _| Vec::<String>::new())
        .with("cloudformation:StackPolicyUrl", |_, _| Vec::<String>::new())
        .also("iam:PassRole", &ROLE, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with("iam:PassedToService", |_, _| crate::PRINCIPAL)
        => refusing ["" CreateChangeSet, "RollbackConfiguration." RollbackConfiguration];
    read DescribeChangeSet -> ChangeSetItem = describe
        => on(&STACK, |op, at| stack_named(at.view, op.stack_name.as_deref(), Some(&op.change_set_name)))
        .with(NAME, |op, at| name_of(at.view, &op.change_set_name));
    asynchronous ExecuteChangeSet -> Executed = execute
        => on(&STACK, |op, at| stack_named(at.view, op.stack_name.as_deref(), Some(&op.change_set_name)))
        .with(NAME, |op, at| name_of(at.view, &op.change_set_name))
        => refusing ["" ExecuteChangeSet];
    asynchronous DeleteChangeSet -> Deleted = delete
        => on(&STACK, |op, at| stack_named(at.view, op.stack_name.as_deref(), Some(&op.change_set_name)))
        .with(NAME, |op, at| name_of(at.view, &op.change_set_name));
    read ListChangeSets -> ChangeSetSummaries = list => on(&STACK, |op, _| op.stack_name.clone());
}

fn absent(name: &str) -> ApiError {
    ApiError::new(
        "ChangeSetNotFound",
        404,
        format!("ChangeSet [{}] does not exist", cut(name)),
    )
}

/// A change set by its ARN, or by its name and its stack's.
pub(crate) fn find(view: &View, stack: Option<&str>, name: &str) -> Result<ChangeSet, ApiError> {
    if name.starts_with("arn:") {
        let uuid = name.rsplit('/').next().unwrap_or_default();
        let set = view.get::<ChangeSet>(uuid).filter(|it| it.arn == name);
        return set
            .map(|it| ChangeSet::clone(&it))
            .ok_or_else(|| absent(name));
    }
    let Some(stack) = stack else {
        return Err(fault::validation(
            "StackName must be specified if ChangeSetName is not specified as an ARN.",
        ));
    };
    let stack = fault::find(view, stack)?;
    let mut all = view.by::<ChangeSet>("stack", &stack.uuid);
    let set = all.find(|it| it.name == name);
    set.map(|it| ChangeSet::clone(&it))
        .ok_or_else(|| absent(name))
}

/// The stack that a request about a change set names, or that the change set is of.
pub(crate) fn stack_named(view: &View, stack: Option<&str>, set: Option<&str>) -> String {
    if let Some(set) = set.filter(|it| it.starts_with("arn:")) {
        let found = find(view, None, set)
            .ok()
            .and_then(|set| view.get::<Stack>(&set.stack));
        return found.map_or_else(|| "*".into(), |it| it.arn.clone());
    }
    stack.unwrap_or("*").to_owned()
}

/// The name of a change set that may be named by its ARN.
fn name_of(view: &View, name: &str) -> String {
    match find(view, None, name) {
        Ok(set) => set.name,
        Err(_) => name.to_owned(),
    }
}

/// Whether something would change.
pub(crate) fn differs(
    app: &CloudFormation,
    stack: &Stack,
    desired: &Desired,
) -> Result<bool, ApiError> {
    let plan = Plan::of(app, stack, desired).map_err(fault::validation)?;
    let known = resources(app, &stack.uuid);
    if !plan
        .changes(app, desired, &known)
        .map_err(fault::validation)?
        .is_empty()
    {
        return Ok(true);
    }
    let is_settled = stack.status.ends_with("_COMPLETE");
    if stack.desired.tags != desired.tags || !is_settled {
        return Ok(true);
    }
    let outputs = plan.outputs(app, &known).map_err(fault::validation)?;
    Ok(outputs != stack.outputs)
}

async fn create(
    app: &CloudFormation,
    caller: &Caller,
    op: CreateChangeSet,
) -> Result<OneChangeSet, ApiError> {
    check_name("changeSetName", &op.change_set_name)?;
    if !op.stack_name.starts_with("arn:") {
        check_name("stackName", &op.stack_name)?;
    }
    op.refuse()?;
    let kind = op.change_set_type.as_deref().unwrap_or("UPDATE");
    if !["CREATE", "UPDATE"].contains(&kind) {
        let kind = cut(kind);
        return Err(fault::validation(format!(
            "1 validation error detected: Value '{kind}' at 'changeSetType' failed to satisfy constraint: Member must satisfy enum value set: [IMPORT, CREATE, UPDATE]"
        )));
    }
    let on_failure = on_failure(None, op.on_stack_failure.as_deref())?;
    if kind == "UPDATE" && on_failure == OnFailure::Delete {
        return Err(fault::validation(
            "OnStackFailure DELETE is only valid when the ChangeSetType is CREATE",
        ));
    }
    let view = app.view();
    let known = fault::lookup(&view, &op.stack_name).filter(|it| it.deleted.is_none());
    let authority = authority(app, caller, op.role.as_deref())?;
    let (stack, is_new) = match (known, kind) {
        (Some(stack), "CREATE") if stack.status == "REVIEW_IN_PROGRESS" => {
            (Stack::clone(&stack), false)
        }
        (Some(stack), "CREATE") => return Err(exists(&stack.name)),
        (Some(stack), _) => {
            check_updatable(&stack)?;
            (Stack::clone(&stack), false)
        }
        (None, "CREATE") => {
            // The ARN of a stack that is not there is no name for one.
            check_name("stackName", &op.stack_name)?;
            (blank(app, &op.stack_name, authority), true)
        }
        (None, _) => {
            let name = cut(&op.stack_name);
            return Err(fault::validation(format!("Stack [{name}] does not exist")));
        }
    };
    let asked = Asked {
        body: op.template_body.as_deref(),
        uses_previous: op.use_previous_template == Some(true),
        parameters: &op.parameters,
        tags: op.tags.as_deref(),
        capabilities: &op.capabilities,
    };
    let desired = asked.desired(&stack.desired)?;
    check(app, &stack, &desired)?;
    let plan = Plan::of(app, &stack, &desired).map_err(fault::validation)?;
    let changes = plan
        .changes(app, &desired, &resources(app, &stack.uuid))
        .map_err(fault::validation)?;
    let differs = kind == "CREATE" || differs(app, &stack, &desired)?;
    let (status, execution) = if differs {
        ("CREATE_COMPLETE", "AVAILABLE")
    } else {
        ("FAILED", "UNAVAILABLE")
    };
    let reason = "The submitted information didn't contain changes. Submit different information to create a change set.";
    let uuid = Uuid::new_v4().to_string();
    let set = ChangeSet {
        arn: app.cell.arn(
            "cloudformation",
            format!("changeSet/{}/{uuid}", op.change_set_name),
        ),
        uuid,
        name: op.change_set_name.clone(),
        stack: stack.uuid.clone(),
        kind: kind.to_owned(),
        description: op.description,
        desired,
        role: op.role,
        on_failure,
        created: app.cell.now(),
        status: status.into(),
        reason: (!differs).then(|| reason.to_owned()),
        execution: execution.into(),
        changes,
    };
    // A token makes a change set once: its name does so already.
    let _ = op.client_token;
    app.db()
        .write(|tx| {
            let mut same = tx.view().by::<ChangeSet>("stack", &stack.uuid);
            if same.any(|it| it.name == set.name) {
                let name = &set.name;
                let text = format!("ChangeSet {name} already exists");
                return Err(ApiError::new("AlreadyExistsException", 400, text));
            }
            drop(same);
            let answer = OneChangeSet {
                id: set.arn.clone(),
                stack_id: stack.arn.clone(),
            };
            if is_new {
                if fault::lookup(tx.view(), &stack.name).is_some() {
                    return Err(exists(&stack.name));
                }
                check_number(tx)?;
                let mut stack = stack;
                stack.reason = Some("User Initiated".into());
                stack_happened(tx, &mut stack);
                tx.put(stack);
            }
            tx.put(set);
            Ok(answer)
        })
        .await
}

fn change(planned: &Planned) -> Change {
    let kind = crate::kinds::find(&planned.type_name);
    let detail = |(name, is_later): &(String, bool)| {
        let is_replaced = kind.is_some_and(|kind| kind.is_replaced_by(name));
        Detail {
            target: Target {
                attribute: if name == "Tags" { "Tags" } else { "Properties" }.into(),
                name: (name != "Tags").then(|| name.clone()),
                requires_recreation: if is_replaced { "Always" } else { "Never" }.into(),
            },
            evaluation: if *is_later { "Dynamic" } else { "Static" }.into(),
            change_source: if *is_later {
                "ResourceAttribute"
            } else {
                "DirectModification"
            }
            .into(),
        }
    };
    let has_tags = planned.properties.iter().any(|(name, _)| name == "Tags");
    let has_others = planned.properties.iter().any(|(name, _)| name != "Tags");
    let scope = [(has_others, "Properties"), (has_tags, "Tags")];
    Change {
        kind: "Resource".into(),
        resource_change: ResourceChange {
            action: planned.action.clone(),
            logical_resource_id: planned.logical.clone(),
            physical_resource_id: planned.physical.clone(),
            resource_type: planned.type_name.clone(),
            replacement: planned.replacement.clone(),
            scope: scope
                .into_iter()
                .filter(|(has, _)| *has)
                .map(|(_, it)| it.to_owned())
                .collect(),
            details: planned.properties.iter().map(detail).collect(),
        },
    }
}

fn describe(
    _: &CloudFormation,
    view: &View,
    op: &DescribeChangeSet,
) -> Result<ChangeSetItem, ApiError> {
    let set = find(view, op.stack_name.as_deref(), &op.change_set_name)?;
    let stack = view
        .get::<Stack>(&set.stack)
        .ok_or_else(|| absent(&op.change_set_name))?;
    let page = paginate(
        set.changes.clone(),
        |it| it.logical.clone(),
        100,
        op.next_token.as_deref(),
    )
    .map_err(fault::token)?;
    Ok(ChangeSetItem {
        change_set_name: set.name.clone(),
        change_set_id: set.arn.clone(),
        stack_id: stack.arn.clone(),
        stack_name: stack.name.clone(),
        description: set.description.clone(),
        parameters: shown(&set.desired),
        creation_time: set.created,
        execution_status: set.execution.clone(),
        status: set.status.clone(),
        status_reason: set.reason.clone(),
        topics: Vec::new(),
        capabilities: set.desired.capabilities.clone(),
        tags: tags_shown(&set.desired.tags),
        changes: page.items.iter().map(change).collect(),
        next_token: page.next_token,
        include_nested_stacks: false,
    })
}

async fn execute(
    app: &CloudFormation,
    caller: &Caller,
    op: ExecuteChangeSet,
) -> Result<Executed, ApiError> {
    op.refuse()?;
    let view = app.view();
    let set = find(&view, op.stack_name.as_deref(), &op.change_set_name)?;
    let stack = view
        .get::<Stack>(&set.stack)
        .ok_or_else(|| absent(&op.change_set_name))?;
    let role = set.role.clone().or_else(|| stack.role.clone());
    let authority = authority(app, caller, role.as_deref())?;
    app.db()
        .write(|tx| {
            let mut set = find(tx.view(), op.stack_name.as_deref(), &op.change_set_name)?;
            let stack = tx
                .get::<Stack>(&set.stack)
                .ok_or_else(|| absent(&op.change_set_name))?;
            let mut stack = Stack::clone(&stack);
            if set.execution != "AVAILABLE" {
                let arn = &set.arn;
                let (what, status) = if set.status == "CREATE_COMPLETE" {
                    ("execution status", &set.execution)
                } else {
                    ("status", &set.status)
                };
                let text = format!(
                    "ChangeSet [{arn}] cannot be executed in its current {what} of [{status}]"
                );
                return Err(ApiError::new("InvalidChangeSetStatus", 400, text));
            }
            stack.role = role;
            stack.authority = authority;
            stack.token = op.client_request_token;
            stack.change_set = Some(set.arn.clone());
            if set.kind == "CREATE" {
                if stack.status != "REVIEW_IN_PROGRESS" {
                    return Err(exists(&stack.name));
                }
                stack.desired = set.desired.clone();
                begin_create(&mut stack, tx.now());
                stack.on_failure = set.on_failure;
            } else {
                check_updatable(&stack)?;
                begin_update(&mut stack, set.desired.clone(), tx.now());
                stack.on_failure = set.on_failure;
            }
            if op.disable_rollback == Some(true) {
                stack.on_failure = OnFailure::Nothing;
            }
            // The others describe what a stack was that is no more.
            for other in crate::stacks::change_sets(tx.view(), &stack.uuid) {
                if other != set.uuid {
                    tx.delete::<ChangeSet>(&other);
                }
            }
            set.execution = "EXECUTE_COMPLETE".into();
            tx.put(set);
            stack_happened(tx, &mut stack);
            tx.put(stack);
            Ok(Executed {})
        })
        .await
}

async fn delete(
    app: &CloudFormation,
    _: &Caller,
    op: DeleteChangeSet,
) -> Result<Deleted, ApiError> {
    app.db()
        .write(|tx| {
            // AWS says nothing of a change set that is not there, and refuses a stack that is not.
            match find(tx.view(), op.stack_name.as_deref(), &op.change_set_name) {
                Ok(set) => {
                    tx.delete::<ChangeSet>(&set.uuid);
                }
                Err(error) if error.code == "ChangeSetNotFound" => {}
                Err(error) => return Err(error),
            }
            Ok(Deleted {})
        })
        .await
}

fn list(
    _: &CloudFormation,
    view: &View,
    op: &ListChangeSets,
) -> Result<ChangeSetSummaries, ApiError> {
    let stack = fault::find(view, &op.stack_name)?;
    let all = view.by::<ChangeSet>("stack", &stack.uuid);
    let page =
        paginate(all, |it| it.uuid.clone(), 100, op.next_token.as_deref()).map_err(fault::token)?;
    let summary = |set: &std::sync::Arc<ChangeSet>| ChangeSetSummary {
        stack_id: stack.arn.clone(),
        stack_name: stack.name.clone(),
        change_set_id: set.arn.clone(),
        change_set_name: set.name.clone(),
        execution_status: set.execution.clone(),
        status: set.status.clone(),
        status_reason: set.reason.clone(),
        creation_time: set.created,
        description: set.description.clone(),
        include_nested_stacks: false,
    };
    Ok(ChangeSetSummaries {
        summaries: page.items.iter().map(summary).collect(),
        next_token: page.next_token,
    })
}
