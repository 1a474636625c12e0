//! Invocations: questions to the node that runs functions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_feed::{Hidden, Invocation, Invoked, function_limits};
use lath_service::{Carried, Refuses as _, operations};
use lath_wire::{ApiError, Blob, Caller, Raw};
use serde::de::IgnoredAny;

use crate::ident::{LATEST, find};
use crate::resource_types::FUNCTION;
use crate::shape::{InvocationResponse, InvocationType, Invoke, LogType, State};
use crate::{Lambda, fault};

operations! {
    for Lambda as "lambda";
    asynchronous Invoke as "InvokeFunction": post "/2015-03-31/functions/{FunctionName}/invocations" 200
        -> InvocationResponse = invoke, carried, located
        => on(&FUNCTION, |op, _| op.function_name.clone())
        => refusing ["" Invoke];
}

/// The longest context of a client, in bytes of base64.
const CONTEXT: usize = 3583;

impl Carried for Invoke {
    const MEMBER: Option<&'static str> = Some("Payload");
    const HEADERS: &'static [&'static str] = &[
        "X-Amz-Invocation-Type",
        "X-Amz-Log-Type",
        "X-Amz-Client-Context",
    ];

    fn raw_of(output: &InvocationResponse) -> Option<Raw> {
        let status = output.status_code.and_then(|it| u16::try_from(it).ok())?;
        let body = output.payload.as_ref();
        Some(Raw {
            status,
            body: body.map(|it| it.0.clone()).unwrap_or_default(),
        })
    }
}

impl lath_service::Located for InvocationResponse {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("X-Amz-Function-Error", &self.function_error),
            ("X-Amz-Log-Result", &self.log_result),
            ("X-Amz-Executed-Version", &self.executed_version),
        ];
        let set = all.into_iter();
        set.filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect()
    }
}

async fn invoke(app: &Lambda, caller: &Caller, op: Invoke) -> Result<InvocationResponse, ApiError> {
    let view = app.cell.db.view();
    let function = find(&app.cell, &view, &op.function_name, op.qualifier.as_deref())?;
    drop(view);
    op.refuse()?;
    let payload = event(op.payload)?;
    if op
        .client_context
        .as_ref()
        .is_some_and(|it| it.len() > CONTEXT)
    {
        return Err(fault::invalid(
            "Client context must be at most 3583 bytes of base64.",
        ));
    }
    if op.invocation_type == Some(InvocationType::DryRun) {
        return Ok(InvocationResponse {
            status_code: Some(204),
            ..InvocationResponse::default()
        });
    }
    if function.state != State::Active {
        let state = match function.state {
            State::Failed => "Failed",
            _ => "Pending",
        };
        return Err(fault::conflict(format!(
            "The operation cannot be performed at this time. The function is currently in the following state: {state}"
        )));
    }
    let invocation = Invocation {
        function: function.name.clone(),
        request_id: caller.request_id.clone(),
        payload: Hidden(payload),
        client_context: op.client_context,
        wants_log: op.log_type == Some(LogType::Tail),
    };
    match app.cell.node.invoke(invocation).await {
        Some(Invoked::Answered {
            payload,
            failed,
            log,
        }) => Ok(InvocationResponse {
            status_code: Some(200),
            function_error: failed.then(|| "Unhandled".to_owned()),
            log_result: log.map(|log| STANDARD.encode(log)),
            payload: Some(Blob(payload.into_bytes())),
            executed_version: Some(LATEST.to_owned()),
        }),
        Some(Invoked::Throttled { reserved }) => Err(fault::throttled(reserved)),
        Some(Invoked::NotReady { reason }) => Err(fault::service(format!(
            "The function cannot be run: {reason}"
        ))),
        None => Err(fault::service(
            "The node that runs functions does not answer. Try again in a moment.",
        )),
    }
}

/// What the function gets: JSON, and an empty object where nothing came.
fn event(payload: Option<Blob>) -> Result<String, ApiError> {
    let bytes = payload.map(|it| it.0).unwrap_or_default();
    if bytes.len() > function_limits::PAYLOAD {
        return Err(fault::too_large(format!(
            "{} byte payload is too large for the RequestResponse invocation type (limit {} bytes)",
            bytes.len(),
            function_limits::PAYLOAD
        )));
    }
    if bytes.is_empty() {
        return Ok("{}".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| fault::no_json("it is not UTF-8"))?;
    serde_json::from_str::<IgnoredAny>(&text)
        .map_err(|error| fault::no_json(&error.to_string()))?;
    Ok(text)
}
