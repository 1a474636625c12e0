//! The typed state: stacks, what they have made, what happened, and change sets.

use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_store::{Kinds, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hands::Authority;

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// What a stack is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Desired {
    pub(crate) template: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) topics: Vec<String>,
}

/// What is done when a create fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OnFailure {
    Nothing,
    Rollback,
    Delete,
}

/// What is being done to a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Each resource becomes what is desired.
    Apply,
    /// What a finished update no longer wants is removed.
    Clean,
    /// Everything is removed.
    Remove,
}

/// An output of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) description: Option<String>,
    pub(crate) export: Option<String>,
}

/// A stack, by its ARN's last part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stack {
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Option<Timestamp>,
    pub(crate) deleted: Option<Timestamp>,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) desired: Desired,
    /// What a failed update goes back to.
    pub(crate) previous: Option<Desired>,
    pub(crate) outputs: Vec<Output>,
    /// The names of other stacks' exports that it uses.
    pub(crate) imports: Vec<String>,
    pub(crate) role: Option<String>,
    /// Who asked for the work in progress.
    pub(crate) authority: Authority,
    pub(crate) on_failure: OnFailure,
    pub(crate) timeout_minutes: Option<i64>,
    pub(crate) is_protected: bool,
    pub(crate) token: Option<String>,
    pub(crate) work: Option<Work>,
    /// When the work began.
    pub(crate) began: Timestamp,
    /// Grows with each piece of work: a resource's state is of the one that it names.
    pub(crate) generation: u64,
    /// Resources that a deletion leaves.
    pub(crate) left: Vec<String>,
    /// The number of its events so far.
    pub(crate) events: u64,
    pub(crate) change_set: Option<String>,
}

impl Record for Stack {
    const KIND: &'static str = "cloudformation.stack";
    fn id(&self) -> String {
        self.uuid.clone()
    }
    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = Vec::new();
        if self.deleted.is_none() {
            keys.push(("name", self.name.clone()));
        }
        if self.work.is_some() {
            keys.push(("busy", String::new()));
        }
        keys
    }
}

/// Where a resource is between two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Nothing is being done.
    Rest,
    /// It is about to be made: whether it was is not known yet.
    Making,
    /// It is there, and what completes it is to be called.
    Completing,
    /// It is becoming ready.
    Settling,
    /// It is about to be removed.
    Removing,
    /// It is going away.
    Leaving,
}

/// Something that a resource was before an update replaced it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Former {
    pub(crate) physical: String,
    pub(crate) type_name: String,
    pub(crate) properties: Value,
    pub(crate) attributes: Value,
    pub(crate) is_retained: bool,
    pub(crate) since: Option<Timestamp>,
}

/// A resource of a stack, by `STACK/LOGICAL`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resource {
    pub(crate) stack: String,
    pub(crate) logical: String,
    pub(crate) type_name: String,
    /// Its id once it was made; before that the name that it gets, where it gets one.
    pub(crate) physical: String,
    pub(crate) is_made: bool,
    pub(crate) properties: Value,
    /// What it had before the update in progress.
    pub(crate) old: Option<Value>,
    pub(crate) attributes: Value,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) generation: u64,
    pub(crate) step: Step,
    /// Of the calls that make it: the same after a restart.
    pub(crate) token: String,
    pub(crate) is_retained: bool,
    pub(crate) needs: Vec<String>,
    pub(crate) former: Vec<Former>,
    /// The tags of the stack that it was given.
    pub(crate) stack_tags: BTreeMap<String, String>,
    /// Those that it had before the update in progress.
    pub(crate) old_stack_tags: BTreeMap<String, String>,
}

impl Resource {
    pub(crate) fn key(stack: &str, logical: &str) -> String {
        format!("{stack}/{logical}")
    }
}

impl Record for Resource {
    const KIND: &'static str = "cloudformation.resource";
    fn id(&self) -> String {
        Self::key(&self.stack, &self.logical)
    }
}

/// Something that happened to a stack or one of its resources, by `STACK/NUMBER`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) stack: String,
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) logical: String,
    pub(crate) physical: String,
    pub(crate) type_name: String,
    pub(crate) at: Timestamp,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) properties: Option<String>,
    pub(crate) token: Option<String>,
}

impl Event {
    pub(crate) fn key(stack: &str, number: u64) -> String {
        format!("{stack}/{number:010}")
    }
}

impl Record for Event {
    const KIND: &'static str = "cloudformation.event";
    fn id(&self) -> String {
        Self::key(&self.stack, self.number)
    }
}

/// What a change set would do to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) action: String,
    pub(crate) logical: String,
    pub(crate) physical: Option<String>,
    pub(crate) type_name: String,
    pub(crate) replacement: Option<String>,
    /// The properties that change, with whether each needs another resource.
    pub(crate) properties: Vec<(String, bool)>,
}

/// A change set, by its ARN's last part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChangeSet {
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) stack: String,
    pub(crate) kind: String,
    pub(crate) description: Option<String>,
    pub(crate) desired: Desired,
    pub(crate) role: Option<String>,
    pub(crate) on_failure: OnFailure,
    pub(crate) created: Timestamp,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) execution: String,
    pub(crate) changes: Vec<Planned>,
}

impl Record for ChangeSet {
    const KIND: &'static str = "cloudformation.change-set";
    fn id(&self) -> String {
        self.uuid.clone()
    }
    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("stack", self.stack.clone())]
    }
}

/// The record kinds that this crate keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    kinds
        .with::<Stack>()
        .with::<Resource>()
        .with::<Event>()
        .with::<ChangeSet>()
}
