//! What a certificate says, in ACM's words.

use lath_ca::{Certificate, KeyAlgorithm, Subject, Usages};

use crate::shape::{ExtendedKeyUsage, ExtendedKeyUsageName, KeyUsageName};

const KEY_USAGES: [KeyUsageName; 9] = [
    KeyUsageName::DigitalSignature,
    KeyUsageName::NonRepudiation,
    KeyUsageName::KeyEncipherment,
    KeyUsageName::DataEncipherment,
    KeyUsageName::KeyAgreement,
    KeyUsageName::CertificateSigning,
    KeyUsageName::CrlSigning,
    KeyUsageName::EncipherOnly,
    KeyUsageName::DecipherOnly,
];

const EXTENDED: [(&str, ExtendedKeyUsageName); 10] = [
    ("1.3.6.1.5.5.7.3.1", ExtendedKeyUsageName::Server),
    ("1.3.6.1.5.5.7.3.2", ExtendedKeyUsageName::Client),
    ("1.3.6.1.5.5.7.3.3", ExtendedKeyUsageName::CodeSigning),
    ("1.3.6.1.5.5.7.3.4", ExtendedKeyUsageName::EmailProtection),
    ("1.3.6.1.5.5.7.3.8", ExtendedKeyUsageName::TimeStamping),
    ("1.3.6.1.5.5.7.3.9", ExtendedKeyUsageName::OcspSigning),
    ("1.3.6.1.5.5.7.3.5", ExtendedKeyUsageName::IpsecEndSystem),
    ("1.3.6.1.5.5.7.3.6", ExtendedKeyUsageName::IpsecTunnel),
    ("1.3.6.1.5.5.7.3.7", ExtendedKeyUsageName::IpsecUser),
    ("2.5.29.37.0", ExtendedKeyUsageName::Any),
];

/// The key usages; a certificate without the extension may be used for any.
pub(crate) fn key_usages(usages: &Usages) -> Vec<KeyUsageName> {
    if usages.key.is_none() {
        return vec![KeyUsageName::Any];
    }
    let bits = (0..).zip(KEY_USAGES);
    bits.filter(|(bit, _)| usages.has(*bit))
        .map(|(_, name)| name)
        .collect()
}

/// The extended key usages; `NONE` where there are none.
pub(crate) fn extended_key_usages(usages: &Usages) -> Vec<ExtendedKeyUsage> {
    if usages.extended.is_empty() {
        return vec![ExtendedKeyUsage {
            name: Some(ExtendedKeyUsageName::None),
            oid: Some(String::new()),
        }];
    }
    let usage = |oid: &String| {
        let known = EXTENDED.iter().find(|(known, _)| known == oid);
        ExtendedKeyUsage {
            name: Some(known.map_or(ExtendedKeyUsageName::Custom, |(_, name)| *name)),
            oid: Some(oid.clone()),
        }
    };
    usages.extended.iter().map(usage).collect()
}

/// `RSA-2048`: answers have hyphens where requests have underscores.
pub(crate) fn key_algorithm(it: KeyAlgorithm) -> String {
    it.name().replacen('_', "-", 1)
}

/// Who signed, as ACM shows it: the organization, else the common name.
pub(crate) fn issuer(name: &Subject) -> String {
    let shown = name.organization().or_else(|| name.common_name());
    shown.map_or_else(|| name.to_string(), str::to_owned)
}

/// The certificate of a PEM text that was checked before.
pub(crate) fn read(pem: &str) -> Option<Certificate> {
    Certificate::all_from_pem(pem.as_bytes())
        .ok()?
        .into_iter()
        .next()
}
