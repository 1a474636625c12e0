//! Each resource of a stack becomes what is desired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lath_model::Timestamp;
use lath_wire::ApiError;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Progress, commit, record, resources, stack_happened, step};
use crate::CloudFormation;
use crate::kinds::{self, Kind};
use crate::plan::{self, Plan};
use crate::record::{Former, OnFailure, Resource, Stack, Step, Work};
use crate::template::Declared;

pub(super) async fn apply(app: &CloudFormation, stack: &Stack) -> Result<Progress, ApiError> {
    let plan = match Plan::of(app, stack, &stack.desired) {
        Ok(plan) => plan,
        Err(wrong) => return failed(app, stack, wrong).await,
    };
    let mut known = resources(app, &stack.uuid);
    let mut progress = Progress::None;
    let is_late = is_late(stack, app.cell.now());
    let mut is_failing = is_late || any_failed(stack, &plan, &known);
    let mut are_ready: BTreeSet<&str> = BTreeSet::new();
    for (name, declared) in plan.wanted() {
        let own = known.get(name).cloned();
        let done = match own
            .as_deref()
            .filter(|it| it.generation == stack.generation)
        {
            Some(own) if own.status.ends_with("_FAILED") => Progress::None,
            Some(own) if own.step == Step::Rest => {
                are_ready.insert(name);
                Progress::None
            }
            Some(own) if is_failing && own.step != Step::Making => cancel(app, stack, own).await?,
            Some(own) => step::step(app, stack, own).await?,
            None if is_failing
                || !declared
                    .needs
                    .iter()
                    .all(|it| are_ready.contains(it.as_str()) || !plan.wants(it)) =>
            {
                Progress::None
            }
            None => begin(app, stack, &plan, (name, declared), &known).await?,
        };
        if done == Progress::Some {
            progress = Progress::Some;
            let all = resources(app, &stack.uuid);
            if let Some(own) = all.get(name)
                && own.generation == stack.generation
            {
                if own.status.ends_with("_FAILED") {
                    is_failing = true;
                } else if own.step == Step::Rest {
                    are_ready.insert(name);
                }
            }
            known = all;
        }
    }
    if progress == Progress::Some {
        return Ok(progress);
    }
    let wanted = plan.wanted().count();
    if are_ready.len() == wanted {
        return finish(app, stack, &plan, &known).await;
    }
    let is_open = |it: &Arc<Resource>| {
        it.generation == stack.generation
            && it.step != Step::Rest
            && !it.status.ends_with("_FAILED")
    };
    if is_failing && !known.values().any(is_open) {
        let verb = if stack.status.starts_with("CREATE") {
            "create"
        } else {
            "update"
        };
        let names: Vec<&str> = known
            .values()
            .filter(|it| it.generation == stack.generation && it.status.ends_with("_FAILED"))
            .map(|it| it.logical.as_str())
            .collect();
        let reason = if names.is_empty() && is_late {
            "Stack creation timed out.".to_owned()
        } else {
            format!(
                "The following resource(s) failed to {verb}: [{}]. ",
                names.join(", ")
            )
        };
        return failed(app, stack, reason).await;
    }
    Ok(Progress::None)
}

fn is_late(stack: &Stack, now: Timestamp) -> bool {
    let minutes = stack.timeout_minutes.and_then(|it| u64::try_from(it).ok());
    let waited = now.since(stack.began);
    stack.status == "CREATE_IN_PROGRESS"
        && minutes.is_some_and(|it| waited >= Duration::from_secs(it.saturating_mul(60)))
}

fn any_failed(stack: &Stack, plan: &Plan, known: &BTreeMap<String, Arc<Resource>>) -> bool {
    let mut of_now = known
        .values()
        .filter(|it| it.generation == stack.generation);
    of_now.any(|it| it.status.ends_with("_FAILED") && plan.wants(&it.logical))
}

/// What is under way when another resource has failed is not waited for.
async fn cancel(app: &CloudFormation, stack: &Stack, own: &Resource) -> Result<Progress, ApiError> {
    let mut own = own.clone();
    let is_update = own.status.starts_with("UPDATE");
    own.status = if is_update {
        "UPDATE_FAILED"
    } else {
        "CREATE_FAILED"
    }
    .into();
    let noun = if is_update { "update" } else { "creation" };
    own.reason = Some(format!("Resource {noun} cancelled"));
    own.at = app.cell.now();
    own.step = Step::Rest;
    record(app, stack, own).await
}

/// Finds out whether what an earlier piece of work was about to make was made.
async fn recover(
    app: &CloudFormation,
    stack: &Stack,
    own: &Resource,
) -> Result<Progress, ApiError> {
    let mut own = own.clone();
    let found = match kinds::find(&own.type_name) {
        Some(kind) => step::recovered(app, stack, kind, &own).await,
        None => Ok(None),
    };
    match found {
        Err(error) if error.status >= 500 => return Ok(Progress::None),
        // Whether it was made is still not known: another piece of work may be allowed to ask.
        Err(error) if super::is_forbidden(&error) => {
            own.generation = stack.generation;
            own.status = "UPDATE_FAILED".into();
            own.reason =
                kinds::find(&own.type_name).map(|it| super::worded(&error, it, &own.token));
            own.at = app.cell.now();
            return record(app, stack, own).await;
        }
        Ok(Some(id)) => {
            own.physical = id;
            own.is_made = true;
        }
        Ok(None) | Err(_) => {}
    }
    own.step = Step::Rest;
    own.status = "CREATE_FAILED".into();
    commit(app, stack, |tx, _| {
        tx.put(own);
    })
    .await
}

/// A name that nothing else has: the stack's and the resource's, and some letters.
fn chosen(kind: &Kind, stack: &Stack, logical: &str, properties: &Value) -> String {
    let Some(named) = kind.named else {
        return String::new();
    };
    if let Some(name) = properties.get(named.property) {
        return kinds::text_of(name);
    }
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let end: String = Uuid::new_v4()
        .as_bytes()
        .iter()
        .take(12)
        .map(|it| char::from(LETTERS[usize::from(*it) % LETTERS.len()]))
        .collect();
    let room = named.longest.saturating_sub(end.len() + 2);
    let logical: String = logical.chars().take(room / 2).collect();
    let first: String = stack.name.chars().take(room - logical.len()).collect();
    let first = first.trim_end_matches('-');
    let name = format!("{first}-{logical}-{end}");
    if named.is_lower_case {
        name.to_lowercase()
    } else {
        name
    }
}

async fn begin(
    app: &CloudFormation,
    stack: &Stack,
    plan: &Plan,
    (name, declared): (&str, &Declared),
    known: &BTreeMap<String, Arc<Resource>>,
) -> Result<Progress, ApiError> {
    let before = known.get(name);
    if let Some(before) = before.filter(|it| it.step == Step::Making) {
        return recover(app, stack, before).await;
    }
    let resolved = plan.properties(app, declared, known);
    let mut own = match before {
        Some(before) => Resource::clone(before),
        None => blank(stack, name, app.cell.now()),
    };
    own.generation = stack.generation;
    own.at = app.cell.now();
    own.reason = None;
    own.is_retained = declared.retains_on_delete;
    own.needs = declared.needs.iter().cloned().collect();
    own.stack_tags = stack.desired.tags.clone();
    let Some(kind) = kinds::find(&declared.type_name) else {
        return Ok(Progress::None);
    };
    let is_new = !own.is_made && own.former.is_empty();
    own.status = if is_new {
        "CREATE_IN_PROGRESS"
    } else {
        "UPDATE_IN_PROGRESS"
    }
    .into();
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(wrong) => {
            named(&mut own, declared);
            return step::fail(app, stack, own, wrong).await;
        }
    };
    let mut problems = kind.unknown(&resolved);
    problems.extend(kind.missing(&resolved));
    problems.extend(kinds::reserved_tags(&resolved));
    if !problems.is_empty() {
        let problems: Vec<String> = problems.iter().map(|it| format!("#: {it}")).collect();
        let problems = problems.join(", ");
        let reason =
            format!("Properties validation failed for resource {name} with message:\n[{problems}]");
        named(&mut own, declared);
        return step::fail(app, stack, own, reason).await;
    }
    // An update that is undone goes back to what there was before, as long as it is still there.
    if stack.status == "UPDATE_ROLLBACK_IN_PROGRESS"
        && let Some(at) = own.former.iter().position(|it| it.properties == resolved)
    {
        let former = own.former.remove(at);
        if own.is_made {
            own.former.push(formerly(&own, false));
        }
        own.physical = former.physical;
        own.type_name = former.type_name;
        own.properties = former.properties;
        own.attributes = former.attributes;
        own.is_made = true;
        own.old = None;
        own.step = Step::Rest;
        own.status = "UPDATE_COMPLETE".into();
        return record(app, stack, own).await;
    }
    if !own.is_made {
        own.type_name = declared.type_name.clone();
        own.physical = chosen(kind, stack, name, &resolved);
        own.properties = resolved;
        own.token = Uuid::new_v4().to_string();
        own.old = None;
        own.step = Step::Making;
        record(app, stack, own.clone()).await?;
        return step::make(app, stack, kind, own, false).await;
    }
    let changed = plan::changed(&own.properties, &resolved);
    let gets_tags = kind.has("Tags") && before.is_some_and(|it| it.stack_tags != own.stack_tags);
    // What an update that failed has done to it is not known.
    let is_unsure = own.old.is_some() && before.is_some_and(|it| it.status.ends_with("_FAILED"));
    if changed.is_empty() && !gets_tags && !is_unsure && own.type_name == declared.type_name {
        return unchanged(app, stack, own, before).await;
    }
    let is_replaced = own.type_name != declared.type_name
        || changed.iter().any(|it| kind.is_replaced_by(it))
        || (kind.replaces)(&own.properties, &resolved);
    if !is_replaced {
        own.old_stack_tags = before.map(|it| it.stack_tags.clone()).unwrap_or_default();
        if !(changed.is_empty() && is_unsure) {
            own.old = Some(std::mem::replace(&mut own.properties, resolved));
        }
        // Its calls are the same after a restart, and others than those of an earlier update.
        own.token = Uuid::new_v4().to_string();
        own.step = Step::Completing;
        record(app, stack, own.clone()).await?;
        return step::complete(app, stack, kind, own).await;
    }
    let physical = chosen(kind, stack, name, &resolved);
    let is_same_name = kind.named.is_some_and(|it| {
        resolved
            .get(it.property)
            .is_some_and(|name| own.properties.get(it.property) == Some(name))
    });
    if is_same_name {
        let reason = format!(
            "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename {physical} and update the stack again."
        );
        return step::fail(app, stack, own, reason).await;
    }
    own.former.push(formerly(&own, declared.retains_on_replace));
    own.type_name = declared.type_name.clone();
    own.physical = physical;
    own.is_made = false;
    own.properties = resolved;
    own.attributes = json!({});
    own.old = None;
    own.token = Uuid::new_v4().to_string();
    own.step = Step::Making;
    own.reason = Some(
        "Requested update requires the creation of a new physical resource; hence creating one."
            .into(),
    );
    record(app, stack, own.clone()).await?;
    step::make(app, stack, kind, own, false).await
}

/// What was made keeps its type, which knows how it is removed.
fn named(own: &mut Resource, declared: &Declared) {
    if !own.is_made {
        own.type_name = declared.type_name.clone();
    }
}

fn formerly(own: &Resource, is_retained: bool) -> Former {
    Former {
        physical: own.physical.clone(),
        type_name: own.type_name.clone(),
        properties: own.properties.clone(),
        attributes: own.attributes.clone(),
        is_retained,
        since: None,
    }
}

fn blank(stack: &Stack, logical: &str, at: Timestamp) -> Resource {
    Resource {
        stack: stack.uuid.clone(),
        logical: logical.to_owned(),
        type_name: String::new(),
        physical: String::new(),
        is_made: false,
        properties: Value::Object(Map::new()),
        old: None,
        attributes: json!({}),
        status: String::new(),
        reason: None,
        at,
        generation: stack.generation,
        step: Step::Rest,
        token: String::new(),
        is_retained: false,
        needs: Vec::new(),
        former: Vec::new(),
        stack_tags: BTreeMap::new(),
        old_stack_tags: BTreeMap::new(),
    }
}

/// A resource that stays as it is has no event, unless its state was another one.
async fn unchanged(
    app: &CloudFormation,
    stack: &Stack,
    mut own: Resource,
    before: Option<&Arc<Resource>>,
) -> Result<Progress, ApiError> {
    own.step = Step::Rest;
    own.old = None;
    let status = before.map(|it| it.status.clone()).unwrap_or_default();
    if status.ends_with("_COMPLETE") {
        own.status = status;
        return commit(app, stack, |tx, _| {
            tx.put(own);
        })
        .await;
    }
    own.status = "UPDATE_COMPLETE".into();
    record(app, stack, own).await
}

/// All resources are as desired.
async fn finish(
    app: &CloudFormation,
    stack: &Stack,
    plan: &Plan,
    known: &BTreeMap<String, Arc<Resource>>,
) -> Result<Progress, ApiError> {
    let outputs = match plan.outputs(app, known) {
        Ok(outputs) => outputs,
        Err(wrong) => return failed(app, stack, wrong).await,
    };
    let imports = plan.imports(app, known);
    let view = app.cell.db.view();
    if let Err(wrong) = crate::exports::check(&view, stack, &outputs) {
        return failed(app, stack, wrong).await;
    }
    commit(app, stack, |tx, stack| {
        stack.outputs = outputs;
        stack.imports = imports;
        stack.reason = None;
        match stack.status.as_str() {
            "CREATE_IN_PROGRESS" => {
                stack.status = "CREATE_COMPLETE".into();
                stack.work = None;
            }
            "UPDATE_ROLLBACK_IN_PROGRESS" => {
                stack.status = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS".into();
                stack.work = Some(Work::Clean);
            }
            _ => {
                stack.status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS".into();
                stack.work = Some(Work::Clean);
            }
        }
        stack_happened(tx, stack);
    })
    .await
}

/// It cannot become what is desired: back to where it was.
async fn failed(app: &CloudFormation, stack: &Stack, reason: String) -> Result<Progress, ApiError> {
    commit(app, stack, |tx, stack| {
        stack.reason = Some(reason);
        let rolls_back = stack.on_failure != OnFailure::Nothing;
        match stack.status.as_str() {
            "CREATE_IN_PROGRESS" if !rolls_back => {
                stack.status = "CREATE_FAILED".into();
                stack.work = None;
            }
            "CREATE_IN_PROGRESS" => {
                let is_deleted = stack.on_failure == OnFailure::Delete;
                stack.status = if is_deleted {
                    "DELETE_IN_PROGRESS"
                } else {
                    "ROLLBACK_IN_PROGRESS"
                }
                .into();
                if let Some(reason) = stack.reason.as_mut().filter(|_| !is_deleted) {
                    reason.push_str("Rollback requested by user.");
                }
                stack.work = Some(Work::Remove);
                stack.generation += 1;
            }
            "UPDATE_IN_PROGRESS" if !rolls_back => {
                stack.status = "UPDATE_FAILED".into();
                stack.work = None;
            }
            "UPDATE_IN_PROGRESS" => roll_back(stack, tx.now()),
            _ => {
                stack.status = "UPDATE_ROLLBACK_FAILED".into();
                stack.work = None;
            }
        }
        stack_happened(tx, stack);
    })
    .await
}

/// Begins to undo an update.
pub(crate) fn roll_back(stack: &mut Stack, now: Timestamp) {
    stack.status = "UPDATE_ROLLBACK_IN_PROGRESS".into();
    if let Some(previous) = stack.previous.take() {
        // What failed is still needed to know what it made.
        let attempted = std::mem::replace(&mut stack.desired, previous.clone());
        stack.previous = Some(attempted);
    }
    stack.work = Some(Work::Apply);
    stack.began = now;
    stack.generation += 1;
}
