//! Parts that many requests and answers share.

use lath_service::Asks;
use serde::{Deserialize, Serialize};

/// The answer of an operation that AWS's model gives none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Nothing {}

/// The answer of an operation that only tells that it was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    #[serde(rename = "return")]
    pub(crate) done: bool,
}

impl Done {
    /// It was.
    pub(crate) const YES: Self = Self { done: true };
}

/// A boolean that is set to something, or left alone.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BooleanInput {
    pub(crate) value: Option<bool>,
}

impl BooleanInput {
    /// The value, in the words of policies.
    pub(crate) fn text(input: Option<Self>) -> Option<String> {
        Some(input?.value?.to_string())
    }
}

impl Asks for BooleanInput {
    fn asks(&self) -> bool {
        self.value == Some(true)
    }
}

/// A text that is set to something, or left alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TextInput {
    pub(crate) value: Option<String>,
}

/// A boolean attribute as it is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BooleanValue {
    pub(crate) value: bool,
}

/// A text attribute as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TextValue {
    pub(crate) value: String,
}
