//! What has a network of its own in a VPC, whatever service runs it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::InstanceId;

/// The longest name of a [`ManagedId`], in bytes: EKS's limit for a cluster's name.
const LONGEST_NAME: usize = 100;

/// Whose processes use an interface, answer on its addresses, and die in a drill.
///
/// As text an instance is its own id, and anything else `KIND:NAME`. The text is also the name under which the
/// fabric pins the workload's network namespace, so it never holds what a file name cannot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WorkloadId {
    /// An EC2 instance.
    Instance(InstanceId),
    /// What another service runs for the account. To EC2 its interfaces are requester-managed: attached to no
    /// instance of the account.
    Managed(ManagedId),
}

/// The id of a workload that is no EC2 instance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManagedId {
    kind: ManagedKind,
    /// `KIND:NAME`.
    text: Arc<str>,
}

/// What a workload is that is no EC2 instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManagedKind {
    /// The control plane of an EKS cluster, by the cluster's name.
    ControlPlane,
    /// A database instance, by its resource id.
    Database,
    /// A function, by its name.
    Function,
    /// A pod with interfaces of its own, by its UID. Most pods have none: their addresses are in a prefix of
    /// their node's interface, and belong to the node.
    Pod,
}

/// The text names no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no workload: an instance's id, or KIND:NAME with a KIND of {kinds}", kinds = kinds())]
pub struct InvalidWorkload {
    text: String,
}

fn kinds() -> String {
    ManagedKind::ALL.map(ManagedKind::as_str).join(", ")
}

impl ManagedKind {
    const ALL: [Self; 4] = [
        Self::ControlPlane,
        Self::Database,
        Self::Function,
        Self::Pod,
    ];

    /// The text before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Database => "db",
            Self::Function => "function",
            Self::Pod => "pod",
        }
    }
}

impl ManagedId {
    /// The workload of that kind and name: 1 to 100 letters, digits, hyphens, underscores and dots, the first
    /// one a letter or a digit.
    ///
    /// # Errors
    /// When the name has another form.
    pub fn new(kind: ManagedKind, name: &str) -> Result<Self, InvalidWorkload> {
        let text = format!("{}:{name}", kind.as_str());
        if !is_name(name) {
            return Err(invalid(&text));
        }
        Ok(Self {
            kind,
            text: text.into(),
        })
    }

    /// What it is.
    pub fn kind(&self) -> ManagedKind {
        self.kind
    }

    /// Its name among those of its kind.
    pub fn name(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, name)| name)
    }
}

impl WorkloadId {
    /// The whole id as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Instance(id) => id.as_str(),
            Self::Managed(id) => &id.text,
        }
    }

    /// The EC2 instance that it is, if it is one.
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Instance(id) => Some(id),
            Self::Managed(_) => None,
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(is_inner)
}

fn invalid(text: &str) -> InvalidWorkload {
    InvalidWorkload {
        text: text.chars().take(128).collect(),
    }
}

impl FromStr for WorkloadId {
    type Err = InvalidWorkload;
    fn from_str(text: &str) -> Result<Self, InvalidWorkload> {
        if text.contains(':') {
            return text.parse().map(Self::Managed);
        }
        let instance = text.parse().map(Self::Instance);
        instance.map_err(|_| invalid(text))
    }
}

impl FromStr for ManagedId {
    type Err = InvalidWorkload;
    fn from_str(text: &str) -> Result<Self, InvalidWorkload> {
        let parts = text.split_once(':').and_then(|(kind, name)| {
            let mut kinds = ManagedKind::ALL.into_iter();
            Some((kinds.find(|known| known.as_str() == kind)?, name))
        });
        let (kind, name) = parts.ok_or_else(|| invalid(text))?;
        Self::new(kind, name)
    }
}

impl TryFrom<String> for ManagedId {
    type Error = InvalidWorkload;
    fn try_from(text: String) -> Result<Self, InvalidWorkload> {
        text.parse()
    }
}

impl From<ManagedId> for String {
    fn from(id: ManagedId) -> Self {
        id.text.to_string()
    }
}

impl TryFrom<String> for WorkloadId {
    type Error = InvalidWorkload;
    fn try_from(text: String) -> Result<Self, InvalidWorkload> {
        text.parse()
    }
}

impl From<WorkloadId> for String {
    fn from(id: WorkloadId) -> Self {
        id.as_str().to_owned()
    }
}

impl From<InstanceId> for WorkloadId {
    fn from(id: InstanceId) -> Self {
        Self::Instance(id)
    }
}

impl From<ManagedId> for WorkloadId {
    fn from(id: ManagedId) -> Self {
        Self::Managed(id)
    }
}

impl PartialEq<InstanceId> for WorkloadId {
    fn eq(&self, other: &InstanceId) -> bool {
        self.instance() == Some(other)
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ManagedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_prints_and_parses_back() {
        let instance = WorkloadId::from(InstanceId::random());
        let managed = ManagedKind::ALL.map(|kind| ManagedId::new(kind, "a-1_b.c").unwrap().into());
        for id in managed.into_iter().chain([instance]) {
            assert_eq!(id.as_str().parse::<WorkloadId>().unwrap(), id);
        }
    }

    #[test]
    fn an_instance_prints_as_its_id_so_that_older_pins_and_records_name_it() {
        let id: InstanceId = "i-0123456789abcdef0".parse().unwrap();
        assert_eq!(WorkloadId::from(id.clone()).to_string(), id.to_string());
        assert_eq!(WorkloadId::from(id.clone()), id);
    }

    #[test]
    fn foreign_text_is_refused() {
        let long = format!("pod:{}", "a".repeat(LONGEST_NAME + 1));
        for text in [
            "",
            "pod",
            "pod:",
            ":a",
            "pod:..",
            "pod:a/b",
            "pod:a b",
            "vm:a",
            "vpc-12345678",
            "pod:a:b",
            "i-1",
            &long,
        ] {
            assert!(text.parse::<WorkloadId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_parts_are_told_apart() {
        let id = ManagedId::new(ManagedKind::ControlPlane, "prod").unwrap();
        assert_eq!((id.kind(), id.name()), (ManagedKind::ControlPlane, "prod"));
        assert_eq!(WorkloadId::from(id).instance(), None);
    }
}
