//! What observers tell one another, as JSON under topics of the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bytes::Bytes;
use lath_feed::{LONGEST_VALUE, ObserverReport, Route53HealthCheck};
use lath_model::Timestamp;
use lath_model::id::HealthCheckId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Reports and verdicts of an observer.
pub const HEALTH_TOPIC: &str = "health";
/// What there is to probe, for the witness.
pub const CHECKS_TOPIC: &str = "health-checks";
/// The names that a region's gateway reaches.
pub const NAMES_TOPIC: &str = "lattice-names";

/// Under [`HEALTH_TOPIC`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    pub(crate) reports: BTreeMap<HealthCheckId, ObserverReport>,
    /// Reports that have no opinion yet: shown, but without a vote.
    pub(crate) undecided: BTreeSet<HealthCheckId>,
    pub(crate) verdicts: BTreeMap<HealthCheckId, Verdict>,
}

/// What was decided on an endpoint, by a majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) healthy: bool,
    /// When: of two verdicts the newer one holds.
    pub(crate) decided: Timestamp,
    /// The check's version.
    pub(crate) version: u64,
}

/// Under [`CHECKS_TOPIC`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ToProbe {
    pub(crate) checks: Vec<Route53HealthCheck>,
    /// The addresses of names that only nodes can resolve.
    pub(crate) addresses: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

/// Under [`NAMES_TOPIC`]: a name, and what the gateway calls it.
pub(crate) type Names = BTreeMap<String, String>;

pub(crate) fn write(value: &impl Serialize) -> Bytes {
    match serde_json::to_vec(value) {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            tracing::error!(%error, "a report cannot be written");
            Bytes::new()
        }
    }
}

/// What a peer told. Nonsense is nothing.
pub(crate) fn read<T: DeserializeOwned + Default>(bytes: Option<&Bytes>) -> T {
    let Some(bytes) = bytes.filter(|bytes| bytes.len() <= LONGEST_VALUE) else {
        return T::default();
    };
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "what a peer told cannot be read");
        T::default()
    })
}
