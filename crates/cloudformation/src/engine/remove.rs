//! What is no longer wanted goes.

use std::time::Duration;

use lath_model::Timestamp;
use lath_wire::ApiError;

use super::{
    LONGEST_WAIT, Progress, TOO_LONG, called, commit, ctx, happened, is_forbidden, looked, record,
    resources, stack_happened, step, worded,
};
use crate::CloudFormation;
use crate::kinds::{self, Ctx, State, is_absent};
use crate::plan::Plan;
use crate::record::{Resource, Stack, Step};
use crate::template::Template;

/// How long something is tried again that others still use.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether a resource of a deleted stack is done with.
fn is_gone(stack: &Stack, it: &Resource) -> bool {
    it.generation == stack.generation
        && matches!(it.status.as_str(), "DELETE_COMPLETE" | "DELETE_SKIPPED")
}

fn has_failed(stack: &Stack, it: &Resource) -> bool {
    it.generation == stack.generation && it.status == "DELETE_FAILED"
}

/// Removes all resources.
pub(super) async fn remove(app: &CloudFormation, stack: &Stack) -> Result<Progress, ApiError> {
    let known = resources(app, &stack.uuid);
    let mut progress = Progress::None;
    for own in known.values() {
        if is_gone(stack, own) || has_failed(stack, own) {
            continue;
        }
        let is_needed = known.values().any(|it| {
            !is_gone(stack, it) && it.logical != own.logical && it.needs.contains(&own.logical)
        });
        if !is_needed {
            progress = remove_one(app, stack, own).await?.or(progress);
        }
    }
    if progress == Progress::Some {
        return Ok(progress);
    }
    let known = resources(app, &stack.uuid);
    if known.values().all(|it| is_gone(stack, it)) {
        return ended(app, stack).await;
    }
    let is_stuck = |it: &Resource| {
        let needed_by_failed = known.values().any(|other| {
            !is_gone(stack, other)
                && other.logical != it.logical
                && other.needs.contains(&it.logical)
        });
        is_gone(stack, it) || has_failed(stack, it) || needed_by_failed
    };
    if known.values().all(|it| is_stuck(it)) {
        let failed = known.values().filter(|it| has_failed(stack, it));
        let names: Vec<&str> = failed.map(|it| it.logical.as_str()).collect();
        let reason = format!(
            "The following resource(s) failed to delete: [{}]. ",
            names.join(", ")
        );
        return commit(app, stack, |tx, stack| {
            stack.status = match stack.status.as_str() {
                "ROLLBACK_IN_PROGRESS" => "ROLLBACK_FAILED",
                _ => "DELETE_FAILED",
            }
            .into();
            stack.reason = Some(reason);
            stack.work = None;
            stack_happened(tx, stack);
        })
        .await;
    }
    Ok(Progress::None)
}

async fn ended(app: &CloudFormation, stack: &Stack) -> Result<Progress, ApiError> {
    commit(app, stack, |tx, stack| {
        stack.reason = None;
        stack.work = None;
        if stack.status == "ROLLBACK_IN_PROGRESS" {
            stack.status = "ROLLBACK_COMPLETE".into();
        } else {
            stack.status = "DELETE_COMPLETE".into();
            stack.deleted = Some(app.cell.now());
        }
        stack.outputs = Vec::new();
        stack.imports = Vec::new();
        stack_happened(tx, stack);
    })
    .await
}

async fn remove_one(
    app: &CloudFormation,
    stack: &Stack,
    own: &Resource,
) -> Result<Progress, ApiError> {
    let mut own = own.clone();
    if own.generation != stack.generation {
        let is_retained = if stack.status == "ROLLBACK_IN_PROGRESS" {
            Template::read(&stack.desired.template)
                .ok()
                .and_then(|it| {
                    it.resources
                        .get(&own.logical)
                        .map(|it| it.retains_on_rollback)
                })
                .unwrap_or(false)
        } else {
            own.is_retained || stack.left.contains(&own.logical)
        };
        own.generation = stack.generation;
        own.at = app.cell.now();
        own.reason = None;
        if !own.is_made && own.step != Step::Making && own.former.is_empty() {
            own.status = "DELETE_COMPLETE".into();
            return commit(app, stack, |tx, _| {
                tx.put(own);
            })
            .await;
        }
        if is_retained {
            own.is_retained = true;
            own.status = "DELETE_SKIPPED".into();
            own.step = Step::Rest;
            return record(app, stack, own).await;
        }
        own.status = "DELETE_IN_PROGRESS".into();
        if own.step != Step::Making {
            own.step = Step::Removing;
        }
        return record(app, stack, own).await;
    }
    if own.former.iter().any(|it| !it.is_retained) {
        return former(app, stack, own).await;
    }
    let disposal = disposed(app, stack, &mut own).await?;
    match disposal.within(own.at, app.cell.now()) {
        Disposal::Done => {
            own.status = "DELETE_COMPLETE".into();
            own.step = Step::Rest;
            // Others may make something of the same name: it is not this stack's.
            own.is_made = false;
            own.former.clear();
            own.at = app.cell.now();
            record(app, stack, own).await
        }
        Disposal::Leaving => {
            let put = commit(app, stack, |tx, _| {
                tx.put(own);
            });
            put.await.map(|_| Progress::Some)
        }
        Disposal::Waiting => Ok(Progress::None),
        Disposal::Failed(reason) => {
            own.status = "DELETE_FAILED".into();
            own.reason = Some(reason);
            // What may have been made is searched for again by the next deletion.
            if own.step != Step::Making {
                own.step = Step::Rest;
            }
            own.at = app.cell.now();
            record(app, stack, own).await
        }
    }
}

enum Disposal {
    /// It is gone.
    Done,
    /// It was told to go just now.
    Leaving,
    Waiting,
    Failed(String),
}

impl Disposal {
    /// Nothing is waited for without end.
    fn within(self, since: Timestamp, now: Timestamp) -> Self {
        match self {
            Self::Waiting if now.since(since) >= LONGEST_WAIT => Self::Failed(TOO_LONG.into()),
            other => other,
        }
    }
}

/// Goes on with the removal of a resource.
async fn disposed(
    app: &CloudFormation,
    stack: &Stack,
    own: &mut Resource,
) -> Result<Disposal, ApiError> {
    let Some(kind) = kinds::find(&own.type_name) else {
        return Ok(Disposal::Done);
    };
    if !own.is_made && own.step != Step::Making {
        return Ok(Disposal::Done);
    }
    if own.step == Step::Making {
        let found = step::recovered(app, stack, kind, own).await;
        return match found {
            Ok(Some(id)) => {
                own.physical = id;
                own.is_made = true;
                own.step = Step::Removing;
                Ok(Disposal::Leaving)
            }
            Ok(None) => Ok(Disposal::Done),
            Err(error) if error.status >= 500 => Ok(Disposal::Waiting),
            Err(error) if is_forbidden(&error) => {
                Ok(Disposal::Failed(worded(&error, kind, &own.token)))
            }
            Err(_) => Ok(Disposal::Done),
        };
    }
    if own.step == Step::Removing {
        let begun = begin_removal(app, stack, kind, &ctx(stack, own)).await;
        return Ok(match begun {
            Ok(()) => {
                own.step = Step::Leaving;
                Disposal::Leaving
            }
            Err(error) => judged(&error, own.at, app.cell.now())
                .unwrap_or_else(|| Disposal::Failed(worded(&error, kind, &own.token))),
        });
    }
    gone(app, stack, kind, &ctx(stack, own)).await
}

/// An error of something that others still use is no failure for a while.
fn judged(error: &ApiError, since: Timestamp, now: Timestamp) -> Option<Disposal> {
    let code = error.code.as_ref();
    let is_passing = error.status >= 500
        || error.status == 409
        || [
            "InUse",
            "DependencyViolation",
            "Conflict",
            "IncorrectState",
            "HasAssociations",
        ]
        .iter()
        .any(|it| code.contains(it));
    (is_passing && now.since(since) < PATIENCE).then_some(Disposal::Waiting)
}

async fn begin_removal(
    app: &CloudFormation,
    stack: &Stack,
    kind: &kinds::Kind,
    ctx: &Ctx<'_>,
) -> Result<(), ApiError> {
    let looked = looked(app, stack, kind, ctx).await?;
    let ctx = Ctx {
        looked: &looked,
        ..*ctx
    };
    for call in (kind.remove)(&ctx) {
        match called(app, stack, &call).await {
            Ok(_) => {}
            Err(error) if is_absent(&error) || call.is_done_by(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn gone(
    app: &CloudFormation,
    stack: &Stack,
    kind: &kinds::Kind,
    ctx: &Ctx<'_>,
) -> Result<Disposal, ApiError> {
    let Some(read) = kind.read else {
        return Ok(Disposal::Done);
    };
    match called(app, stack, &read(ctx)).await {
        Ok(answer) => Ok(
            match answer.pointer(kind.item).map(|it| (kind.state)(ctx, it)) {
                None | Some(State::Gone) => Disposal::Done,
                Some(State::Failed(why)) => Disposal::Failed(why),
                Some(_) => Disposal::Waiting,
            },
        ),
        Err(error) if is_absent(&error) => Ok(Disposal::Done),
        Err(error) if error.status >= 500 => Ok(Disposal::Waiting),
        Err(error) => Ok(Disposal::Failed(worded(&error, kind, ctx.token))),
    }
}

/// Goes on with the removal of what an update replaced. What cannot be removed is left, as CloudFormation leaves it.
async fn former(
    app: &CloudFormation,
    stack: &Stack,
    mut own: Resource,
) -> Result<Progress, ApiError> {
    let Some(at) = own.former.iter().position(|it| !it.is_retained) else {
        return Ok(Progress::None);
    };
    let it = own.former[at].clone();
    let Some(kind) = kinds::find(&it.type_name) else {
        own.former.remove(at);
        return commit(app, stack, |tx, _| {
            tx.put(own);
        })
        .await;
    };
    let view = Ctx {
        properties: kinds::object(&it.properties),
        old: None,
        id: &it.physical,
        attributes: &it.attributes,
        ..ctx(stack, &own)
    };
    let disposal = if it.since.is_some() {
        gone(app, stack, kind, &view).await?
    } else {
        match begin_removal(app, stack, kind, &view).await {
            Ok(()) => Disposal::Leaving,
            Err(error) => judged(&error, stack.began, app.cell.now())
                .unwrap_or_else(|| Disposal::Failed(worded(&error, kind, &own.token))),
        }
    };
    let (status, reason) = match disposal.within(it.since.unwrap_or(stack.began), app.cell.now()) {
        Disposal::Waiting => return Ok(Progress::None),
        Disposal::Leaving => {
            own.former[at].since = Some(app.cell.now());
            ("DELETE_IN_PROGRESS", None)
        }
        Disposal::Done => {
            own.former.remove(at);
            ("DELETE_COMPLETE", None)
        }
        Disposal::Failed(reason) => {
            own.former.remove(at);
            ("DELETE_FAILED", Some(reason))
        }
    };
    commit(app, stack, |tx, stack| {
        let shown = Resource {
            physical: it.physical,
            type_name: it.type_name,
            properties: it.properties,
            status: status.into(),
            reason,
            ..own.clone()
        };
        happened(tx, stack, &shown);
        tx.put(own);
    })
    .await
}

/// Removes what a finished update, or one that was undone, does not want.
pub(super) async fn clean(app: &CloudFormation, stack: &Stack) -> Result<Progress, ApiError> {
    let plan = Plan::of(app, stack, &stack.desired);
    // What is wanted is not known without a plan: nothing is removed then.
    let wants = |name: &str| plan.as_ref().map_or(true, |plan| plan.wants(name));
    let known = resources(app, &stack.uuid);
    let is_left = |it: &Resource| !wants(&it.logical) || it.former.iter().any(|it| !it.is_retained);
    let mut progress = Progress::None;
    let mut left = 0;
    for own in known.values().filter(|it| is_left(it)) {
        left += 1;
        let mut others = known
            .values()
            .filter(|it| is_left(it) && it.logical != own.logical);
        if others.any(|it| it.needs.contains(&own.logical)) {
            continue;
        }
        let own = Resource::clone(own);
        if own.former.iter().any(|it| !it.is_retained) {
            progress = former(app, stack, own).await?.or(progress);
        } else {
            progress = unwanted(app, stack, own).await?.or(progress);
        }
    }
    if left > 0 || progress == Progress::Some {
        return Ok(progress);
    }
    commit(app, stack, |tx, stack| {
        stack.status = match stack.status.as_str() {
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => "UPDATE_COMPLETE",
            _ => "UPDATE_ROLLBACK_COMPLETE",
        }
        .into();
        stack.work = None;
        stack.previous = None;
        stack_happened(tx, stack);
    })
    .await
}

async fn unwanted(
    app: &CloudFormation,
    stack: &Stack,
    mut own: Resource,
) -> Result<Progress, ApiError> {
    let forget = |status: &'static str, reason: Option<String>, mut own: Resource| async move {
        commit(app, stack, |tx, stack| {
            own.status = status.into();
            own.reason = reason;
            happened(tx, stack, &own);
            tx.delete::<Resource>(&Resource::key(&own.stack, &own.logical));
        })
        .await
    };
    if !own.is_made && own.step != Step::Making {
        return commit(app, stack, |tx, _| {
            tx.delete::<Resource>(&Resource::key(&own.stack, &own.logical));
        })
        .await;
    }
    if own.is_retained && stack.status == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" {
        return forget("DELETE_SKIPPED", None, own).await;
    }
    if own.status != "DELETE_IN_PROGRESS" {
        own.status = "DELETE_IN_PROGRESS".into();
        own.reason = None;
        own.at = app.cell.now();
        if own.step != Step::Making {
            own.step = Step::Removing;
        }
        return record(app, stack, own).await;
    }
    let disposal = disposed(app, stack, &mut own).await?;
    match disposal.within(own.at, app.cell.now()) {
        Disposal::Done => forget("DELETE_COMPLETE", None, own).await,
        Disposal::Leaving => {
            commit(app, stack, |tx, _| {
                tx.put(own);
            })
            .await
        }
        Disposal::Waiting => Ok(Progress::None),
        Disposal::Failed(reason) => forget("DELETE_FAILED", Some(reason), own).await,
    }
}
