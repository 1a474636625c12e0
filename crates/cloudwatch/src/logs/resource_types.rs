//! CloudWatch Logs' resources as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html>).

use std::collections::BTreeMap;

use lath_authz::{Facts, RESOURCE_TAG, ResourceType, Scope};

use super::named_in;
use crate::records::LogGroup;

/// A log group. Policies name it with `:*` at the end, but for the tagging operations
/// (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html>).
pub(super) const LOG_GROUP: ResourceType = ResourceType {
    name: "log-group",
    arn: |at, group| format!("{}:*", arn(at, group)),
    keys: &[RESOURCE_TAG],
    facts: tags,
};

/// A log group as the operations on tags by ARN name it.
pub(super) const TAGGED_GROUP: ResourceType = ResourceType {
    name: "log-group",
    arn,
    keys: &[RESOURCE_TAG],
    facts: tags,
};

/// A log stream, by the text that [`stream`] makes. It has the tags of its group.
pub(super) const LOG_STREAM: ResourceType = ResourceType {
    name: "log-stream",
    arn: |at, stream| at.arn("logs", &format!("log-group:{stream}")),
    keys: &[RESOURCE_TAG],
    facts: |at, stream| {
        tags(
            at,
            stream.split_once(STREAM).map_or(stream, |(group, _)| group),
        )
    },
};

const STREAM: &str = ":log-stream:";

/// A group by a name or an ARN, and the name of a stream in it.
pub(super) fn stream(at: &Scope<'_>, group: &str, stream: &str) -> String {
    format!("{}{STREAM}{stream}", name(at, group))
}

/// The one of a group's name and its identifier that a request gives.
pub(super) fn group(name: Option<&String>, identifier: Option<&String>) -> Option<String> {
    name.or(identifier).cloned()
}

/// The name of a group of this region, in whatever partition; what names none stays as it is, and its handler refuses
/// it.
fn name(at: &Scope<'_>, group: &str) -> String {
    let group = at.settled(group);
    let name = named_in(at.region(), at.account(), &group).unwrap_or(&group);
    name.strip_suffix(":*").unwrap_or(name).to_owned()
}

fn arn(at: &Scope<'_>, group: &str) -> String {
    match name(at, group) {
        elsewhere if elsewhere.starts_with("arn:") => elsewhere,
        name => at.arn("logs", &format!("log-group:{name}")),
    }
}

fn tags(at: &Scope<'_>, group: &str) -> Facts {
    let Some(group) = at.view.get::<LogGroup>(&name(at, group)) else {
        return Vec::new();
    };
    let tags = group.tags.iter();
    tags.map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value.clone()]))
        .collect()
}

/// A request's tags.
pub(super) fn pairs(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let tags = tags.iter();
    tags.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
