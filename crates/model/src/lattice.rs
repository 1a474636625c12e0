//! What a Lattice listener does with a request: matches, actions, protocols. Plain data, shared by
//! the control plane, the feed and rule matching.

use serde::{Deserialize, Serialize};

use crate::id::{RuleId, TargetGroupId};

/// A listener's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ListenerProtocol {
    /// Clear-text HTTP/1.1, and HTTP/2 with prior knowledge.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP over TLS that ends at the listener.
    #[serde(rename = "HTTPS")]
    Https,
    /// TLS forwarded by SNI.
    #[serde(rename = "TLS_PASSTHROUGH")]
    TlsPassthrough,
}

/// How targets are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TargetProtocol {
    /// Clear text.
    #[serde(rename = "HTTP")]
    Http,
    /// TLS; the target's certificate is not checked, as in AWS.
    #[serde(rename = "HTTPS")]
    Https,
    /// Opaque bytes.
    #[serde(rename = "TCP")]
    Tcp,
}

/// The HTTP version spoken to targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProtocolVersion {
    /// HTTP/1.1.
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2.
    #[serde(rename = "HTTP2")]
    Http2,
    /// gRPC over HTTP/2.
    #[serde(rename = "GRPC")]
    Grpc,
}

/// One compiled rule. Rules are tried by ascending priority; the first whose conditions all hold wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The rule's id, for access logs and explanations.
    pub id: RuleId,
    /// 1 to 2000, unique in the listener.
    pub priority: u32,
    /// All of it must hold.
    pub conditions: Match,
    /// What then happens.
    pub action: Action,
}

/// The conditions of a rule, joined by *and*; an empty one holds always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Match {
    /// The exact, case-sensitive method.
    pub method: Option<String>,
    /// The raw path, without the query.
    pub path: Option<PathMatch>,
    /// At most five; all must hold.
    pub headers: Vec<HeaderMatch>,
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMatch {
    /// Exact or prefix.
    pub kind: PathKind,
    /// Begins with `/`.
    pub value: String,
    /// Whether ASCII case counts.
    pub case_sensitive: bool,
}

/// The ways to match a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathKind {
    /// The whole path.
    Exact,
    /// A plain string prefix: `/foo` holds for `/foobar`.
    Prefix,
}

/// A condition on one header. Names are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderMatch {
    /// The header's name.
    pub name: String,
    /// Exact, prefix or contains.
    pub kind: HeaderKind,
    /// What is looked for.
    pub value: String,
    /// Whether ASCII case counts in the value.
    pub case_sensitive: bool,
}

/// The ways to match a header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeaderKind {
    /// The whole value.
    Exact,
    /// Its beginning.
    Prefix,
    /// Anywhere in it.
    Contains,
}

/// What a rule does with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Forward to one of the groups, chosen by weight.
    Forward(Vec<WeightedTargetGroup>),
    /// Answer with this status and no body.
    FixedResponse(u16),
}

/// A target group's share of a forward action: its weight over the sum of weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedTargetGroup {
    /// The group.
    pub target_group: TargetGroupId,
    /// 0 to 999; 0 receives nothing.
    pub weight: u32,
}
