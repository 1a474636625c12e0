use std::path::PathBuf;

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It reads and writes.
    Well,
    /// The disk is full. Writes that add records are refused, deletes and changes go on; it is well again by
    /// itself when there is room.
    Full {
        /// The state's file.
        path: PathBuf,
        /// What the system said, with the file.
        reason: String,
    },
    /// The last write failed. Reads go on; every write is tried again from the file on.
    Failing {
        /// What the system or the engine said, with the file.
        reason: String,
    },
}

impl Condition {
    /// Whether it reads and writes.
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Well)
    }

    /// What is wrong, in words for the user.
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
