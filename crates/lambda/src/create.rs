//! CreateFunction.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_code::{Digest, Invalid};
use lath_feed::function_limits;
use lath_service::{Refuses as _, operations};
use lath_store::{Record as _, View};
use lath_wire::{ApiError, Blob, Caller};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::check;
use crate::functions::shown;
use crate::ident::{self, Named};
use crate::record::Function;
use crate::resource_types::{FUNCTION, pairs};
use crate::roles::{self, Passing as _};
use crate::shape::*;
use crate::{Lambda, blocking, fault};

operations! {
    for Lambda as "lambda";
    asynchronous CreateFunction: post "/2015-03-31/functions" 201 -> FunctionConfiguration = create
        => on(&FUNCTION, |op, _| op.function_name.clone())
            .tagged(|op, _| pairs(op.tags.as_ref()))
            .passing(|op| Some(op.role.clone()))
        => refusing ["" CreateFunction];
}

async fn create(
    app: &Lambda,
    _: &Caller,
    mut op: CreateFunction,
) -> Result<FunctionConfiguration, ApiError> {
    let archive = op.code.zip_file.take();
    let planned = plan(app, &app.cell.db.view(), op)?;
    let Some(archive) = archive else {
        return Err(fault::invalid("Please provide a source for function code."));
    };
    let (code, code_size) = keep(app, archive).await?;
    let mut planned = Function {
        code: code.as_str().to_owned(),
        code_size,
        ..planned
    };
    let made = app.cell.db.write(|tx| {
        // The world went on meanwhile.
        refuse_twin(tx.view(), &planned.name)?;
        roles::of_function(&app.cell, tx.view(), &planned.role)?;
        let now = tx.now();
        let (role, name) = (planned.role.clone(), planned.name.clone());
        planned.session = roles::session(&app.cell, tx.view(), &role, &name, None, now);
        Ok::<_, ApiError>(tx.put(planned.clone()))
    });
    let made = made.await?;
    Ok(shown(app, &made))
}

fn refuse_twin(view: &View, name: &str) -> Result<(), ApiError> {
    match view.get::<Function>(name) {
        Some(_) => Err(fault::conflict(format!("Function already exist: {name}"))),
        None => Ok(()),
    }
}

fn plan(app: &Lambda, view: &Arc<View>, op: CreateFunction) -> Result<Function, ApiError> {
    let log_group = op
        .logging_config
        .as_ref()
        .and_then(|it| it.log_group.clone());
    check::limits(op.timeout, op.memory_size)?;
    op.refuse()?;
    let name = Named::read(&op.function_name)?.name.to_owned();
    refuse_twin(view, &name)?;
    let (Some(runtime), Some(handler)) = (op.runtime, op.handler) else {
        let text = "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
        return Err(fault::invalid(text));
    };
    check::runtime(&runtime)?;
    let architecture = check::architecture(op.architectures.as_deref())?;
    let environment = op
        .environment
        .and_then(|it| it.variables)
        .unwrap_or_default();
    check::environment(&environment)?;
    let tags = op.tags.unwrap_or_default();
    check::tags(&tags)?;
    roles::of_function(&app.cell, view, &op.role)?;
    let number = |given: Option<i32>, usual: u32| {
        given.and_then(|it| u32::try_from(it).ok()).unwrap_or(usual)
    };
    Ok(Function {
        name,
        unique_id: Uuid::new_v4().to_string(),
        revision: 1,
        revision_id: Uuid::new_v4().to_string(),
        runtime,
        handler,
        role: op.role,
        description: op.description.unwrap_or_default(),
        timeout: number(op.timeout, 3),
        memory: number(op.memory_size, 128),
        environment,
        architecture: architecture.name().to_owned(),
        log_group,
        code: String::new(),
        code_size: 0,
        tags,
        modified_at: app.cell.now(),
        state: State::Pending,
        update: LastUpdateStatus::InProgress,
        reason: None,
        reserved: None,
        statements: Vec::new(),
        policy_revision: Uuid::new_v4().to_string(),
        session: None,
    })
}

/// Archives that are examined at the same time: each may unpack to much, and all of it is read.
static EXAMINED: Semaphore = Semaphore::const_new(2);

/// Keeps an archive that is fit; gives what it is called, and its size.
///
/// # Errors
/// `InvalidParameterValueException` for what is no archive of code, `RequestTooLargeException`.
pub(crate) async fn keep(app: &Lambda, archive: Blob) -> Result<(Digest, u64), ApiError> {
    let archive = archive.0;
    if archive.is_empty() {
        return Err(fault::invalid("Uploaded file must be a non-empty zip"));
    }
    if archive.len() > function_limits::ZIPPED {
        return Err(fault::too_large(format!(
            "The archive of code has {} bytes; a request brings {} at most.",
            archive.len(),
            function_limits::ZIPPED
        )));
    }
    let archives = app.archives.clone();
    let _turn = EXAMINED.acquire().await.map_err(ApiError::internal)?;
    let kept = blocking(move || {
        let unpacked = lath_code::examine(&archive).map_err(unfit)?;
        let size = u64::try_from(archive.len()).unwrap_or_default();
        tracing::debug!(size, unpacked, "code of a function came");
        let digest = archives.keep(&archive).map_err(ApiError::internal)?;
        Ok((digest, size))
    });
    kept.await?
}

fn unfit(error: Invalid) -> ApiError {
    match error {
        Invalid::TooLarge => fault::invalid(format!(
            "Unzipped size must be smaller than {} bytes",
            lath_code::UNPACKED
        )),
        error => fault::invalid(format!(
            "Could not unzip uploaded file. Please check your file, then try to upload again. ({error})"
        )),
    }
}

/// The bytes of all archives that functions use.
pub(crate) fn total_size(view: &View) -> u64 {
    let functions = view.list::<Function>();
    let sizes: BTreeMap<String, u64> = functions.map(|it| (it.id(), it.code_size)).collect();
    sizes.values().sum()
}

/// The ARN that callers get.
pub(crate) fn arn(app: &Lambda, function: &Function) -> String {
    ident::arn(&app.cell, &function.name)
}
