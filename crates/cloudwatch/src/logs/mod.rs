//! CloudWatch Logs: groups, streams, events, filter patterns.

pub(crate) mod api;
mod bounds;
mod constraint;
pub(crate) mod events;
mod filter_log_events;
mod get_log_events;
mod groups;
pub(crate) mod pattern;
mod put_log_events;
mod resource_types;
mod streams;
mod tags;

use std::sync::Arc;

use lath_model::arn::Arn;
use lath_model::partition::Partition;
use lath_store::View;
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

use self::constraint::check_length;
use crate::CloudWatch;
use crate::records::LogGroup;

const INFO: ServiceInfo = ServiceInfo {
    signing_name: "logs",
    model: "logs",
    version: "2014-03-28",
    xmlns: "",
    target_prefix: "Logs_20140328",
    protocols: &[Protocol::Json11],
};

pub(crate) fn service(app: &Arc<CloudWatch>) -> Service {
    let registers = [
        groups::register,
        streams::register,
        put_log_events::register,
        get_log_events::register,
        filter_log_events::register,
        tags::register,
    ];
    registers.into_iter().fold(
        Service::new(INFO).held_to(&bounds::CONSTRAINTS),
        |service, register| register(service, app),
    )
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", 400, message)
}

fn no_group() -> ApiError {
    ApiError::new(
        "ResourceNotFoundException",
        400,
        "The specified log group does not exist.",
    )
}

fn no_stream() -> ApiError {
    ApiError::new(
        "ResourceNotFoundException",
        400,
        "The specified log stream does not exist.",
    )
}

fn exists(what: &str) -> ApiError {
    let message = format!("The specified {what} already exists");
    ApiError::new("ResourceAlreadyExistsException", 400, message)
}

/// The group that a request names by name, or by identifier (a name or an ARN); exactly one.
fn find_group(
    app: &CloudWatch,
    view: &View,
    name: Option<&str>,
    identifier: Option<&str>,
) -> Result<Arc<LogGroup>, ApiError> {
    match (name, identifier) {
        (Some(name), None) => {
            check_length(name)?;
            view.get::<LogGroup>(name).ok_or_else(no_group)
        }
        (None, Some(identifier)) => {
            let name = named_by(app, identifier).ok_or_else(no_group)?;
            view.get::<LogGroup>(name).ok_or_else(no_group)
        }
        (Some(_), Some(_)) => Err(ApiError::new(
            "ValidationException",
            400,
            "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
        )),
        (None, None) => Err(ApiError::new(
            "ValidationException",
            400,
            "Either LogGroup name or LogGroup ARN must be specified.",
        )),
    }
}

/// The name in an identifier: in an ARN of a group of this region and account, or the text itself.
fn named_by<'i>(app: &CloudWatch, identifier: &'i str) -> Option<&'i str> {
    named_in(&app.cell.region, &app.cell.account, identifier)
}

/// As [`named_by`].
fn named_in<'i>(region: &str, account: &str, identifier: &'i str) -> Option<&'i str> {
    if !identifier.starts_with("arn:") {
        return Some(identifier);
    }
    let arn: Arn = identifier.parse().ok()?;
    let here = arn.service == "logs"
        && arn.partition == Partition::of_region(region).name()
        && arn.region == region
        && arn.account == account
        && arn.resource.starts_with("log-group:");
    let (_, name) = identifier.split_once(":log-group:")?;
    here.then_some(name)
}

/// The name in `arn:PARTITION:logs:REGION:ACCOUNT:log-group:NAME` (with or without `:*`), or the text itself.
pub(crate) fn group_name_of(identifier: &str) -> &str {
    let tail = identifier
        .split_once(":log-group:")
        .map_or(identifier, |(_, tail)| tail);
    tail.strip_suffix(":*").unwrap_or(tail)
}
