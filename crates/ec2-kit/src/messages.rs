//! Parts that many requests and answers share.

use lath_service::Asks;
use serde::{Deserialize, Serialize};

/// The answer of an operation that AWS's model gives none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Nothing {}

/// The answer of an operation that only tells that it was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// `true`.
    #[serde(rename = "return")]
    pub done: bool,
}

impl Done {
    /// It was.
    pub const YES: Self = Self { done: true };
}

/// A boolean that is set to something, or left alone.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BooleanInput {
    /// The value, if it is set.
    pub value: Option<bool>,
}

impl BooleanInput {
    /// The value, in the words of policies.
    pub fn text(input: Option<Self>) -> Option<String> {
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
pub struct TextInput {
    /// The value, if it is set.
    pub value: Option<String>,
}

/// A boolean attribute as it is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BooleanValue {
    /// The value.
    pub value: bool,
}

/// A text attribute as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextValue {
    /// The value.
    pub value: String,
}
