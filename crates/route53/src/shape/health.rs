//! Health checks.

use lath_model::Timestamp;
use lath_service::Located;
use serde::{Deserialize, Serialize};

use super::{location, requests, structures, values};

values! {
    /// What a check looks at.
    HealthCheckType {
        Http = "HTTP",
        Https = "HTTPS",
        HttpStrMatch = "HTTP_STR_MATCH",
        HttpsStrMatch = "HTTPS_STR_MATCH",
        Tcp = "TCP",
        Calculated = "CALCULATED",
        CloudwatchMetric = "CLOUDWATCH_METRIC",
        RecoveryControl = "RECOVERY_CONTROL",
    }
    /// What an update takes back.
    ResettableElementName {
        Name = "FullyQualifiedDomainName",
        Regions = "Regions",
        Path = "ResourcePath",
        Children = "ChildHealthChecks",
    }
}

/// A child's id, which lists call so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChildHealthCheck(pub(crate) String);

/// A region, which lists call so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Region(pub(crate) String);

structures! {
    #[derive(Eq)]
    AlarmIdentifier {
        "Region" region: String,
        "Name" name: String,
    }
    #[derive(Eq)]
    HealthCheckConfig {
        "IPAddress" address: Option<String>,
        "Port" port: Option<i64>,
        "Type" kind: HealthCheckType,
        "ResourcePath" path: Option<String>,
        "FullyQualifiedDomainName" name: Option<String>,
        "SearchString" search: Option<String>,
        "RequestInterval" interval: Option<i64>,
        "FailureThreshold" threshold: Option<i64>,
        "MeasureLatency" measure_latency: Option<bool>,
        "Inverted" inverted: Option<bool>,
        "Disabled" disabled: Option<bool>,
        "HealthThreshold" health_threshold: Option<i64>,
        "ChildHealthChecks" children: Option<Vec<ChildHealthCheck>>,
        "EnableSNI" sni: Option<bool>,
        "Regions" regions: Option<Vec<Region>>,
        "AlarmIdentifier" alarm: Option<AlarmIdentifier>,
        "InsufficientDataHealthStatus" insufficient_data: Option<String>,
        "RoutingControlArn" routing_control: Option<String>,
    }
    #[derive(Eq)]
    HealthCheck {
        "Id" id: String,
        "CallerReference" caller_reference: String,
        "HealthCheckConfig" config: HealthCheckConfig,
        "HealthCheckVersion" version: i64,
    }
    StatusReport {
        "Status" status: Option<String>,
        "CheckedTime" checked: Option<Timestamp>,
    }
    HealthCheckObservation {
        "Region" region: Option<String>,
        "IPAddress" address: Option<String>,
        "StatusReport" report: Option<StatusReport>,
    }

    CreateHealthCheckResponse {
        "HealthCheck" check: HealthCheck,
    }
    GetHealthCheckResponse {
        "HealthCheck" check: HealthCheck,
    }
    UpdateHealthCheckResponse {
        "HealthCheck" check: HealthCheck,
    }
    ListHealthChecksResponse {
        "HealthChecks" checks: Vec<HealthCheck>,
        "Marker" marker: Option<String>,
        "IsTruncated" is_truncated: bool,
        "NextMarker" next_marker: Option<String>,
        "MaxItems" max_items: String,
    }
    DeleteHealthCheckResponse {}
    GetHealthCheckStatusResponse {
        "HealthCheckObservations" observations: Vec<HealthCheckObservation>,
    }
    GetHealthCheckLastFailureReasonResponse {
        "HealthCheckObservations" observations: Vec<HealthCheckObservation>,
    }
    GetHealthCheckCountResponse {
        "HealthCheckCount" count: i64,
    }
    GetCheckerIpRangesResponse {
        "CheckerIpRanges" ranges: Vec<String>,
    }
}

impl Located for CreateHealthCheckResponse {
    fn headers(&self) -> Vec<(&'static str, String)> {
        vec![location(format!("healthcheck/{}", self.check.id))]
    }
}

requests! {
    CreateHealthCheck {
        "CallerReference" caller_reference: String,
        "HealthCheckConfig" config: HealthCheckConfig,
    }
    GetHealthCheck {
        "HealthCheckId" id: String,
    }
    ListHealthChecks {
        "marker" marker: Option<String>,
        "maxitems" max_items: Option<String>,
    }
    UpdateHealthCheck {
        "HealthCheckId" id: String,
        "HealthCheckVersion" version: Option<i64>,
        "IPAddress" address: Option<String>,
        "Port" port: Option<i64>,
        "ResourcePath" path: Option<String>,
        "FullyQualifiedDomainName" name: Option<String>,
        "SearchString" search: Option<String>,
        "FailureThreshold" threshold: Option<i64>,
        "Inverted" inverted: Option<bool>,
        "Disabled" disabled: Option<bool>,
        "HealthThreshold" health_threshold: Option<i64>,
        "ChildHealthChecks" children: Option<Vec<ChildHealthCheck>>,
        "EnableSNI" sni: Option<bool>,
        "Regions" regions: Option<Vec<Region>>,
        "AlarmIdentifier" alarm: Option<AlarmIdentifier>,
        "InsufficientDataHealthStatus" insufficient_data: Option<String>,
        "ResetElements" reset: Option<Vec<ResettableElementName>>,
    }
    DeleteHealthCheck {
        "HealthCheckId" id: String,
    }
    GetHealthCheckStatus {
        "HealthCheckId" id: String,
    }
    GetHealthCheckLastFailureReason {
        "HealthCheckId" id: String,
    }
    GetHealthCheckCount {}
    GetCheckerIpRanges {}
}
