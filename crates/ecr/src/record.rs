//! The typed state: what ECR keeps of each repository. Its images are files.

use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_store::{Kinds, Record};
use serde::{Deserialize, Serialize};

use crate::shape::{ExclusionFilter, ImageTagMutability};

/// A repository, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) mutability: ImageTagMutability,
    #[serde(default)]
    pub(crate) exclusions: Vec<ExclusionFilter>,
    #[serde(default)]
    pub(crate) policy: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for Repository {
    const KIND: &'static str = "ecr.repository";
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// A repository that was deleted, and whose images still are to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removal {
    pub(crate) name: String,
}

impl Record for Removal {
    const KIND: &'static str = "ecr.removal";
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// The record kinds that this crate keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    kinds.with::<Repository>().with::<Removal>()
}
