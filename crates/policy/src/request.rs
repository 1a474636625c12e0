use std::collections::BTreeMap;

use crate::Principal;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// Such as `ec2:RunInstances`.
    pub action: &'a str,
    /// An ARN, or `*` where the request names none.
    pub resource: &'a str,
    /// What else is true.
    pub facts: &'a dyn Facts,
}

/// The values of condition keys.
pub trait Facts {
    /// The values of a key, which is given in lower case, such as `aws:sourceip`; `None` when the request
    /// has no such key.
    fn values(&self, key: &str) -> Option<Vec<String>>;

    /// Whether requests of this kind have the key at AWS, but its values cannot be told here. A denial that depends
    /// on such a key applies and an allowance does not, so that neither fails open. The key is in lower case.
    fn cannot_tell(&self, _key: &str) -> bool {
        false
    }
}

/// Values of condition keys in a map. Keys are compared without regard to case.
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
