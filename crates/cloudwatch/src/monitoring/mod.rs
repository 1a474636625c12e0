//! CloudWatch: metrics and dashboards.

pub(crate) mod api;
mod bounds;
pub(crate) mod dashboard_body;
mod dashboards;
mod dynamic_label;
mod get_metric_data;
mod get_metric_statistics;
mod list_metrics;
mod put_metric_data;

use std::sync::Arc;

use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

use crate::CloudWatch;

const INFO: ServiceInfo = ServiceInfo {
    signing_name: "monitoring",
    model: "cloudwatch",
    version: "2010-08-01",
    xmlns: "http://monitoring.amazonaws.com/doc/2010-08-01/",
    target_prefix: "GraniteServiceVersion20100801",
    protocols: &[Protocol::Query, Protocol::Json10, Protocol::RpcV2Cbor],
};

pub(crate) fn service(app: &Arc<CloudWatch>) -> Service {
    let registers = [
        put_metric_data::register,
        get_metric_statistics::register,
        get_metric_data::register,
        list_metrics::register,
        dashboards::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}

/// CloudWatch's two names of an error: the exception of the model, and the query code that clients of the
/// older protocols know (sent in `x-amzn-query-error`).
fn error(
    code: &'static str,
    query_code: &'static str,
    status: u16,
    message: impl Into<String>,
) -> ApiError {
    ApiError::new(code, status, message).with_query_code(query_code)
}

fn invalid_value(message: impl Into<String>) -> ApiError {
    error(
        "InvalidParameterValueException",
        "InvalidParameterValue",
        400,
        message,
    )
}

fn invalid_combination(message: impl Into<String>) -> ApiError {
    error(
        "InvalidParameterCombinationException",
        "InvalidParameterCombination",
        400,
        message,
    )
}

fn invalid_token() -> ApiError {
    error(
        "InvalidNextToken",
        "InvalidNextToken",
        400,
        "The next token specified is invalid.",
    )
}
