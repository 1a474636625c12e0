//! New code, and other settings.

use lath_service::{Refuses as _, operations};
use lath_store::Tx;
use lath_wire::{ApiError, Caller};

use crate::check;
use crate::create::keep;
use crate::functions::shown;
use crate::ident::find;
use crate::record::Function;
use crate::resource_types::FUNCTION;
use crate::roles::{self, Passing as _};
use crate::shape::*;
use crate::{Lambda, fault};

operations! {
    for Lambda as "lambda";
    asynchronous UpdateFunctionCode: put "/2015-03-31/functions/{FunctionName}/code" 200
        -> FunctionConfiguration = update_code
        => on(&FUNCTION, |op, _| op.function_name.clone())
        => refusing ["" UpdateFunctionCode];
    change UpdateFunctionConfiguration: put "/2015-03-31/functions/{FunctionName}/configuration" 200
        -> FunctionConfiguration = update_configuration
        => on(&FUNCTION, |op, _| op.function_name.clone())
            .passing(|op| op.role.clone())
        => refusing ["" UpdateFunctionConfiguration];
}

/// A function can be changed once the last change has come to an end.
fn changeable(it: &Function, revision: Option<&str>) -> Result<(), ApiError> {
    if revision.is_some_and(|given| given != it.revision_id) {
        return Err(fault::other_revision());
    }
    let status = match (it.state, it.update) {
        (State::Pending, _) => "Pending",
        (_, LastUpdateStatus::InProgress) => "InProgress",
        _ => return Ok(()),
    };
    Err(fault::conflict(format!(
        "The operation cannot be performed at this time. An update is in progress for resource: {} ({status})",
        it.name
    )))
}

async fn update_code(
    app: &Lambda,
    _: &Caller,
    mut op: UpdateFunctionCode,
) -> Result<FunctionConfiguration, ApiError> {
    let archive = op.zip_file.take();
    let view = app.cell.db.view();
    let known = find(&app.cell, &view, &op.function_name, None)?;
    op.refuse()?;
    check::architecture(op.architectures.as_deref())?;
    changeable(&known, op.revision_id.as_deref())?;
    let Some(archive) = archive else {
        return Err(fault::invalid("Please provide a source for function code."));
    };
    let (code, code_size) = keep(app, archive).await?;
    let written = app.cell.db.write(|tx| {
        let known = find(&app.cell, tx.view(), &op.function_name, None)?;
        changeable(&known, op.revision_id.as_deref())?;
        let mut next = Function::clone(&known);
        next.code = code.as_str().to_owned();
        next.code_size = code_size;
        next.touch(tx.now());
        if op.dry_run == Some(true) {
            return Ok(std::sync::Arc::new(next));
        }
        Ok::<_, ApiError>(tx.put(next))
    });
    let written = written.await?;
    Ok(shown(app, &written))
}

fn update_configuration(
    app: &Lambda,
    tx: &mut Tx,
    op: UpdateFunctionConfiguration,
) -> Result<FunctionConfiguration, ApiError> {
    let log_group = op
        .logging_config
        .as_ref()
        .and_then(|it| it.log_group.clone());
    check::limits(op.timeout, op.memory_size)?;
    let known = find(&app.cell, tx.view(), &op.function_name, None)?;
    op.refuse()?;
    changeable(&known, op.revision_id.as_deref())?;
    let mut next = Function::clone(&known);
    if let Some(role) = op.role {
        roles::of_function(&app.cell, tx.view(), &role)?;
        let now = tx.now();
        let session = next.session.as_ref();
        next.session = roles::session(&app.cell, tx.view(), &role, &next.name, session, now);
        next.role = role;
    }
    if let Some(runtime) = op.runtime {
        check::runtime(&runtime)?;
        next.runtime = runtime;
    }
    if let Some(environment) = op.environment {
        next.environment = environment.variables.unwrap_or_default();
        check::environment(&next.environment)?;
    }
    let number =
        |given: Option<i32>, now: u32| given.and_then(|it| u32::try_from(it).ok()).unwrap_or(now);
    next.timeout = number(op.timeout, next.timeout);
    next.memory = number(op.memory_size, next.memory);
    next.handler = op.handler.unwrap_or(next.handler);
    next.description = op.description.unwrap_or(next.description);
    next.log_group = log_group.or(next.log_group);
    next.touch(tx.now());
    Ok(shown(app, &tx.put(next)))
}
