//! What makes stacks be what they should be. It takes no input: it compares what stacks are to be with what their records
//! say was made, does one step after another in the name of who asked for it, and may be ended at any moment.
//!
//! Before a call that makes something, the record says so with the name and the token of the call. After a restart the
//! same call, or a search for what bears the stack's tags, tells whether it was made.

mod apply;
mod remove;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_model::Timestamp;
use lath_service::{App as _, Stateful as _};
use lath_store::Tx;
use lath_wire::ApiError;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use self::apply::roll_back;

use crate::CloudFormation;
use crate::kinds::{self, Call, Ctx, Kind};
use crate::record::{Event, Resource, Stack, Work};

/// Most events that are kept of a stack.
const MOST_EVENTS: u64 = 2000;
/// The longest properties of an event, in characters.
const LONGEST_SHOWN: usize = 4096;
/// How long something may take to become ready or to go.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// What is said of what took longer.
const TOO_LONG: &str = "Exceeded attempts to wait";

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something changed: there may be more to do.
    Some,
    /// Something else has to happen first.
    None,
}

impl Progress {
    fn or(self, other: Self) -> Self {
        if self == Self::Some { self } else { other }
    }
}

/// One pass over all stacks that are being worked on.
pub(crate) async fn pass(app: &CloudFormation) -> Result<(), ApiError> {
    loop {
        let busy: Vec<Arc<Stack>> = app.view().by::<Stack>("busy", "").collect();
        let mut progress = Progress::None;
        for stack in busy {
            // What is wrong with one stack keeps no other from going on.
            match advance(app, &stack).await {
                Ok(done) => progress = done.or(progress),
                Err(error) => {
                    tracing::error!(stack = stack.name.as_str(), %error, cause = ?error.cause, "a stack could not go on; it will be tried again");
                }
            }
        }
        if progress == Progress::None {
            return Ok(());
        }
    }
}

async fn advance(app: &CloudFormation, stack: &Stack) -> Result<Progress, ApiError> {
    match stack.work {
        Some(Work::Apply) => apply::apply(app, stack).await,
        Some(Work::Clean) => remove::clean(app, stack).await,
        Some(Work::Remove) => remove::remove(app, stack).await,
        None => Ok(Progress::None),
    }
}

/// The resources of a stack by their logical ids.
pub(crate) fn resources(app: &CloudFormation, uuid: &str) -> BTreeMap<String, Arc<Resource>> {
    let view = app.view();
    let prefix = format!("{uuid}/");
    let all = view.range::<Resource>(&prefix);
    all.map(|it| (it.logical.clone(), it)).collect()
}

/// Changes a stack in one transaction, unless another piece of work has begun meanwhile.
async fn commit(
    app: &CloudFormation,
    stack: &Stack,
    f: impl FnOnce(&mut Tx, &mut Stack) + Send,
) -> Result<Progress, ApiError> {
    let write = app.db().write(|tx| {
        let known = tx.get::<Stack>(&stack.uuid);
        if let Some(known) = known.filter(|it| it.generation == stack.generation) {
            let mut known = Stack::clone(&known);
            f(tx, &mut known);
            tx.put(known);
        }
        Ok::<_, ApiError>(())
    });
    write.await.map(|()| Progress::Some)
}

/// Records a resource with what happened to it.
async fn record(
    app: &CloudFormation,
    stack: &Stack,
    resource: Resource,
) -> Result<Progress, ApiError> {
    commit(app, stack, |tx, stack| {
        happened(tx, stack, &resource);
        tx.put(resource);
    })
    .await
}

/// The event of a resource's state.
pub(crate) fn happened(tx: &mut Tx, stack: &mut Stack, resource: &Resource) {
    let properties = shown(stack, &resource.properties);
    let event = Event {
        logical: resource.logical.clone(),
        physical: resource.physical.clone(),
        type_name: resource.type_name.clone(),
        status: resource.status.clone(),
        reason: resource.reason.clone(),
        properties: Some(properties),
        ..blank(stack, tx.now())
    };
    put_event(tx, stack, event);
}

/// Properties as events show them: without the values of parameters with `NoEcho`, and not much longer than people read.
fn shown(stack: &Stack, properties: &Value) -> String {
    let all = [Some(&stack.desired), stack.previous.as_ref()];
    let hidden: Vec<String> = all
        .into_iter()
        .flatten()
        .flat_map(crate::shape::hidden)
        .collect();
    let text = masked(properties, &hidden).to_string();
    if text.len() <= LONGEST_SHOWN {
        return text;
    }
    text.chars().take(LONGEST_SHOWN).collect()
}

fn masked(value: &Value, hidden: &[String]) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|it| masked(it, hidden)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, it)| (name.clone(), masked(it, hidden)))
            .collect(),
        Value::String(text) => {
            let text = hidden
                .iter()
                .fold(text.clone(), |text, it| text.replace(it, "****"));
            Value::String(text)
        }
        other => other.clone(),
    }
}

/// The event of a stack's own state.
pub(crate) fn stack_happened(tx: &mut Tx, stack: &mut Stack) {
    let event = Event {
        logical: stack.name.clone(),
        physical: stack.arn.clone(),
        type_name: "AWS::CloudFormation::Stack".into(),
        status: stack.status.clone(),
        reason: stack.reason.clone(),
        ..blank(stack, tx.now())
    };
    put_event(tx, stack, event);
}

fn blank(stack: &Stack, at: Timestamp) -> Event {
    Event {
        stack: stack.uuid.clone(),
        number: stack.events,
        id: Uuid::new_v4().to_string(),
        logical: String::new(),
        physical: String::new(),
        type_name: String::new(),
        at,
        status: String::new(),
        reason: None,
        properties: None,
        token: stack.token.clone(),
    }
}

fn put_event(tx: &mut Tx, stack: &mut Stack, mut event: Event) {
    if event.logical != stack.name {
        event.id = format!("{}-{}-{}", event.logical, event.status, event.id);
    }
    tx.put(event);
    if stack.events >= MOST_EVENTS {
        tx.delete::<Event>(&Event::key(&stack.uuid, stack.events - MOST_EVENTS));
    }
    stack.events += 1;
}

/// What the functions of a type see of a resource.
fn ctx<'a>(stack: &'a Stack, resource: &'a Resource) -> Ctx<'a> {
    Ctx {
        properties: kinds::object(&resource.properties),
        old: resource.old.as_ref(),
        id: &resource.physical,
        token: &resource.token,
        attributes: &resource.attributes,
        looked: &Value::Null,
        stack_name: &stack.name,
        stack_arn: &stack.arn,
        logical: &resource.logical,
        stack_tags: &resource.stack_tags,
        old_stack_tags: &resource.old_stack_tags,
    }
}

/// Whether a call failed because of who asked for it: it says nothing of what there is.
fn is_forbidden(error: &ApiError) -> bool {
    let code = error.code.as_ref();
    error.status == 403
        || ["AccessDenied", "ExpiredToken", "Unauthorized"]
            .iter()
            .any(|it| code.contains(it))
}

/// Calls an operation in the name of who asked for the stack.
async fn called(app: &CloudFormation, stack: &Stack, call: &Call) -> Result<Value, ApiError> {
    let call = call.clone();
    app.hands
        .call(&stack.authority, call.service, call.operation, call.input)
        .await
}

/// What a type wants to know before it is made or removed.
async fn looked(
    app: &CloudFormation,
    stack: &Stack,
    kind: &Kind,
    ctx: &Ctx<'_>,
) -> Result<Value, ApiError> {
    match kind.look {
        Some(look) => called(app, stack, &look(ctx)).await,
        None => Ok(Value::Null),
    }
}

/// An error as CloudFormation's types word it.
fn worded(error: &ApiError, kind: &Kind, token: &str) -> String {
    let code = error.code.as_ref();
    let handler = if is_forbidden(error) {
        "AccessDenied"
    } else if code.contains("AlreadyExists")
        || code.contains("Duplicate")
        || code == "ResourceInUseException"
    {
        "AlreadyExists"
    } else if crate::kinds::is_absent(error) {
        "NotFound"
    } else if code.contains("Limit") {
        "ServiceLimitExceeded"
    } else if error.status >= 500 {
        "ServiceInternalError"
    } else {
        "InvalidRequest"
    };
    let service = kind.name.split("::").nth(1).unwrap_or_default();
    let (message, status) = (&error.message, error.status);
    format!(
        "Resource handler returned message: \"{message} (Service: {service}, Status Code: {status}, Error Code: {code})\" (RequestToken: {token}, HandlerErrorCode: {handler})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn what_is_hidden_is_not_shown() {
        let hidden = ["secret".to_owned()];
        let given = json!({"A": ["a secret", {"B": "secret"}], "C": 1});
        let want = json!({"A": ["a ****", {"B": "****"}], "C": 1});
        assert_eq!(masked(&given, &hidden), want);
    }

    #[test]
    fn an_expired_session_says_nothing_of_what_there_is() {
        assert!(is_forbidden(&ApiError::new(
            "ExpiredTokenException",
            400,
            ""
        )));
        assert!(is_forbidden(&ApiError::new(
            "InvalidClientTokenId",
            403,
            ""
        )));
        assert!(!is_forbidden(&ApiError::new("NoSuchEntity", 404, "")));
    }
}
