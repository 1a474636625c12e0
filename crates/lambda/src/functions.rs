//! Functions: shown, listed, deleted.

use std::sync::Arc;

use lath_code::Digest;
use lath_control::paginate;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::create::arn;
use crate::ident::{LATEST, find};
use crate::record::Function;
use crate::resource_types::FUNCTION;
use crate::shape::*;
use crate::{Lambda, fault};

/// Functions on a page.
const PAGE: usize = 50;

operations! {
    for Lambda as "lambda";
    read GetFunction: get "/2015-03-31/functions/{FunctionName}" 200 -> GetFunctionResponse = get
        => on(&FUNCTION, |op, _| op.function_name.clone());
    read GetFunctionConfiguration: get "/2015-03-31/functions/{FunctionName}/configuration" 200
        -> FunctionConfiguration = configuration
        => on(&FUNCTION, |op, _| op.function_name.clone());
    read ListFunctions: get "/2015-03-31/functions" 200 -> ListFunctionsResponse = list
        => any();
    change DeleteFunction: delete "/2015-03-31/functions/{FunctionName}" 200 -> DeleteFunctionResponse = delete, carried
        => on(&FUNCTION, |op, _| op.function_name.clone());
}

impl lath_service::Carried for DeleteFunction {
    const MEMBER: Option<&'static str> = None;
    const HEADERS: &'static [&'static str] = &[];
    /// The status is that of the answer, which is empty.
    fn raw_of(output: &DeleteFunctionResponse) -> Option<lath_wire::Raw> {
        let status = output.status_code.and_then(|it| u16::try_from(it).ok())?;
        Some(lath_wire::Raw {
            status,
            body: Vec::new(),
        })
    }
}

/// A function as callers see it.
pub(crate) fn shown(app: &Lambda, it: &Function) -> FunctionConfiguration {
    let number = |value: u32| i32::try_from(value).ok();
    let digest: Option<Digest> = it.code.parse().ok();
    let (pending, failed) = (it.state == State::Pending, it.state == State::Failed);
    let update_failed = it.update == LastUpdateStatus::Failed;
    let reason = it.reason.clone();
    let variables = (!it.environment.is_empty()).then(|| it.environment.clone());
    FunctionConfiguration {
        function_name: Some(it.name.clone()),
        function_arn: Some(arn(app, it)),
        runtime: Some(it.runtime.clone()),
        role: Some(it.role.clone()),
        handler: Some(it.handler.clone()),
        code_size: i64::try_from(it.code_size).ok(),
        description: Some(it.description.clone()),
        timeout: number(it.timeout),
        memory_size: number(it.memory),
        last_modified: Some(it.modified_at.iso8601_millis().replace('Z', "+0000")),
        code_sha256: digest.map(|it| it.base64()),
        version: Some(LATEST.to_owned()),
        environment: variables.map(|variables| EnvironmentResponse {
            variables: Some(variables),
            error: None,
        }),
        tracing_config: Some(TracingConfigResponse {
            mode: Some(TracingMode::PassThrough),
        }),
        revision_id: Some(it.revision_id.clone()),
        state: Some(it.state),
        state_reason: match it.state {
            State::Pending => Some("The function is being created.".to_owned()),
            State::Failed => reason.clone(),
            State::Active => None,
        },
        state_reason_code: match (pending, failed) {
            (true, _) => Some(StateReasonCode::Creating),
            (_, true) => Some(StateReasonCode::InternalError),
            _ => None,
        },
        last_update_status: Some(match it.state {
            // Nothing was updated yet.
            State::Pending => LastUpdateStatus::Successful,
            _ => it.update,
        }),
        last_update_status_reason: reason.filter(|_| update_failed),
        last_update_status_reason_code: update_failed
            .then_some(LastUpdateStatusReasonCode::InternalError),
        package_type: Some(PackageType::Zip),
        architectures: Some(vec![match it.architecture.as_str() {
            "arm64" => Architecture::Arm,
            _ => Architecture::X86,
        }]),
        ephemeral_storage: Some(EphemeralStorage { size: 512 }),
        snap_start: Some(SnapStartResponse {
            apply_on: Some(SnapStartApplyOn::None),
            optimization_status: Some("Off".to_owned()),
        }),
        logging_config: Some(LoggingConfig {
            log_format: Some(LogFormat::Text),
            log_group: Some(it.log_group()),
            application_log_level: None,
            system_log_level: None,
        }),
    }
}

fn get(app: &Lambda, view: &View, op: &GetFunction) -> Result<GetFunctionResponse, ApiError> {
    let it = find(&app.cell, view, &op.function_name, op.qualifier.as_deref())?;
    let reserved = it.reserved.and_then(|it| i32::try_from(it).ok());
    Ok(GetFunctionResponse {
        configuration: Some(shown(app, &it)),
        // Where AWS gives a URL of S3 there is none: code that was uploaded is not handed out again.
        code: None,
        tags: Some(it.tags.clone()).filter(|tags| !tags.is_empty()),
        concurrency: reserved.map(|reserved| Concurrency {
            reserved_concurrent_executions: Some(reserved),
        }),
    })
}

fn configuration(
    app: &Lambda,
    view: &View,
    op: &GetFunctionConfiguration,
) -> Result<FunctionConfiguration, ApiError> {
    let it = find(&app.cell, view, &op.function_name, op.qualifier.as_deref())?;
    Ok(shown(app, &it))
}

fn list(app: &Lambda, view: &View, op: &ListFunctions) -> Result<ListFunctionsResponse, ApiError> {
    let size = op.max_items.and_then(|it| usize::try_from(it).ok());
    let size = size.unwrap_or(PAGE).clamp(1, PAGE);
    let key = |it: &Arc<Function>| it.name.clone();
    let page = paginate(view.list::<Function>(), key, size, op.marker.as_deref())
        .map_err(|_| fault::invalid("The Marker is not valid."))?;
    Ok(ListFunctionsResponse {
        functions: Some(page.items.iter().map(|it| shown(app, it)).collect()),
        next_marker: page.next_token,
    })
}

fn delete(
    app: &Lambda,
    tx: &mut Tx,
    op: DeleteFunction,
) -> Result<DeleteFunctionResponse, ApiError> {
    if op.qualifier.as_deref() == Some(LATEST) {
        let text = "$LATEST version cannot be deleted without deleting the function.";
        return Err(fault::invalid(text));
    }
    let it = find(
        &app.cell,
        tx.view(),
        &op.function_name,
        op.qualifier.as_deref(),
    )?;
    tx.delete::<Function>(&it.name);
    Ok(DeleteFunctionResponse {
        status_code: Some(204),
    })
}
