use std::path::PathBuf;

use lath_model::Timestamp;
use lath_model::id::ImageId;
use lath_store::Record;
use serde::{Deserialize, Serialize};

/// A machine image that the configuration offers: a directory that holds a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryImage {
    /// Its id, the same as long as the name is.
    pub id: ImageId,
    /// Its name, unique in the region.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The directory.
    pub path: PathBuf,
    /// When it was first offered.
    pub created_at: Timestamp,
}

impl Record for DirectoryImage {
    const KIND: &'static str = "ec2.image";
    fn id(&self) -> String {
        self.id.to_string()
    }
}
