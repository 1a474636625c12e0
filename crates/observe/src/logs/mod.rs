//! CloudWatch Logs: groups, streams, events, filter patterns.

pub(crate) mod api;
pub(crate) mod events;
mod filter_log_events;
mod get_log_events;
mod groups;
pub(crate) mod pattern;
mod put_log_events;
mod streams;
mod tags;

use std::sync::Arc;

use lath_store::View;
use lath_wire::{ApiError, Protocol, Service, ServiceInfo};

use crate::Observe;
use crate::records::LogGroup;

const INFO: ServiceInfo = ServiceInfo {
    signing_name: "logs",
    model: "logs",
    version: "2014-03-28",
    xmlns: "",
    target_prefix: "Logs_20140328",
    protocols: &[Protocol::Json11],
};

pub(crate) fn service(app: &Arc<Observe>) -> Service {
    Service::new(INFO)
        .on::<api::CreateLogGroup>(app)
        .on::<api::DeleteLogGroup>(app)
        .on::<api::DescribeLogGroups>(app)
        .on::<api::PutRetentionPolicy>(app)
        .on::<api::DeleteRetentionPolicy>(app)
        .on::<api::CreateLogStream>(app)
        .on::<api::DeleteLogStream>(app)
        .on::<api::DescribeLogStreams>(app)
        .on::<api::PutLogEvents>(app)
        .on::<api::GetLogEvents>(app)
        .on::<api::FilterLogEvents>(app)
        .on::<api::TagResource>(app)
        .on::<api::UntagResource>(app)
        .on::<api::ListTagsForResource>(app)
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

/// 1 to 512 of `[.\-_/#A-Za-z0-9]`.
fn check_group_name(name: &str) -> Result<(), ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_/#".contains(&b);
    if (1..=512).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(invalid(format!(
        "1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+ and have a length between 1 and 512"
    )))
}

/// 1 to 512 without `:` and `*`.
fn check_stream_name(name: &str) -> Result<(), ApiError> {
    if (1..=512).contains(&name.len()) && !name.contains([':', '*']) {
        return Ok(());
    }
    Err(invalid(format!(
        "1 validation error detected: Value '{name}' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]* and have a length between 1 and 512"
    )))
}

/// The group that a request names by name, or by identifier (a name or an ARN); exactly one.
fn find_group(
    view: &View,
    name: Option<&str>,
    identifier: Option<&str>,
) -> Result<Arc<LogGroup>, ApiError> {
    let name = match (name, identifier) {
        (Some(name), None) => name,
        (None, Some(identifier)) => group_name_of(identifier),
        _ => {
            return Err(invalid(
                "Exactly one of logGroupName and logGroupIdentifier must be given.",
            ));
        }
    };
    check_group_name(name)?;
    view.get::<LogGroup>(name).ok_or_else(no_group)
}

/// The name in `arn:aws:logs:REGION:ACCOUNT:log-group:NAME` (with or without `:*`), or the text itself.
pub(crate) fn group_name_of(identifier: &str) -> &str {
    let tail = identifier
        .split_once(":log-group:")
        .map_or(identifier, |(_, tail)| tail);
    tail.strip_suffix(":*").unwrap_or(tail)
}
