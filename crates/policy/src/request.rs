use std::collections::BTreeMap;

use crate::Principal;

/// A request to decide.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// The action, such as `ec2:RunInstances`.
    pub action: &'a str,
    /// The resource's ARN, or `*` if the request names none.
    pub resource: &'a str,
    /// The condition keys.
    pub facts: &'a dyn Facts,
}

/// The values of condition keys.
pub trait Facts {
    /// The values of a key; `None` when the request does not have it. The key is in lower case, such as
    /// `aws:sourceip`.
    fn values(&self, key: &str) -> Option<Vec<String>>;

    /// Whether requests of this kind have the key in AWS, but its values are unknown here. A deny that depends
    /// on such a key applies and an allow does not, so that neither fails open. The key is in lower case.
    fn is_unknown(&self, _key: &str) -> bool {
        false
    }
}

/// A map of condition keys. Keys ignore case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// Sets a key to one value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_ascii_lowercase(), vec![value.into()]);
    }

    /// Sets a key to several values.
    pub fn set_all(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let values = values.into_iter().collect();
        self.0.insert(key.to_ascii_lowercase(), values);
    }

    /// Sets a key to one value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }
}

impl Facts for Context {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        self.0.get(key).cloned()
    }
}
