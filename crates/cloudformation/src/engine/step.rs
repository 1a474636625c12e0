//! One resource: made, completed, ready.

use lath_service::Stateful as _;
use lath_wire::ApiError;
use serde_json::Value;
use std::time::Duration;

use super::{
    LONGEST_WAIT, Progress, TOO_LONG, called, ctx, happened, is_forbidden, looked, record, worded,
};
use crate::CloudFormation;
use crate::kinds::{self, Ctx, Kind, State, is_absent};
use crate::record::{Resource, Stack, Step};

/// How long a call that fails for reasons of the service's is repeated.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an update waits for another one of the same resource.
const TURN: Duration = Duration::from_secs(1800);

/// Goes on with a resource that is between two states.
pub(super) async fn step(
    app: &CloudFormation,
    stack: &Stack,
    resource: &Resource,
) -> Result<Progress, ApiError> {
    let Some(kind) = kinds::find(&resource.type_name) else {
        return fail(
            app,
            stack,
            resource.clone(),
            "The type is not known any more".into(),
        )
        .await;
    };
    match resource.step {
        Step::Making => make(app, stack, kind, resource.clone(), true).await,
        Step::Completing => complete(app, stack, kind, resource.clone()).await,
        Step::Settling => settle(app, stack, kind, resource.clone()).await,
        Step::Rest | Step::Removing | Step::Leaving => Ok(Progress::None),
    }
}

/// The id of a resource that was about to be made: it is searched for, or made by the same call again.
pub(super) async fn resumed(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    resource: &Resource,
) -> Result<Option<String>, ApiError> {
    let ctx = ctx(stack, resource);
    let Some(find) = kind.find else {
        return Ok(None);
    };
    match called(app, stack, &find(&ctx)).await {
        Ok(answer) => Ok((kind.found)(&ctx, &answer)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The id of a resource that was about to be made and is no longer wanted as it was. Where nothing finds it, the same call
/// tells: by its token it makes nothing twice.
pub(super) async fn recovered(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    resource: &Resource,
) -> Result<Option<String>, ApiError> {
    if kind.find.is_some() {
        return resumed(app, stack, kind, resource).await;
    }
    let ctx = ctx(stack, resource);
    let call = (kind.make)(&ctx);
    match called(app, stack, &call).await {
        Ok(answer) => Ok(Some((kind.id)(&ctx, &answer))),
        Err(error) if call.is_done_by(&error) => Ok(Some((kind.id)(&ctx, &Value::Null))),
        Err(error) => Err(error),
    }
}

/// Makes it; its id.
async fn made_now(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    resource: &Resource,
    is_again: bool,
) -> Result<String, ApiError> {
    let ctx = ctx(stack, resource);
    let looked = looked(app, stack, kind, &ctx).await?;
    let ctx = Ctx {
        looked: &looked,
        ..ctx
    };
    let call = (kind.make)(&ctx);
    match called(app, stack, &call).await {
        Ok(answer) => Ok((kind.id)(&ctx, &answer)),
        Err(error) if is_again && call.is_done_by(&error) => Ok((kind.id)(&ctx, &Value::Null)),
        Err(error) => Err(error),
    }
}

/// Makes it, unless it was made before a restart.
pub(super) async fn make(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    mut resource: Resource,
    is_again: bool,
) -> Result<Progress, ApiError> {
    let found = if is_again {
        resumed(app, stack, kind, &resource).await
    } else {
        Ok(None)
    };
    let made = match found {
        Ok(Some(id)) => Ok(id),
        Ok(None) => made_now(app, stack, kind, &resource, is_again).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(id) => {
            resource.physical = id;
            resource.is_made = true;
            resource.step = Step::Completing;
            resource.at = app.cell.now();
            resource.reason = Some("Resource creation Initiated".into());
            // Whatever was decided about the stack meanwhile: what was made is known.
            let made = resource.clone();
            let write = app.db().write(|tx| {
                if let Some(known) = tx.get::<Stack>(&stack.uuid) {
                    let mut known = Stack::clone(&known);
                    happened(tx, &mut known, &made);
                    tx.put(known);
                    tx.put(made);
                }
                Ok::<_, ApiError>(())
            });
            write.await?;
            complete(app, stack, kind, resource).await
        }
        // Whether it was made before the restart is still not known: what undoes this asks again.
        Err(error) if is_again && is_forbidden(&error) => {
            let reason = worded(&error, kind, &resource.token);
            failed_at(app, stack, resource, reason, Step::Making).await
        }
        Err(error) => refused(app, stack, kind, resource, &error).await,
    }
}

/// Calls what completes it.
pub(super) async fn complete(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    mut resource: Resource,
) -> Result<Progress, ApiError> {
    let calls = (kind.complete)(&ctx(stack, &resource));
    for call in &calls {
        match called(app, stack, call).await {
            Ok(_) => {}
            Err(error) if call.is_done_by(&error) => {}
            Err(error) => return refused(app, stack, kind, resource, &error).await,
        }
    }
    resource.step = Step::Settling;
    settle(app, stack, kind, resource).await
}

/// Looks whether it is ready. Where it is not yet, that is recorded once.
async fn settle(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    mut resource: Resource,
) -> Result<Progress, ApiError> {
    if let Some(read) = kind.read {
        let ctx = ctx(stack, &resource);
        let item = match called(app, stack, &read(&ctx)).await {
            Ok(answer) => answer.pointer(kind.item).cloned(),
            Err(error) if is_absent(&error) => None,
            Err(error) => return refused(app, stack, kind, resource, &error).await,
        };
        let Some(item) = item else {
            return fail(app, stack, resource, "The resource is gone".into()).await;
        };
        match (kind.state)(&ctx, &item) {
            State::Ready => resource.attributes = kind.attributes(&item),
            State::Pending => return waiting(app, stack, resource).await,
            State::Gone => return fail(app, stack, resource, "The resource is gone".into()).await,
            State::Failed(why) => {
                let token = &resource.token;
                let reason = format!(
                    "Resource handler returned message: \"{why}\" (RequestToken: {token}, HandlerErrorCode: NotStabilized)"
                );
                return fail(app, stack, resource, reason).await;
            }
        }
    }
    resource.step = Step::Rest;
    resource.old = None;
    resource.reason = None;
    resource.at = app.cell.now();
    resource.status = format!("{}_COMPLETE", verb(&resource));
    record(app, stack, resource).await
}

async fn waiting(
    app: &CloudFormation,
    stack: &Stack,
    resource: Resource,
) -> Result<Progress, ApiError> {
    if app.cell.now().since(resource.at) >= LONGEST_WAIT {
        return fail(app, stack, resource, TOO_LONG.into()).await;
    }
    let write = app.db().write(|tx| {
        let known = tx.get::<Resource>(&Resource::key(&resource.stack, &resource.logical));
        let is_new = known
            .is_some_and(|it| it.generation == resource.generation && it.step != Step::Settling);
        let of_now = tx
            .get::<Stack>(&stack.uuid)
            .is_some_and(|it| it.generation == stack.generation);
        if is_new && of_now {
            tx.put(resource);
        }
        Ok::<_, ApiError>(())
    });
    write.await.map(|()| Progress::None)
}

fn verb(resource: &Resource) -> &'static str {
    if resource.status.starts_with("UPDATE") {
        "UPDATE"
    } else {
        "CREATE"
    }
}

/// A call was refused: for a reason of the service's it is repeated later, else that is the end of it.
async fn refused(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    resource: Resource,
    error: &ApiError,
) -> Result<Progress, ApiError> {
    let waited = app.cell.now().since(resource.at);
    let is_busy = error.code == "ResourceInUseException" && resource.old.is_some();
    if error.status >= 500 && waited < PATIENCE || is_busy && waited < TURN {
        return Ok(Progress::None);
    }
    let reason = worded(error, kind, &resource.token);
    fail(app, stack, resource, reason).await
}

pub(super) async fn fail(
    app: &CloudFormation,
    stack: &Stack,
    resource: Resource,
    reason: String,
) -> Result<Progress, ApiError> {
    failed_at(app, stack, resource, reason, Step::Rest).await
}

async fn failed_at(
    app: &CloudFormation,
    stack: &Stack,
    mut resource: Resource,
    reason: String,
    step: Step,
) -> Result<Progress, ApiError> {
    resource.status = format!("{}_FAILED", verb(&resource));
    resource.reason = Some(reason);
    resource.step = step;
    resource.at = app.cell.now();
    record(app, stack, resource).await
}
