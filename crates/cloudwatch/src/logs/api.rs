//! CloudWatch Logs' requests and replies
//! (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/>).

use std::collections::BTreeMap;

use lath_service::Refuses;
use serde::{Deserialize, Serialize};

/// What CreateLogGroup refuses when it is set.
pub(super) const GROUP_KEY: &str = "kmsKeyId";

impl Refuses for CreateLogGroup {
    fn names() -> Vec<String> {
        vec![GROUP_KEY.to_owned()]
    }
}

/// No members.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Empty {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum LogGroupClass {
    Standard,
    InfrequentAccess,
    Delivery,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateLogGroup {
    pub(crate) log_group_name: String,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) log_group_class: Option<LogGroupClass>,
    pub(crate) deletion_protection_enabled: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteLogGroup {
    pub(crate) log_group_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeLogGroups {
    pub(crate) account_identifiers: Option<Vec<String>>,
    pub(crate) log_group_name_prefix: Option<String>,
    pub(crate) log_group_name_pattern: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
    pub(crate) include_linked_accounts: Option<bool>,
    pub(crate) log_group_class: Option<LogGroupClass>,
    pub(crate) log_group_identifiers: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogGroups {
    pub(crate) log_groups: Vec<LogGroup>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogGroup {
    pub(crate) log_group_name: String,
    pub(crate) creation_time: i64,
    pub(crate) retention_in_days: Option<u32>,
    pub(crate) metric_filter_count: i32,
    pub(crate) arn: String,
    /// Absent, as the next, where groups are looked for by a pattern.
    pub(crate) stored_bytes: Option<i64>,
    pub(crate) log_group_class: LogGroupClass,
    pub(crate) log_group_arn: String,
    pub(crate) deletion_protection_enabled: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutLogGroupDeletionProtection {
    pub(crate) log_group_identifier: String,
    pub(crate) deletion_protection_enabled: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutRetentionPolicy {
    pub(crate) log_group_name: String,
    pub(crate) retention_in_days: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteRetentionPolicy {
    pub(crate) log_group_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateLogStream {
    pub(crate) log_group_name: String,
    pub(crate) log_stream_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteLogStream {
    pub(crate) log_group_name: String,
    pub(crate) log_stream_name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum OrderBy {
    #[default]
    LogStreamName,
    LastEventTime,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeLogStreams {
    pub(crate) log_group_name: Option<String>,
    pub(crate) log_group_identifier: Option<String>,
    pub(crate) log_stream_name_prefix: Option<String>,
    pub(crate) order_by: Option<OrderBy>,
    pub(crate) descending: Option<bool>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogStreams {
    pub(crate) log_streams: Vec<LogStream>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogStream {
    pub(crate) log_stream_name: String,
    pub(crate) creation_time: i64,
    pub(crate) first_event_timestamp: Option<i64>,
    pub(crate) last_event_timestamp: Option<i64>,
    pub(crate) last_ingestion_time: Option<i64>,
    pub(crate) arn: String,
    pub(crate) stored_bytes: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputLogEvent {
    pub(crate) timestamp: i64,
    pub(crate) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PutLogEvents {
    pub(crate) log_group_name: String,
    pub(crate) log_stream_name: String,
    pub(crate) log_events: Vec<InputLogEvent>,
    #[expect(dead_code, reason = "the service ignores sequence tokens since 2023")]
    pub(crate) sequence_token: Option<String>,
    /// What the events are about. Groups here keep no entities: one that is given is rejected, the events are kept.
    pub(crate) entity: Option<Entity>,
}

/// The thing that telemetry is about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entity {
    pub(crate) key_attributes: Option<BTreeMap<String, String>>,
    pub(crate) attributes: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventsPut {
    pub(crate) next_sequence_token: Option<String>,
    pub(crate) rejected_log_events_info: Option<RejectedLogEventsInfo>,
    pub(crate) rejected_entity_info: Option<RejectedEntityInfo>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RejectedEntityInfo {
    pub(crate) error_type: EntityRejectionErrorType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EntityRejectionErrorType {
    InvalidEntity,
    InvalidTypeValue,
    InvalidKeyAttributes,
    InvalidAttributes,
    EntitySizeTooLarge,
    UnsupportedLogGroupType,
    MissingRequiredFields,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RejectedLogEventsInfo {
    pub(crate) too_new_log_event_start_index: Option<i32>,
    pub(crate) too_old_log_event_end_index: Option<i32>,
    pub(crate) expired_log_event_end_index: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetLogEvents {
    pub(crate) log_group_name: Option<String>,
    pub(crate) log_group_identifier: Option<String>,
    pub(crate) log_stream_name: String,
    pub(crate) start_time: Option<i64>,
    pub(crate) end_time: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
    pub(crate) start_from_head: Option<bool>,
    #[expect(dead_code, reason = "nothing is masked, so there is nothing to show")]
    pub(crate) unmask: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventsGot {
    pub(crate) events: Vec<OutputLogEvent>,
    pub(crate) next_forward_token: String,
    pub(crate) next_backward_token: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputLogEvent {
    pub(crate) timestamp: i64,
    pub(crate) message: String,
    pub(crate) ingestion_time: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FilterLogEvents {
    pub(crate) log_group_name: Option<String>,
    pub(crate) log_group_identifier: Option<String>,
    pub(crate) log_stream_names: Option<Vec<String>>,
    pub(crate) log_stream_name_prefix: Option<String>,
    pub(crate) start_time: Option<i64>,
    pub(crate) end_time: Option<i64>,
    pub(crate) filter_pattern: Option<String>,
    pub(crate) next_token: Option<String>,
    pub(crate) limit: Option<i64>,
    #[expect(
        dead_code,
        reason = "events are always interleaved, as the service does now"
    )]
    pub(crate) interleaved: Option<bool>,
    #[expect(dead_code, reason = "nothing is masked, so there is nothing to show")]
    pub(crate) unmask: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventsFiltered {
    pub(crate) events: Vec<FilteredLogEvent>,
    pub(crate) searched_log_streams: Vec<SearchedLogStream>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FilteredLogEvent {
    pub(crate) log_stream_name: String,
    pub(crate) timestamp: i64,
    pub(crate) message: String,
    pub(crate) ingestion_time: i64,
    pub(crate) event_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchedLogStream {
    pub(crate) log_stream_name: String,
    pub(crate) searched_completely: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TagResource {
    pub(crate) resource_arn: String,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UntagResource {
    pub(crate) resource_arn: String,
    pub(crate) tag_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTagsForResource {
    pub(crate) resource_arn: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tags {
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TagLogGroup {
    pub(crate) log_group_name: String,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UntagLogGroup {
    pub(crate) log_group_name: String,
    /// Keys.
    pub(crate) tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTagsLogGroup {
    pub(crate) log_group_name: String,
}
