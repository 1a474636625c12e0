use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Pods of a namespace: one by its name, or all that a selector of labels matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pods {
    /// The namespace.
    pub namespace: String,
    /// Which of its pods.
    pub which: Which,
}

/// How pods are chosen in their namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// By name.
    Name(String),
    /// By labels, as `kubectl -l` takes them.
    Selector(String),
}

/// The text names no pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no pods: NAMESPACE/NAME or NAMESPACE/LABEL=VALUE")]
pub struct InvalidPods(String);

impl FromStr for Pods {
    type Err = InvalidPods;
    fn from_str(text: &str) -> Result<Self, InvalidPods> {
        let wrong = || InvalidPods(text.chars().take(128).collect());
        // A label may have a slash too: the first one ends the namespace.
        let (namespace, rest) = text.split_once('/').ok_or_else(wrong)?;
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_label = |it: &str| (1..=63).contains(&it.len()) && it.bytes().all(inner);
        if !is_label(namespace) || text.len() > 1024 {
            return Err(wrong());
        }
        let is_name = rest.len() <= 253 && rest.split('.').all(is_label);
        let is_selector = |b: u8| b.is_ascii_graphic() || b == b' ';
        let which = match is_name {
            true => Which::Name(rest.to_owned()),
            // No name has one of these, and each selector of labels that match something has.
            false if rest.contains(['=', '(']) && rest.bytes().all(is_selector) => {
                Which::Selector(rest.to_owned())
            }
            false => return Err(wrong()),
        };
        let namespace = namespace.to_owned();
        Ok(Self { namespace, which })
    }
}

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Which::Name(rest) | Which::Selector(rest)) = &self.which;
        write!(f, "{}/{rest}", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_named_or_selected() {
        let name = |it: &str| Some(Which::Name(it.into()));
        let selector = |it: &str| Some(Which::Selector(it.into()));
        for (text, want) in [
            ("default/web-0", name("web-0")),
            ("default/web.a", name("web.a")),
            ("default/app=web", selector("app=web")),
            (
                "default/example.com/app!=web",
                selector("example.com/app!=web"),
            ),
            ("default/app in (a, b)", selector("app in (a, b)")),
            ("web-0", None),
            ("default/", None),
            ("default/..", None),
            ("default/../secrets", None),
            ("../default/app=web", None),
            ("default/app=web\n", None),
        ] {
            let got = text.parse::<Pods>();
            assert_eq!(got.as_ref().ok().map(|it| it.which.clone()), want, "{text}");
            assert!(got.is_err() || got.unwrap().to_string() == text);
        }
    }
}
