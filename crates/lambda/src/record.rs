//! The typed state: functions.

use std::collections::BTreeMap;

use lath_feed::TemporaryKeys;
use lath_model::Timestamp;
use lath_store::{Kinds, Record};
use serde::{Deserialize, Serialize};

use crate::shape::{LastUpdateStatus, State};

/// The record kinds that this crate keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    kinds.with::<Function>()
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Tells it from an earlier one of the same name.
    pub(crate) unique_id: String,
    /// Grows with each change that its processes see.
    pub(crate) revision: u64,
    /// What callers see of that: another text with each change.
    pub(crate) revision_id: String,
    pub(crate) runtime: String,
    pub(crate) handler: String,
    pub(crate) role: String,
    pub(crate) description: String,
    pub(crate) timeout: u32,
    pub(crate) memory: u32,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) architecture: String,
    pub(crate) log_group: Option<String>,
    /// The SHA-256 of its archive, in hexadecimal digits.
    pub(crate) code: String,
    pub(crate) code_size: u64,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) modified_at: Timestamp,
    pub(crate) state: State,
    pub(crate) update: LastUpdateStatus,
    /// Why the one or the other is a failure.
    pub(crate) reason: Option<String>,
    pub(crate) reserved: Option<u32>,
    /// Its resource policy.
    pub(crate) statements: Vec<Statement>,
    pub(crate) policy_revision: String,
    /// A session of its role.
    pub(crate) session: Option<RoleSession>,
}

/// A statement of a function's resource policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) sid: String,
    pub(crate) action: String,
    /// As the caller gave it: a service, an account, an ARN, or `*`.
    pub(crate) principal: String,
    pub(crate) source_arn: Option<String>,
    pub(crate) source_account: Option<String>,
}

/// A session of a function's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleSession {
    pub(crate) role_id: String,
    pub(crate) issued: Timestamp,
    pub(crate) keys: TemporaryKeys,
}

impl Record for Function {
    const KIND: &'static str = "lambda.function";
    fn id(&self) -> String {
        self.name.clone()
    }
}

impl Function {
    /// Its log group.
    pub(crate) fn log_group(&self) -> String {
        let own = self.log_group.clone();
        own.unwrap_or_else(|| format!("/aws/lambda/{}", self.name))
    }

    /// Something that its processes see has changed.
    pub(crate) fn touch(&mut self, now: Timestamp) {
        self.revision += 1;
        self.note(now);
        self.update = LastUpdateStatus::InProgress;
    }

    /// Something that callers see has changed.
    pub(crate) fn note(&mut self, now: Timestamp) {
        self.revision_id = uuid::Uuid::new_v4().to_string();
        self.modified_at = now;
    }
}
