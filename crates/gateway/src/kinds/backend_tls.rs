//! BackendTLSPolicies.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Condition, ParentRef, field};

/// What the controller reads of a policy. Each field is read by itself: a policy must not be overlooked, and its targets not be
/// trusted, because something in it cannot be read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Value")]
pub(crate) struct BackendTlsSpec {
    pub(crate) target_refs: Vec<SectionRef>,
    pub(crate) validation: Validation,
    /// Whether it has options.
    pub(crate) has_options: bool,
    /// The fields that are there and cannot be read.
    pub(crate) unread: Vec<String>,
}

impl From<Value> for BackendTlsSpec {
    fn from(value: Value) -> Self {
        let mut unread = Vec::new();
        let options = value.get("options").and_then(Value::as_object);
        let has_options = options.is_some_and(|it| !it.is_empty());
        Self {
            target_refs: field(&value, "targetRefs", &mut unread).unwrap_or_default(),
            validation: field(&value, "validation", &mut unread).unwrap_or_default(),
            has_options,
            unread,
        }
    }
}

/// What a policy is for: an object of its namespace, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SectionRef {
    #[serde(default)]
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) section_name: Option<String>,
}

/// How targets prove who they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Validation {
    #[serde(rename = "caCertificateRefs", default)]
    pub(crate) ca_certificate_refs: Vec<Value>,
    #[serde(rename = "wellKnownCACertificates")]
    pub(crate) well_known: Option<String>,
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) subject_alt_names: Vec<SubjectAltName>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct SubjectAltName {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uri: Option<String>,
}

/// Of the entries of ancestors, only those of this controller are understood: the others stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct PolicyStatus {
    #[serde(default)]
    pub(crate) ancestors: Vec<Value>,
}

/// An entry of this controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AncestorStatus {
    pub(crate) ancestor_ref: ParentRef,
    pub(crate) controller_name: String,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}
