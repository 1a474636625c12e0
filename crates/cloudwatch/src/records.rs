//! Control state of CloudWatch and Logs.

use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A log group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGroup {
    /// Its name: the id.
    pub name: String,
    /// Ties it to its events in the archive; a group made anew under an old name has a new one.
    pub uid: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// How long events are kept; `None`: for ever (within the archive's bound).
    pub retention_days: Option<u32>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether it can be deleted only after its protection is taken off.
    #[serde(default)]
    pub deletion_protected: bool,
}

impl Record for LogGroup {
    const KIND: &'static str = "logs.group";
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// A dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dashboard {
    /// Its name: the id.
    pub name: String,
    /// The body, to the letter as it was put.
    pub body: String,
    /// When it was put.
    pub modified_at: Timestamp,
}

impl Record for Dashboard {
    const KIND: &'static str = "cloudwatch.dashboard";
    fn id(&self) -> String {
        self.name.clone()
    }
}
