use std::hash::{Hash, Hasher};

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

/// A series' number: a stable hash of its identity.
pub(crate) type SeriesId = u64;

/// A series' identity and when it was written last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Sorted by name.
    pub(crate) dimensions: Vec<(String, String)>,
    pub(crate) unit: String,
    pub(crate) last: Timestamp,
}

impl Series {
    /// The number: FNV-1a over the identity, which never changes between versions of Lath.
    pub(crate) fn id(&self) -> SeriesId {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        (&self.namespace, &self.name, &self.dimensions, &self.unit).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether it is the metric asked for: equal dimensions, and the unit when one is named.
    pub(crate) fn is(
        &self,
        namespace: &str,
        name: &str,
        dimensions: &[(String, String)],
        unit: Option<&str>,
    ) -> bool {
        self.namespace == namespace
            && self.name == name
            && self.dimensions == dimensions
            && unit.is_none_or(|unit| unit == self.unit)
    }
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
