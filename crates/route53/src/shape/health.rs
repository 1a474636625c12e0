//! Health checks.

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Located, operations, structures, values};
use crate::resource_types::CHECK;

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
    fn location(&self) -> Option<String> {
        Some(format!("healthcheck/{}", self.check.id))
    }
}
impl Located for GetHealthCheckResponse {}
impl Located for UpdateHealthCheckResponse {}
impl Located for ListHealthChecksResponse {}
impl Located for DeleteHealthCheckResponse {}
impl Located for GetHealthCheckStatusResponse {}
impl Located for GetHealthCheckLastFailureReasonResponse {}
impl Located for GetHealthCheckCountResponse {}
impl Located for GetCheckerIpRangesResponse {}

operations! {
    CreateHealthCheck post "healthcheck" 201 -> CreateHealthCheckResponse => any() {
        "CallerReference" caller_reference: String,
        "HealthCheckConfig" config: HealthCheckConfig,
    }
    GetHealthCheck get "healthcheck/{HealthCheckId}" 200 -> GetHealthCheckResponse
        => on(&CHECK, |op, _| op.id.clone())
    {
        "HealthCheckId" id: String,
    }
    ListHealthChecks get "healthcheck" 200 -> ListHealthChecksResponse => any() {
        "marker" marker: Option<String>,
        "maxitems" max_items: Option<String>,
    }
    UpdateHealthCheck post "healthcheck/{HealthCheckId}" 200 -> UpdateHealthCheckResponse
        => on(&CHECK, |op, _| op.id.clone())
    {
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
    DeleteHealthCheck delete "healthcheck/{HealthCheckId}" 200 -> DeleteHealthCheckResponse
        => on(&CHECK, |op, _| op.id.clone())
    {
        "HealthCheckId" id: String,
    }
    GetHealthCheckStatus get "healthcheck/{HealthCheckId}/status" 200 -> GetHealthCheckStatusResponse
        => on(&CHECK, |op, _| op.id.clone())
    {
        "HealthCheckId" id: String,
    }
    GetHealthCheckLastFailureReason get "healthcheck/{HealthCheckId}/lastfailurereason" 200 -> GetHealthCheckLastFailureReasonResponse
        => on(&CHECK, |op, _| op.id.clone())
    {
        "HealthCheckId" id: String,
    }
    GetHealthCheckCount get "healthcheckcount" 200 -> GetHealthCheckCountResponse => any() {}
    GetCheckerIpRanges get "checkeripranges" 200 -> GetCheckerIpRangesResponse => any() {}
}
