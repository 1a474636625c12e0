//! Concurrency that is reserved for single functions.

use lath_feed::function_limits::{CONCURRENT, UNRESERVED};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::ident::find;
use crate::record::Function;
use crate::resource_types::FUNCTION;
use crate::shape::*;
use crate::{Lambda, fault};

operations! {
    for Lambda as "lambda";
    change PutFunctionConcurrency: put "/2017-10-31/functions/{FunctionName}/concurrency" 200 -> Concurrency = put
        => on(&FUNCTION, |op, _| op.function_name.clone());
    read GetFunctionConcurrency: get "/2019-09-30/functions/{FunctionName}/concurrency" 200
        -> GetFunctionConcurrencyResponse = get
        => on(&FUNCTION, |op, _| op.function_name.clone());
    change DeleteFunctionConcurrency: delete "/2017-10-31/functions/{FunctionName}/concurrency" 204 -> () = delete
        => on(&FUNCTION, |op, _| op.function_name.clone());
}

/// What all functions but this one have reserved.
pub(crate) fn reserved_by_others(view: &View, name: &str) -> u32 {
    let others = view.list::<Function>().filter(|it| it.name != name);
    others.filter_map(|it| it.reserved).sum()
}

fn put(app: &Lambda, tx: &mut Tx, op: PutFunctionConcurrency) -> Result<Concurrency, ApiError> {
    let wanted = op.reserved_concurrent_executions;
    let Ok(reserved) = u32::try_from(wanted) else {
        return Err(fault::invalid(
            "ReservedConcurrentExecutions must not be negative.",
        ));
    };
    let known = find(&app.cell, tx.view(), &op.function_name, None)?;
    let all = reserved_by_others(tx.view(), &known.name).saturating_add(reserved);
    if CONCURRENT.saturating_sub(all) < UNRESERVED {
        return Err(fault::invalid(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
        )));
    }
    change(tx, &known, Some(reserved));
    Ok(Concurrency {
        reserved_concurrent_executions: Some(wanted),
    })
}

fn change(tx: &mut Tx, known: &Function, reserved: Option<u32>) {
    let mut next = known.clone();
    next.reserved = reserved;
    next.note(tx.now());
    tx.put(next);
}

fn get(
    app: &Lambda,
    view: &View,
    op: &GetFunctionConcurrency,
) -> Result<GetFunctionConcurrencyResponse, ApiError> {
    let known = find(&app.cell, view, &op.function_name, None)?;
    Ok(GetFunctionConcurrencyResponse {
        reserved_concurrent_executions: known.reserved.and_then(|it| i32::try_from(it).ok()),
    })
}

fn delete(app: &Lambda, tx: &mut Tx, op: DeleteFunctionConcurrency) -> Result<(), ApiError> {
    let known = find(&app.cell, tx.view(), &op.function_name, None)?;
    change(tx, &known, None);
    Ok(())
}
