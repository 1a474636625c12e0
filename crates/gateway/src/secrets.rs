//! Secrets with certificates, as listeners of Gateways name them.

use k8s_openapi::api::core::v1 as core;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::authorities::Authorities;
use crate::world::Name;

/// The type of the Secrets that are read; others are not asked for.
pub(crate) const TLS: &str = "type=kubernetes.io/tls";

/// A certificate with its chain and key, as PEM. Never printed.
#[derive(PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) certificate: String,
    pub(crate) chain: Option<String>,
    pub(crate) key: String,
    /// Changes with the content.
    pub(crate) hash: String,
    /// Why it cannot be a certificate.
    pub(crate) fault: Option<&'static str>,
    /// Those of its `ca.crt`, if it has one.
    pub(crate) authorities: Option<Authorities>,
}

/// The blocks of PEM with some labels, each from its first line to its last.
pub(crate) fn blocks(text: &str, is_label: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<(String, Vec<&str>)> = None;
    for line in text.lines().map(str::trim) {
        let label = |before: &str| line.strip_prefix(before)?.strip_suffix("-----");
        if let Some(label) = label("-----BEGIN ").filter(|it| is_label(it)) {
            block = Some((label.to_owned(), vec![line]));
            continue;
        }
        let Some((begun, lines)) = &mut block else {
            continue;
        };
        lines.push(line);
        if label("-----END ") == Some(begun) {
            if lines.len() > 2 {
                found.push(lines.join("\n") + "\n");
            }
            block = None;
        }
    }
    found
}

impl From<core::Secret> for Secret {
    fn from(secret: core::Secret) -> Self {
        let mut data = secret.data.unwrap_or_default();
        let mut text = |name: &str| {
            let bytes = data.remove(name).map(|it| it.0).unwrap_or_default();
            String::from_utf8(bytes).unwrap_or_default()
        };
        let (certificates, key) = (text("tls.crt"), text("tls.key"));
        let authorities = Some(text("ca.crt")).filter(|it| !it.is_empty());
        let mut hash = Sha256::new();
        hash.update(certificates.as_bytes());
        hash.update([0]);
        hash.update(key.as_bytes());
        let hash = hash.finalize();
        let hash = hash.iter().take(16).map(|it| format!("{it:02x}"));
        let mut certificates = blocks(&certificates, |it| it == "CERTIFICATE").into_iter();
        let certificate = certificates.next();
        let key = blocks(&key, |it| it.ends_with("PRIVATE KEY"))
            .into_iter()
            .next();
        let fault = match (&certificate, &key) {
            (None, _) => Some("tls.crt has no certificate in PEM"),
            (_, None) => Some("tls.key has no private key in PEM"),
            _ => None,
        };
        let chain: String = certificates.collect();
        Self {
            certificate: certificate.unwrap_or_default(),
            chain: (!chain.is_empty()).then_some(chain),
            key: key.unwrap_or_default(),
            hash: hash.collect(),
            fault,
            authorities: authorities.map(|it| Authorities::of_text(&it)),
        }
    }
}

/// A reference to an object.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ObjectRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

impl ObjectRef {
    /// What cannot be read names nothing.
    pub(crate) fn of(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    /// Whether it is to one of a group and kind at all; without a kind, to a Secret.
    pub(crate) fn is_to(&self, group: &str, kind: &str) -> bool {
        self.group.as_deref().unwrap_or_default() == group
            && self.kind.as_deref().unwrap_or("Secret") == kind
            && !self.name.is_empty()
    }

    /// Whether it is to a Secret at all.
    pub(crate) fn is_to_secret(&self) -> bool {
        self.is_to("", "Secret")
    }

    /// What it names, from a namespace.
    pub(crate) fn at(&self, namespace: &str) -> Name {
        Name::new(self.namespace.as_deref().unwrap_or(namespace), &self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn a_chain_is_told_from_its_first_certificate() {
        let pem = |label: &str, text: &str| {
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        let chain = format!(
            "{}junk\n{}",
            pem("CERTIFICATE", "AAAA"),
            pem("CERTIFICATE", "BBBB")
        );
        let made = |certificates: &str, key: &str| {
            let data = [("tls.crt", certificates), ("tls.key", key)];
            let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.into())));
            let data = Some(BTreeMap::from(data));
            Secret::from(core::Secret {
                data,
                ..core::Secret::default()
            })
        };
        let key = pem("EC PRIVATE KEY", "CCCC");
        let good = made(&chain, &key);
        assert_eq!(good.certificate, pem("CERTIFICATE", "AAAA"));
        assert_eq!(good.chain, Some(pem("CERTIFICATE", "BBBB")));
        assert_eq!((good.key.as_str(), good.fault), (key.as_str(), None));
        assert_ne!(good.hash, made(&chain, &pem("PRIVATE KEY", "CCCC")).hash);
        for (certificates, key) in [("Hello world", "Hello world"), (&chain, "no"), ("", &key)] {
            assert!(
                made(certificates, key).fault.is_some(),
                "{certificates} {key}"
            );
        }
    }
}
