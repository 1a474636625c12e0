//! What flows from nodes without end: access logs, lines of other logs, and metric samples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use lath_model::Timestamp;
use lath_model::id::*;
use serde::{Deserialize, Deserializer, Serialize};

/// Takes what nodes measure. Must not block: a full sink drops the oldest and counts what it dropped.
pub trait Sink: Send + Sync + 'static {
    /// One finished request.
    fn access_log(&self, record: AccessLog);
    /// Lines that a program wrote.
    fn log_lines(&self, lines: LogLines);
    /// Counts since the last report of the same metric.
    fn metric(&self, sample: MetricSample);
}

/// A sink that forgets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn access_log(&self, _record: AccessLog) {}
    fn log_lines(&self, _lines: LogLines) {}
    fn metric(&self, _sample: MetricSample) {}
}

/// One request through a Lattice listener, with what AWS's `VpcLatticeAccessLogs` record needs
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/monitoring-access-logs.html>). The subscriber
/// prints it; what is `None` prints as `-`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    #[serde(deserialize_with = "word")]
    pub protocol: Word,
    /// `TLSv1.2` or `TLSv1.3`, towards the client; `None` in the clear.
    #[serde(default, deserialize_with = "optional_word")]
    pub tls_version: Option<Word>,
    /// The cipher suite as OpenSSL names it.
    #[serde(default, deserialize_with = "optional_word")]
    pub ssl_cipher: Option<Word>,
    /// The name that the client asked for in the handshake.
    #[serde(default)]
    pub server_name: Option<String>,
    /// `Service` or `Network`: whose auth policy denied the request.
    #[serde(deserialize_with = "optional_word")]
    pub auth_denied_by: Option<Word>,
    /// Who called, where a policy asked: an ARN, `Anonymous`, or `Unknown` for a signature that proved nothing.
    #[serde(default)]
    pub resolved_user: Option<String>,
    /// The principal that a signature proved, by its ARN.
    #[serde(default)]
    pub caller_principal: Option<String>,
    /// That principal's tags.
    #[serde(default)]
    pub caller_tags: BTreeMap<String, String>,
    /// Status sent to the client.
    pub response_code: u16,
    /// The target's `grpc-status` (<https://grpc.io/docs/guides/status-codes/>), of GRPC target groups only.
    #[serde(default)]
    pub grpc_response_code: Option<u32>,
    /// AWS's failure reason, such as `TargetConnectionError`.
    #[serde(deserialize_with = "optional_word")]
    pub failure_reason: Option<Word>,
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

/// Lines of a log that goes to a log group, which is made when it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLines {
    /// The log group's name, such as `/aws/eks/blue/cluster`.
    pub group: String,
    /// The stream, which is made when it is missing.
    pub stream: String,
    /// When they were read.
    pub at: Timestamp,
    /// The lines, without their ends.
    pub lines: Vec<String>,
}

/// A statistic set of one metric, as CloudWatch's PutMetricData knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSample {
    /// Such as `AWS/VpcLattice`.
    pub namespace: String,
    /// Such as `TotalRequestCount`.
    pub name: String,
    /// Names and values, sorted by name.
    pub dimensions: Vec<(String, String)>,
    /// Such as `Count`, `Milliseconds`, `Bytes`.
    #[serde(deserialize_with = "word")]
    pub unit: Word,
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

/// One of the few words that the code knows.
pub type Word = &'static str;

/// More different words than the code knows.
const MOST_WORDS: usize = 256;
/// Longer than any of them.
const LONGEST_WORD: usize = 64;

/// Words that came from another process. They are kept for ever, so there is a bound to them.
static WORDS: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());

fn known_word(text: String) -> Option<Word> {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(text.as_str()) {
        return Some(known);
    }
    if words.len() >= MOST_WORDS || text.len() > LONGEST_WORD {
        return None;
    }
    let word = Box::leak(text.into_boxed_str());
    words.insert(word);
    Some(word)
}

fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    known_word(String::deserialize(from)?).ok_or_else(too_many)
}

fn optional_word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| known_word(text).ok_or_else(too_many))
        .transpose()
}

fn too_many<E: serde::de::Error>() -> E {
    E::custom("a word that no node says")
}
