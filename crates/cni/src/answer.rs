//! What a plugin prints.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

/// The specification's error codes that this plugin gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The configuration is written in a version of the specification that the plugin does not know.
    IncompatibleVersion = 1,
    /// The container's interface is missing or not as ADD left it.
    UnknownContainer = 3,
    /// A `CNI_` variable is missing or malformed.
    InvalidEnvironment = 4,
    /// A system call failed.
    Io = 5,
    /// Standard input is no JSON.
    Undecodable = 6,
    /// The configuration lacks a member, or one is out of range.
    InvalidConfiguration = 7,
    /// No address is free now; the runtime tries again.
    TryAgainLater = 11,
    /// STATUS: ADD would fail now.
    Unavailable = 50,
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure, for the runtime.
    pub code: Code,
    /// What went wrong, for people: it appears in the pod's events.
    pub message: String,
}

impl Failure {
    /// A failure with its text.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A system call that failed while doing `what`.
    pub(crate) fn io(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::new(Code::Io, format!("{what}: {error}"))
    }

    /// The error as the specification writes it.
    #[must_use]
    pub fn to_json(&self, version: &str) -> String {
        let value = serde_json::json!({
            "cniVersion": version,
            "code": self.code as u16,
            "msg": self.message,
        });
        value.to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The result of an ADD.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Success<'a> {
    pub(crate) cni_version: &'a str,
    pub(crate) interfaces: Vec<Interface<'a>>,
    pub(crate) ips: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
    pub(crate) dns: Dns,
}

#[derive(Debug, Serialize)]
pub(crate) struct Interface<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: String,
    /// The path of the pod's network namespace; absent for links of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Address {
    pub(crate) address: Ipv4Net,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<Ipv4Addr>,
    /// An index into `interfaces`.
    pub(crate) interface: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Route {
    pub(crate) dst: Ipv4Net,
    pub(crate) gw: Ipv4Addr,
}

/// Empty: names are the kubelet's business.
#[derive(Debug, Serialize)]
pub(crate) struct Dns {}

impl Success<'_> {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a result has no maps with other keys than strings")
    }
}
