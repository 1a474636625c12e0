//! What flows from nodes without end: access logs and metric samples.

use lath_model::Timestamp;
use lath_model::id::*;

/// Takes what nodes measure. Must not block: a full sink drops the oldest and counts what it dropped.
pub trait Sink: Send + Sync + 'static {
    /// One finished request.
    fn access_log(&self, record: AccessLog);
    /// Counts since the last report of the same metric.
    fn metric(&self, sample: MetricSample);
}

/// A sink that forgets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn access_log(&self, _record: AccessLog) {}
    fn metric(&self, _sample: MetricSample) {}
}

/// One request through a Lattice listener, with what AWS's `VpcLatticeAccessLogs` record needs
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/monitoring-access-logs.html>). The subscriber
/// prints it; what is `None` prints as `-`.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// The destinations' log group ARNs (service network's and service's), without a trailing `:*`.
    pub destinations: Vec<String>,
    /// When the request head was complete.
    pub start_time: Timestamp,
    /// The `x-amzn-requestid`.
    pub request_id: String,
    /// The service network's ARN.
    pub service_network_arn: Option<String>,
    /// The service's ARN; `None` when no service was found.
    pub service_arn: Option<String>,
    /// The listener.
    pub listener: Option<ListenerId>,
    /// The chosen target group's ARN.
    pub target_group_arn: Option<String>,
    /// The client's VPC.
    pub source_vpc: VpcId,
    /// The client's VPC, by its ARN.
    pub source_vpc_arn: String,
    /// The target group's VPC.
    pub destination_vpc: Option<VpcId>,
    /// Where the client was.
    pub source: std::net::SocketAddr,
    /// The target that was picked.
    pub target: Option<std::net::SocketAddr>,
    /// Host header or `:authority`.
    pub host: Option<String>,
    /// GET, POST, ...
    pub method: String,
    /// The path.
    pub path: String,
    /// The user agent header.
    pub user_agent: Option<String>,
    /// `HTTP/1.1` or `HTTP/2`, towards the client.
    pub protocol: &'static str,
    /// `Service` or `Network`: whose auth policy denied the request.
    pub auth_denied_by: Option<&'static str>,
    /// Status sent to the client.
    pub response_code: u16,
    /// AWS's failure reason, such as `TargetConnectionError`.
    pub failure_reason: Option<&'static str>,
    /// Head and body, from the client.
    pub bytes_received: u64,
    /// Head and body, to the client.
    pub bytes_sent: u64,
    /// From start to the last byte out, in milliseconds.
    pub duration_ms: u64,
    /// From start to the last byte to the target, in milliseconds.
    pub request_to_target_ms: u64,
    /// From the target's first byte to the last one to the client, in milliseconds.
    pub response_from_target_ms: u64,
    /// The rule that decided.
    pub rule: Option<RuleId>,
}

/// A statistic set of one metric, as CloudWatch's PutMetricData knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSample {
    /// Such as `AWS/VpcLattice`.
    pub namespace: String,
    /// Such as `TotalRequestCount`.
    pub name: String,
    /// Names and values, sorted by name.
    pub dimensions: Vec<(String, String)>,
    /// Such as `Count`, `Milliseconds`, `Bytes`.
    pub unit: &'static str,
    /// When.
    pub at: Timestamp,
    /// How many observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Values and how often they occurred (for percentiles); may be bucketed, at most 150.
    pub values: Vec<(f64, f64)>,
}
