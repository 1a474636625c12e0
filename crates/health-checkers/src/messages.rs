//! The messages between observers: JSON under topics of the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bytes::Bytes;
use lath_feed::{LONGEST_VALUE, ObserverReport, Route53HealthCheck};
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The topic of an observer's reports and verdicts.
pub const HEALTH_TOPIC: &str = "health";
/// The topic of the checks that the witness probes.
pub const CHECKS_TOPIC: &str = "health-checks";
/// The topic of the names that a region's gateway reaches.
pub const NAMES_TOPIC: &str = "lattice-names";

/// The message under [`HEALTH_TOPIC`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    pub(crate) reports: BTreeMap<HealthCheckId, ObserverReport>,
    /// Checks on which the observer has no opinion yet: their reports are shown but do not vote.
    pub(crate) undecided: BTreeSet<HealthCheckId>,
    pub(crate) verdicts: BTreeMap<HealthCheckId, Verdict>,
}

/// A majority's decision on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) healthy: bool,
    /// The time of the decision: the newer of two verdicts wins.
    pub(crate) decided: Timestamp,
    /// The check's version.
    pub(crate) version: u64,
}

/// The message under [`CHECKS_TOPIC`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ToProbe {
    pub(crate) checks: Vec<Route53HealthCheck>,
    /// The addresses of names that only a node can resolve.
    pub(crate) addresses: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

/// The message under [`NAMES_TOPIC`]: a name, and its authority at the gateway.
pub(crate) type Names = BTreeMap<String, String>;

pub(crate) fn write(value: &impl Serialize) -> Bytes {
    match serde_json::to_vec(value) {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            tracing::error!(%error, "a message cannot be serialised");
            Bytes::new()
        }
    }
}

/// Parses a peer's message. A malformed message counts as an empty one.
pub(crate) fn read<T: DeserializeOwned + Default>(bytes: Option<&Bytes>) -> T {
    let Some(bytes) = bytes.filter(|bytes| bytes.len() <= LONGEST_VALUE) else {
        return T::default();
    };
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "a peer's message is malformed");
        T::default()
    })
}
