//! Why a tree does not fit a type.

use std::fmt;

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// A required member is absent.
    Missing,
    /// The text is none of the enum's values.
    UnknownValue {
        /// What was given, cut to a sane length.
        value: String,
        /// What the enum knows.
        known: &'static [&'static str],
    },
    /// The value is of another type.
    WrongType(String),
    /// A newtype refused the value.
    Refused(String),
}

/// A misfit and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    path: Option<Vec<String>>,
    field: Option<&'static str>,
    /// What does not fit.
    pub misfit: Misfit,
}

impl DecodeError {
    pub(crate) fn new(misfit: Misfit) -> Self {
        Self {
            path: None,
            field: None,
            misfit,
        }
    }

    pub(crate) fn wrong(wanted: &str, got: &str) -> Self {
        Self::new(Misfit::WrongType(format!("expected {wanted}, got {got}")))
    }

    /// Notes where the error arose, unless something nearer has done so.
    pub(crate) fn locate(&mut self, path: &[String]) {
        if self.path.is_none() {
            self.path = Some(path.to_vec());
        }
    }

    /// The member's path, such as `action.forward.targetGroups.1.weight`; list members count from 1.
    pub fn member(&self) -> String {
        let mut path = self.path.clone().unwrap_or_default();
        path.extend(self.field.map(str::to_owned));
        path.join(".")
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.member();
        match &self.misfit {
            Misfit::Missing => write!(f, "{member}: the member is required"),
            Misfit::UnknownValue { known, .. } => {
                write!(f, "{member}: must be one of [{}]", known.join(", "))
            }
            Misfit::WrongType(text) | Misfit::Refused(text) => write!(f, "{member}: {text}"),
        }
    }
}

impl std::error::Error for DecodeError {}

fn cut(text: &str) -> String {
    text.chars().take(128).collect()
}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(Misfit::Refused(text.to_string()))
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new(Misfit::Missing);
        error.field = Some(field);
        error
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Misfit::UnknownValue {
            value: cut(variant),
            known: expected,
        })
    }

    fn invalid_type(
        unexpected: serde::de::Unexpected<'_>,
        expected: &dyn serde::de::Expected,
    ) -> Self {
        Self::new(Misfit::WrongType(format!(
            "expected {expected}, got {}",
            cut(&unexpected.to_string())
        )))
    }
}
