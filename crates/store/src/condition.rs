use std::path::PathBuf;

/// The condition of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Reads and writes work.
    Well,
    /// The disk is full. Writes that add records are refused; deletes and changes work. The store recovers by
    /// itself when there is space.
    Full {
        /// The state's file.
        path: PathBuf,
        /// The system's error, with the file.
        reason: String,
    },
    /// The last write failed. Reads work; every write first tries to reopen the file.
    Failing {
        /// The error of the system or the engine, with the file.
        reason: String,
    },
}

impl Condition {
    /// Whether reads and writes work.
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Well)
    }

    /// The problem, in words for the user.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Well => None,
            Self::Full { reason, .. } => Some(format!(
                "the disk is full: new resources are refused, deletes work ({reason})"
            )),
            Self::Failing { reason } => Some(format!("writes fail ({reason})")),
        }
    }
}
