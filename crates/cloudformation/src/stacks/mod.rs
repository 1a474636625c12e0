//! Stacks: made, changed, deleted.

mod messages;

use lath_iam::resource_types::ROLE;
use lath_model::Timestamp;
use lath_service::{App as _, Refuses, Stateful as _, operations};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};
use uuid::Uuid;

pub(crate) use self::messages::OneStack;
use self::messages::*;
use crate::engine::{roll_back, stack_happened};
use crate::hands::Authority;
use crate::plan::Plan;
use crate::record::{ChangeSet, Desired, Event, OnFailure, Resource, Stack, Work};
use crate::resource_types::STACK;
use crate::shape::{ParameterInput, RollbackConfiguration, Tag, given, on_failure, pairs, tags};
use crate::template::{LONGEST, Template, cut};
use crate::{CloudFormation, fault, parameters};

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
const MOST_STACKS: usize = 2000;

/// The key of the role that CloudFormation acts with.
const ROLE_ARN: &str = "cloudformation:RoleArn";
const TEMPLATE_URL: &str = "cloudformation:TemplateUrl";
const RESOURCE_TYPES: &str = "cloudformation:ResourceTypes";
const POLICY_URL: &str = "cloudformation:StackPolicyUrl";

operations! {
    for CloudFormation as "cloudformation";
    asynchronous CreateStack -> OneStack = create => on(&STACK, |op, _| op.stack_name.clone())
        .tagged(|op, _| pairs(&op.tags))
        .with(ROLE_ARN, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with(TEMPLATE_URL, |op, _| op.template_url.clone())
        .with(RESOURCE_TYPES, |op, _| op.resource_types.clone())
        .with(POLICY_URL, |op, _| op.stack_policy_url.clone())
        .also("iam:PassRole", &ROLE, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with("iam:PassedToService", |_, _| crate::PRINCIPAL)
        => refusing ["" CreateStack, "RollbackConfiguration." RollbackConfiguration];
    asynchronous UpdateStack -> OneStack = update => on(&STACK, |op, _| op.stack_name.clone())
        .tagged(|op, _| pairs(op.tags.as_deref().unwrap_or_default()))
        .with(ROLE_ARN, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with(TEMPLATE_URL, |op, _| op.template_url.clone())
        .with(RESOURCE_TYPES, |op, _| op.resource_types.clone())
        .with(POLICY_URL, |op, _| op.stack_policy_url.clone())
        .also("iam:PassRole", &ROLE, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with("iam:PassedToService", |_, _| crate::PRINCIPAL)
        => refusing ["" UpdateStack, "RollbackConfiguration." RollbackConfiguration];
    asynchronous DeleteStack -> () = delete => on(&STACK, |op, _| op.stack_name.clone())
        .with(ROLE_ARN, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .also("iam:PassRole", &ROLE, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with("iam:PassedToService", |_, _| crate::PRINCIPAL)
        => refusing ["" DeleteStack];
    asynchronous CancelUpdateStack -> () = cancel => on(&STACK, |op, _| op.stack_name.clone());
    asynchronous ContinueUpdateRollback -> Continued = go_on => on(&STACK, |op, _| op.stack_name.clone())
        .with(ROLE_ARN, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .also("iam:PassRole", &ROLE, |op, at| op.role.as_deref().map(|it| at.settled(it)))
        .with("iam:PassedToService", |_, _| crate::PRINCIPAL)
        => refusing ["" ContinueUpdateRollback];
    change UpdateTerminationProtection -> OneStack = protect => on(&STACK, |op, _| op.stack_name.clone());
}

/// A body of a request: at most 51,200 bytes.
pub(crate) fn body(body: Option<&str>) -> Result<&str, ApiError> {
    let body = body.ok_or_else(|| {
        fault::validation("Either Template URL or Template Body must be specified.")
    })?;
    if body.len() > LONGEST {
        return Err(fault::validation(format!(
            "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to {LONGEST}"
        )));
    }
    Ok(body)
}

/// The name of a stack or change set: a letter, then letters, digits and hyphens, at most 128.
pub(crate) fn check_name(member: &str, name: &str) -> Result<(), ApiError> {
    let fits = (1..=128).contains(&name.len())
        && name.starts_with(|it: char| it.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'-');
    if fits {
        return Ok(());
    }
    let name: String = name.chars().take(128).collect();
    Err(fault::validation(format!(
        "1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
    )))
}

/// Whether the request acknowledges what the template needs.
pub(crate) fn check_capabilities(template: &Template, given: &[String]) -> Result<(), ApiError> {
    const KNOWN: [&str; 3] = [
        "CAPABILITY_IAM",
        "CAPABILITY_NAMED_IAM",
        "CAPABILITY_AUTO_EXPAND",
    ];
    if let Some(other) = given.iter().find(|it| !KNOWN.contains(&it.as_str())) {
        let other = cut(other);
        return Err(fault::validation(format!(
            "1 validation error detected: Value '[{other}]' at 'capabilities' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [CAPABILITY_NAMED_IAM, CAPABILITY_IAM, CAPABILITY_AUTO_EXPAND]]"
        )));
    }
    let has = |it: &str| given.iter().any(|given| given == it);
    match template.capabilities() {
        Some((needed, _)) if !has("CAPABILITY_NAMED_IAM") && !has(needed) => {
            let text = format!("Requires capabilities : [{needed}]");
            Err(
                ApiError::new("InsufficientCapabilitiesException", 400, text)
                    .with_query_code("InsufficientCapabilitiesException"),
            )
        }
        _ => Ok(()),
    }
}

/// The authority of a request: the role that it names, else the one that the stack has, else its caller.
pub(crate) fn authority(
    app: &CloudFormation,
    caller: &Caller,
    role: Option<&str>,
) -> Result<Authority, ApiError> {
    match role {
        Some(arn) => {
            app.hands.check_role(arn)?;
            Ok(Authority::Role {
                arn: arn.to_owned(),
            })
        }
        None => Ok(app.hands.authority(caller)),
    }
}

/// A stack that is nothing yet.
pub(crate) fn blank(app: &CloudFormation, name: &str, authority: Authority) -> Stack {
    let uuid = Uuid::new_v4().to_string();
    let arn = app
        .cell
        .arn("cloudformation", format!("stack/{name}/{uuid}"));
    let now = app.cell.now();
    Stack {
        uuid,
        name: name.to_owned(),
        arn,
        created: now,
        updated: None,
        deleted: None,
        status: "REVIEW_IN_PROGRESS".into(),
        reason: None,
        desired: Desired::default(),
        previous: None,
        outputs: Vec::new(),
        imports: Vec::new(),
        role: None,
        authority,
        on_failure: OnFailure::Rollback,
        timeout_minutes: None,
        is_protected: false,
        token: None,
        work: None,
        began: now,
        generation: 1,
        left: Vec::new(),
        events: 0,
        change_set: None,
    }
}

/// Checks all that can be known of a template with these parameters before anything is made.
pub(crate) fn check(
    app: &CloudFormation,
    stack: &Stack,
    desired: &Desired,
) -> Result<(), ApiError> {
    let plan = Plan::of(app, stack, desired).map_err(fault::validation)?;
    check_capabilities(&plan.template, &desired.capabilities)
}

/// Begins the creation of a stack.
pub(crate) fn begin_create(stack: &mut Stack, now: Timestamp) {
    stack.status = "CREATE_IN_PROGRESS".into();
    stack.reason = Some("User Initiated".into());
    stack.began = now;
    stack.work = Some(Work::Apply);
    stack.generation += 1;
}

/// Begins an update.
pub(crate) fn begin_update(stack: &mut Stack, desired: Desired, now: Timestamp) {
    let before = std::mem::replace(&mut stack.desired, desired);
    // After an update that failed and stays as it is, what worked before is still what to go back to.
    if stack.status != "UPDATE_FAILED" || stack.previous.is_none() {
        stack.previous = Some(before);
    }
    stack.status = "UPDATE_IN_PROGRESS".into();
    stack.reason = Some("User Initiated".into());
    stack.updated = Some(now);
    stack.began = now;
    stack.work = Some(Work::Apply);
    stack.generation += 1;
}

/// Whether a stack's state lets it be updated.
pub(crate) fn check_updatable(stack: &Stack) -> Result<(), ApiError> {
    let states = [
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "UPDATE_FAILED",
        "CREATE_FAILED",
    ];
    if states.contains(&stack.status.as_str()) {
        return Ok(());
    }
    let (arn, status) = (&stack.arn, &stack.status);
    Err(fault::validation(format!(
        "Stack:{arn} is in {status} state and can not be updated."
    )))
}

async fn create(
    app: &CloudFormation,
    caller: &Caller,
    op: CreateStack,
) -> Result<OneStack, ApiError> {
    check_name("stackName", &op.stack_name)?;
    op.refuse()?;
    let body = body(op.template_body.as_deref())?;
    let on_failure = on_failure(op.disable_rollback, op.on_failure.as_deref())?;
    let view = app.view();
    if let Some(stack) = fault::lookup(&view, &op.stack_name) {
        return again(&stack, op.client_request_token.as_deref());
    }
    let template = Template::read(body).map_err(fault::validation)?;
    let settled =
        parameters::settle(&template, &given(&op.parameters), &[]).map_err(fault::validation)?;
    let mut stack = blank(
        app,
        &op.stack_name,
        authority(app, caller, op.role.as_deref())?,
    );
    stack.desired = Desired {
        template: body.to_owned(),
        parameters: settled.kept,
        tags: tags(&op.tags)?,
        capabilities: op.capabilities,
        topics: Vec::new(),
    };
    check(app, &stack, &stack.desired)?;
    stack.role = op.role;
    stack.on_failure = on_failure;
    stack.timeout_minutes = op.timeout_in_minutes;
    stack.is_protected = op.enable_termination_protection == Some(true);
    stack.token = op.client_request_token;
    app.db()
        .write(|tx| {
            if let Some(other) = fault::lookup(tx.view(), &stack.name) {
                return again(&other, stack.token.as_deref());
            }
            check_number(tx)?;
            let stack_id = stack.arn.clone();
            begin_create(&mut stack, tx.now());
            stack_happened(tx, &mut stack);
            tx.put(stack);
            Ok(OneStack { stack_id })
        })
        .await
}

pub(crate) fn check_number(tx: &Tx) -> Result<(), ApiError> {
    if tx.list::<Stack>().filter(|it| it.deleted.is_none()).count() >= MOST_STACKS {
        let text = format!("Limit for stack has been exceeded: {MOST_STACKS}");
        return Err(ApiError::new("LimitExceededException", 400, text));
    }
    Ok(())
}

/// A create of a stack that is there: the same request again is answered as it was.
fn again(stack: &Stack, token: Option<&str>) -> Result<OneStack, ApiError> {
    if token.is_some() && stack.token.as_deref() == token && stack.generation == 2 {
        return Ok(OneStack {
            stack_id: stack.arn.clone(),
        });
    }
    Err(exists(&stack.name))
}

pub(crate) fn exists(name: &str) -> ApiError {
    ApiError::new(
        "AlreadyExistsException",
        400,
        format!("Stack [{name}] already exists"),
    )
}

/// What an update or a change set asks for, beside what the stack is.
pub(crate) struct Asked<'a> {
    pub(crate) body: Option<&'a str>,
    pub(crate) uses_previous: bool,
    pub(crate) parameters: &'a [ParameterInput],
    pub(crate) tags: Option<&'a [Tag]>,
    pub(crate) capabilities: &'a [String],
}

impl Asked<'_> {
    pub(crate) fn desired(&self, before: &Desired) -> Result<Desired, ApiError> {
        let text = if self.uses_previous {
            if self.body.is_some() {
                return Err(fault::validation(
                    "You cannot specify both usePreviousTemplate and Template Body.",
                ));
            }
            before.template.as_str()
        } else {
            body(self.body)?
        };
        let template = Template::read(text).map_err(fault::validation)?;
        let settled = parameters::settle(&template, &given(self.parameters), &before.parameters);
        Ok(Desired {
            template: text.to_owned(),
            parameters: settled.map_err(fault::validation)?.kept,
            tags: match self.tags {
                Some(given) => tags(given)?,
                None => before.tags.clone(),
            },
            capabilities: self.capabilities.to_vec(),
            topics: Vec::new(),
        })
    }
}

async fn update(
    app: &CloudFormation,
    caller: &Caller,
    op: UpdateStack,
) -> Result<OneStack, ApiError> {
    op.refuse()?;
    let view = app.view();
    let stack = fault::find(&view, &op.stack_name)?;
    if op.client_request_token.is_some()
        && stack.token == op.client_request_token
        && stack.updated.is_some()
    {
        return Ok(OneStack {
            stack_id: stack.arn.clone(),
        });
    }
    check_updatable(&stack)?;
    let asked = Asked {
        body: op.template_body.as_deref(),
        uses_previous: op.use_previous_template == Some(true),
        parameters: &op.parameters,
        tags: op.tags.as_deref(),
        capabilities: &op.capabilities,
    };
    let desired = asked.desired(&stack.desired)?;
    check(app, &stack, &desired)?;
    let role = op.role.or_else(|| stack.role.clone());
    let authority = authority(app, caller, role.as_deref())?;
    if !crate::change_sets::differs(app, &stack, &desired)? {
        return Err(fault::validation("No updates are to be performed."));
    }
    app.db()
        .write(|tx| {
            let mut stack = Stack::clone(&*fault::find(tx.view(), &op.stack_name)?);
            check_updatable(&stack)?;
            stack.role = role;
            stack.authority = authority;
            stack.token = op.client_request_token;
            stack.on_failure = if op.disable_rollback == Some(true) {
                OnFailure::Nothing
            } else {
                OnFailure::Rollback
            };
            begin_update(&mut stack, desired, tx.now());
            // They describe what an update of another stack would do.
            let others: Vec<_> = tx.view().by::<ChangeSet>("stack", &stack.uuid).collect();
            for other in others.iter().filter(|it| it.execution == "AVAILABLE") {
                let mut other = ChangeSet::clone(other);
                other.execution = "OBSOLETE".into();
                tx.put(other);
            }
            let stack_id = stack.arn.clone();
            stack_happened(tx, &mut stack);
            tx.put(stack);
            Ok(OneStack { stack_id })
        })
        .await
}

async fn delete(app: &CloudFormation, caller: &Caller, op: DeleteStack) -> Result<(), ApiError> {
    op.refuse()?;
    let view = app.view();
    // AWS says nothing of a stack that is not there.
    let Some(stack) = fault::lookup(&view, &op.stack_name) else {
        return Ok(());
    };
    let role = op.role.or_else(|| stack.role.clone());
    let authority = authority(app, caller, role.as_deref())?;
    app.db()
        .write(|tx| {
            let Some(stack) = fault::lookup(tx.view(), &op.stack_name) else {
                return Ok(());
            };
            let mut stack = Stack::clone(&stack);
            if stack.deleted.is_some() || stack.status == "DELETE_IN_PROGRESS" {
                return Ok(());
            }
            if stack.is_protected {
                let name = &stack.name;
                return Err(fault::validation(format!(
                    "Stack [{name}] cannot be deleted while TerminationProtection is enabled"
                )));
            }
            let is_changing = stack.work.is_some() && !stack.status.starts_with("CREATE") && !stack.status.starts_with("ROLLBACK");
            if is_changing {
                let (arn, status) = (&stack.arn, &stack.status);
                return Err(fault::validation(format!("Stack [{arn}] cannot be deleted while in status {status}")));
            }
            if !op.retain_resources.is_empty() && stack.status != "DELETE_FAILED" {
                return Err(fault::validation(
                    "RetainResources can only be specified when the stack is in the DELETE_FAILED state.",
                ));
            }
            crate::exports::check(tx.view(), &stack, &[]).map_err(fault::validation)?;
            for set in change_sets(tx.view(), &stack.uuid) {
                tx.delete::<ChangeSet>(&set);
            }
            stack.role = role;
            stack.authority = authority;
            stack.token = op.client_request_token;
            stack.left = op.retain_resources;
            stack.status = "DELETE_IN_PROGRESS".into();
            stack.reason = Some("User Initiated".into());
            stack.began = tx.now();
            stack.work = Some(Work::Remove);
            stack.generation += 1;
            stack_happened(tx, &mut stack);
            tx.put(stack);
            forget_old(tx);
            Ok(())
        })
        .await
}

pub(crate) fn change_sets(view: &View, stack: &str) -> Vec<String> {
    view.by::<ChangeSet>("stack", stack)
        .map(|it| it.uuid.clone())
        .collect()
}

/// Deleted stacks are shown for 90 days, as in AWS.
fn forget_old(tx: &mut Tx) {
    const SHOWN: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 3600);
    let now = tx.now();
    let old: Vec<String> = tx
        .list::<Stack>()
        .filter(|it| it.deleted.is_some_and(|at| now.since(at) > SHOWN))
        .map(|it| it.uuid.clone())
        .take(20)
        .collect();
    for uuid in old {
        let prefix = format!("{uuid}/");
        let resources: Vec<String> = tx
            .view()
            .range::<Resource>(&prefix)
            .map(|it| Resource::key(&uuid, &it.logical))
            .collect();
        let events: Vec<u64> = tx
            .view()
            .range::<Event>(&prefix)
            .map(|it| it.number)
            .collect();
        resources.iter().for_each(|it| {
            tx.delete::<Resource>(it);
        });
        events.iter().for_each(|it| {
            tx.delete::<Event>(&Event::key(&uuid, *it));
        });
        tx.delete::<Stack>(&uuid);
    }
}

async fn cancel(app: &CloudFormation, _: &Caller, op: CancelUpdateStack) -> Result<(), ApiError> {
    app.db()
        .write(|tx| {
            let mut stack = Stack::clone(&*fault::find(tx.view(), &op.stack_name)?);
            if stack.status != "UPDATE_IN_PROGRESS" {
                return Err(fault::validation(
                    "CancelUpdateStack cannot be called from current stack status",
                ));
            }
            if op.client_request_token.is_some() {
                stack.token = op.client_request_token;
            }
            stack.reason = Some("User Initiated".into());
            roll_back(&mut stack, tx.now());
            stack_happened(tx, &mut stack);
            tx.put(stack);
            Ok(())
        })
        .await
}

async fn go_on(
    app: &CloudFormation,
    caller: &Caller,
    op: ContinueUpdateRollback,
) -> Result<Continued, ApiError> {
    op.refuse()?;
    let role = op
        .role
        .or_else(|| fault::lookup(&app.view(), &op.stack_name)?.role.clone());
    let authority = authority(app, caller, role.as_deref())?;
    app.db()
        .write(|tx| {
            let mut stack = Stack::clone(&*fault::find(tx.view(), &op.stack_name)?);
            if stack.status != "UPDATE_ROLLBACK_FAILED" {
                let (arn, status) = (&stack.arn, &stack.status);
                return Err(fault::validation(format!(
                    "Stack:{arn} is in {status} state and can not continue rolling back."
                )));
            }
            stack.role = role;
            stack.authority = authority;
            stack.token = op.client_request_token;
            stack.status = "UPDATE_ROLLBACK_IN_PROGRESS".into();
            stack.reason = Some("User Initiated".into());
            stack.began = tx.now();
            stack.work = Some(Work::Apply);
            stack.generation += 1;
            stack_happened(tx, &mut stack);
            tx.put(stack);
            Ok(Continued {})
        })
        .await
}

fn protect(
    _: &CloudFormation,
    tx: &mut Tx,
    op: UpdateTerminationProtection,
) -> Result<OneStack, ApiError> {
    let mut stack = Stack::clone(&*fault::find(tx.view(), &op.stack_name)?);
    if stack.deleted.is_some() {
        return Err(fault::absent(&op.stack_name));
    }
    stack.is_protected = op.enable_termination_protection;
    let stack_id = stack.arn.clone();
    tx.put(stack);
    Ok(OneStack { stack_id })
}
