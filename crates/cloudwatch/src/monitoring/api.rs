//! CloudWatch's requests and replies
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/>).

use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_service::{Checked, Refuses};
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Dimension {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A dimension to look for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DimensionFilter {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// Units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Unit {
    Seconds,
    Microseconds,
    Milliseconds,
    Bytes,
    Kilobytes,
    Megabytes,
    Gigabytes,
    Terabytes,
    Bits,
    Kilobits,
    Megabits,
    Gigabits,
    Terabits,
    Percent,
    Count,
    #[serde(rename = "Bytes/Second")]
    BytesPerSecond,
    #[serde(rename = "Kilobytes/Second")]
    KilobytesPerSecond,
    #[serde(rename = "Megabytes/Second")]
    MegabytesPerSecond,
    #[serde(rename = "Gigabytes/Second")]
    GigabytesPerSecond,
    #[serde(rename = "Terabytes/Second")]
    TerabytesPerSecond,
    #[serde(rename = "Bits/Second")]
    BitsPerSecond,
    #[serde(rename = "Kilobits/Second")]
    KilobitsPerSecond,
    #[serde(rename = "Megabits/Second")]
    MegabitsPerSecond,
    #[serde(rename = "Gigabits/Second")]
    GigabitsPerSecond,
    #[serde(rename = "Terabits/Second")]
    TerabitsPerSecond,
    #[serde(rename = "Count/Second")]
    CountPerSecond,
    #[default]
    None,
}

impl Unit {
    /// AWS's spelling.
    pub(crate) fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => "None".into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StatisticSet {
    pub(crate) sample_count: f64,
    pub(crate) sum: f64,
    pub(crate) minimum: f64,
    pub(crate) maximum: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetricDatum {
    pub(crate) metric_name: String,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) value: Option<f64>,
    pub(crate) statistic_values: Option<StatisticSet>,
    #[serde(default)]
    pub(crate) values: Vec<f64>,
    #[serde(default)]
    pub(crate) counts: Vec<f64>,
    pub(crate) unit: Option<Unit>,
    pub(crate) storage_resolution: Option<i64>,
}

/// Data of one entity. Lath keeps no entities: refused when given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EntityMetricData {
    #[serde(default)]
    pub(crate) metric_data: Vec<MetricDatum>,
}

/// PutMetricData.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutMetricData {
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) metric_data: Vec<MetricDatum>,
    #[serde(default)]
    pub(crate) entity_metric_data: Vec<EntityMetricData>,
    #[expect(
        dead_code,
        reason = "it says how entities are checked, and there are none"
    )]
    pub(crate) strict_entity_validation: Option<bool>,
}

/// No members.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Empty {}

/// What PutMetricData refuses when it is set.
pub(crate) const ENTITIES: &str = "EntityMetricData";
/// What PutDashboard refuses when it is set.
pub(crate) const DASHBOARD_TAGS: &str = "Tags";

impl Refuses for PutMetricData {
    fn names() -> Vec<String> {
        vec![ENTITIES.to_owned()]
    }
}

/// GetMetricStatistics.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetMetricStatistics {
    pub(crate) namespace: String,
    pub(crate) metric_name: String,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) start_time: Timestamp,
    pub(crate) end_time: Timestamp,
    pub(crate) period: i64,
    #[serde(default)]
    pub(crate) statistics: Vec<SimpleStatistic>,
    #[serde(default)]
    pub(crate) extended_statistics: Vec<String>,
    pub(crate) unit: Option<Unit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SimpleStatistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetricStatistics {
    pub(crate) label: String,
    pub(crate) datapoints: Vec<Datapoint>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Datapoint {
    pub(crate) timestamp: Timestamp,
    pub(crate) sample_count: Option<f64>,
    pub(crate) average: Option<f64>,
    pub(crate) sum: Option<f64>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) unit: Option<String>,
    pub(crate) extended_statistics: Option<BTreeMap<String, f64>>,
}

/// A metric's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metric {
    pub(crate) namespace: Option<String>,
    pub(crate) metric_name: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<Dimension>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetricStat {
    pub(crate) metric: Metric,
    pub(crate) period: i64,
    pub(crate) stat: String,
    pub(crate) unit: Option<Unit>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetricDataQuery {
    pub(crate) id: String,
    pub(crate) metric_stat: Option<MetricStat>,
    pub(crate) expression: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) return_data: Option<bool>,
    pub(crate) period: Option<i64>,
    pub(crate) account_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum ScanBy {
    #[default]
    TimestampDescending,
    TimestampAscending,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LabelOptions {
    pub(crate) timezone: Option<String>,
}

/// GetMetricData.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetMetricData {
    pub(crate) metric_data_queries: Vec<MetricDataQuery>,
    pub(crate) start_time: Timestamp,
    pub(crate) end_time: Timestamp,
    pub(crate) next_token: Option<String>,
    pub(crate) scan_by: Option<ScanBy>,
    pub(crate) max_datapoints: Option<i64>,
    pub(crate) label_options: Option<LabelOptions>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetricData {
    pub(crate) metric_data_results: Vec<MetricDataResult>,
    pub(crate) next_token: Option<String>,
    pub(crate) messages: Vec<MessageData>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MetricDataResult {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) timestamps: Vec<Timestamp>,
    pub(crate) values: Vec<f64>,
    pub(crate) status_code: StatusCode,
    pub(crate) messages: Option<Vec<MessageData>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StatusCode {
    Complete,
    InternalError,
    PartialData,
    Forbidden,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MessageData {
    pub(crate) code: Option<String>,
    pub(crate) value: Option<String>,
}

/// ListMetrics.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListMetrics {
    pub(crate) namespace: Option<String>,
    pub(crate) metric_name: Option<String>,
    #[serde(default)]
    pub(crate) dimensions: Vec<DimensionFilter>,
    pub(crate) next_token: Option<String>,
    pub(crate) recently_active: Option<RecentlyActive>,
    pub(crate) include_linked_accounts: Option<bool>,
    pub(crate) owning_account: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum RecentlyActive {
    #[serde(rename = "PT3H")]
    ThreeHours,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metrics {
    pub(crate) metrics: Vec<Metric>,
    pub(crate) next_token: Option<String>,
    pub(crate) owning_accounts: Option<Vec<String>>,
}

/// A tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// PutDashboard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutDashboard {
    pub(crate) dashboard_name: String,
    pub(crate) dashboard_body: String,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DashboardPut {
    pub(crate) dashboard_validation_messages: Vec<DashboardValidationMessage>,
}

/// One thing wrong with a dashboard's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DashboardValidationMessage {
    pub(crate) data_path: String,
    pub(crate) message: String,
}

impl Refuses for PutDashboard {
    fn names() -> Vec<String> {
        vec![DASHBOARD_TAGS.to_owned()]
    }
}

/// GetDashboard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetDashboard {
    pub(crate) dashboard_name: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DashboardGot {
    pub(crate) dashboard_arn: String,
    pub(crate) dashboard_body: String,
    pub(crate) dashboard_name: String,
}

/// ListDashboards.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListDashboards {
    pub(crate) dashboard_name_prefix: Option<String>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DashboardList {
    pub(crate) dashboard_entries: Vec<DashboardEntry>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DashboardEntry {
    pub(crate) dashboard_name: String,
    pub(crate) dashboard_arn: String,
    pub(crate) last_modified: Timestamp,
    pub(crate) size: i64,
}

/// DeleteDashboards.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteDashboards {
    pub(crate) dashboard_names: Vec<String>,
}

impl Checked for DeleteDashboards {
    fn check(&self, problems: &mut Problems) {
        if self.dashboard_names.len() > 100 {
            problems.add("DashboardNames", "at most 100 names may be given");
        }
    }
}
