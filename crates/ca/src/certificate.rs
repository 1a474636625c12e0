//! Certificates, also those that callers bring.

use lath_model::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::key::KeyAlgorithm;
use crate::names::Subject;
use crate::pem;

/// The longest certificate that is read, in bytes.
const LONGEST: usize = 64 << 10;

/// Not a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no certificate")]
pub struct Malformed;

/// What a certificate's key may be used for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usages {
    /// The bits of `KeyUsage`, the first being `digitalSignature`; `None` where the extension is not there.
    pub key: Option<u16>,
    /// The object identifiers of `ExtendedKeyUsage`.
    pub extended: Vec<String>,
}

impl Usages {
    /// Whether one of the bits of `KeyUsage` is set.
    pub fn has(&self, bit: u16) -> bool {
        self.key.is_some_and(|bits| bits >> bit & 1 == 1)
    }
}

/// A certificate: its bytes, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// DER.
    pub der: Vec<u8>,
    /// The version of X.509, from 1; TLS needs 3.
    pub version: u32,
    /// Whom it certifies.
    pub subject: Subject,
    /// Who signed it.
    pub issuer: Subject,
    /// Its number, bytes in hexadecimal with colons between them.
    pub serial: String,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// The DNS names that it is for.
    pub dns_names: Vec<String>,
    /// The URIs that it is for, such as a SPIFFE id.
    pub uris: Vec<String>,
    /// The kind of its key; `None` where [`KeyAlgorithm`] has none.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Its public key as [`crate::PrivateKey::public`] shows it.
    pub public: Vec<u8>,
    /// How it is signed, as ACM names it: `SHA256WITHRSA`.
    pub signature_algorithm: String,
    /// What its key may be used for.
    pub usages: Usages,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// How many authorities may stand between it and a leaf, where that is bounded.
    pub path_length: Option<u32>,
    pub(crate) subject_der: Vec<u8>,
    pub(crate) issuer_der: Vec<u8>,
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) signature_oid: String,
}

impl Certificate {
    /// Reads one certificate, DER.
    ///
    /// # Errors
    /// It is none, or more.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > LONGEST {
            return Err(Malformed);
        }
        let (rest, read) = X509Certificate::from_der(der).map_err(|_| Malformed)?;
        if !rest.is_empty() {
            return Err(Malformed);
        }
        let signed_length = read.tbs_certificate.as_ref().len();
        debug_assert!(signed_length < der.len());
        let constraints = read.basic_constraints().map_err(|_| Malformed)?;
        let constraints = constraints.map(|it| it.value);
        let key_usage = read.key_usage().map_err(|_| Malformed)?;
        let extended = read.extended_key_usage().map_err(|_| Malformed)?;
        let names = read.subject_alternative_name().map_err(|_| Malformed)?;
        let names = names.map(|it| it.value.general_names.as_slice());
        let names = names.unwrap_or_default();
        let spki = read.public_key();
        let signature_oid = read.signature_algorithm.algorithm.to_id_string();
        Ok(Self {
            // It is counted from 0 there.
            version: read.version().0.saturating_add(1),
            subject: Subject::of(read.subject()),
            issuer: Subject::of(read.issuer()),
            serial: hexadecimal(read.raw_serial()),
            not_before: moment(read.validity().not_before.timestamp()),
            not_after: moment(read.validity().not_after.timestamp()),
            dns_names: dns_names(names),
            uris: uris(names),
            key_algorithm: key_algorithm(spki),
            public: spki.subject_public_key.data.to_vec(),
            signature_algorithm: signature_name(&signature_oid),
            usages: Usages {
                key: key_usage.map(|it| it.value.flags),
                extended: extended
                    .map(|it| extended_oids(it.value))
                    .unwrap_or_default(),
            },
            is_authority: constraints.is_some_and(|it| it.ca),
            path_length: constraints.and_then(|it| it.path_len_constraint),
            subject_der: read.subject().as_raw().to_vec(),
            issuer_der: read.issuer().as_raw().to_vec(),
            signed: read.tbs_certificate.as_ref().to_vec(),
            signature: read.signature_value.data.to_vec(),
            signature_oid,
            der: der.to_vec(),
        })
    }

    /// Reads the certificates in a PEM text; text between them is passed over.
    ///
    /// # Errors
    /// There is none, one is malformed, or something else is there.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, Malformed> {
        let blocks = pem::blocks(text).ok_or(Malformed)?;
        if blocks.is_empty() || blocks.iter().any(|it| it.label != "CERTIFICATE") {
            return Err(Malformed);
        }
        blocks.iter().map(|it| Self::parse(&it.bytes)).collect()
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// Whether it certifies its own issuer by name.
    pub fn names_itself(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// The names that a server with it answers to: the DNS names, or the common name where there are none.
    pub fn names(&self) -> Vec<String> {
        if !self.dns_names.is_empty() {
            return self.dns_names.clone();
        }
        self.subject
            .common_name()
            .map(str::to_owned)
            .into_iter()
            .collect()
    }
}

/// The DNS names among alternative names.
pub(crate) fn dns_names(names: &[GeneralName<'_>]) -> Vec<String> {
    let named = names.iter().filter_map(|it| match it {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    named.collect()
}

/// The URIs among alternative names.
pub(crate) fn uris(names: &[GeneralName<'_>]) -> Vec<String> {
    let named = names.iter().filter_map(|it| match it {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    named.collect()
}

fn extended_oids(it: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (it.any, "2.5.29.37.0"),
        (it.server_auth, "1.3.6.1.5.5.7.3.1"),
        (it.client_auth, "1.3.6.1.5.5.7.3.2"),
        (it.code_signing, "1.3.6.1.5.5.7.3.3"),
        (it.email_protection, "1.3.6.1.5.5.7.3.4"),
        (it.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (it.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    let known = known.iter().filter(|(is_set, _)| *is_set);
    let known = known.map(|(_, oid)| (*oid).to_owned());
    known
        .chain(it.other.iter().map(|oid| oid.to_id_string()))
        .collect()
}

/// Times beyond what fits are as far as one can say.
fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// Bytes as `07:71:f4`.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|it| format!("{it:02x}")).collect();
    bytes.join(":")
}

pub(crate) fn key_algorithm(spki: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    match spki.parsed().ok()? {
        PublicKey::RSA(key) => {
            let modulus = key.modulus.iter().skip_while(|it| **it == 0).count();
            KeyAlgorithm::of_modulus(modulus)
        }
        PublicKey::EC(_) => curve(&spki.algorithm),
        _ => None,
    }
}

fn curve(algorithm: &AlgorithmIdentifier<'_>) -> Option<KeyAlgorithm> {
    let oid = algorithm.parameters.as_ref()?.as_oid().ok()?;
    match oid.to_id_string().as_str() {
        "1.2.840.10045.3.1.7" => Some(KeyAlgorithm::P256),
        "1.3.132.0.34" => Some(KeyAlgorithm::P384),
        "1.3.132.0.35" => Some(KeyAlgorithm::P521),
        _ => None,
    }
}

/// How ACM names a signature's algorithm.
fn signature_name(oid: &str) -> String {
    let name = match oid {
        "1.2.840.113549.1.1.5" => "SHA1WITHRSA",
        "1.2.840.113549.1.1.11" => "SHA256WITHRSA",
        "1.2.840.113549.1.1.12" => "SHA384WITHRSA",
        "1.2.840.113549.1.1.13" => "SHA512WITHRSA",
        "1.2.840.10045.4.3.2" => "SHA256WITHECDSA",
        "1.2.840.10045.4.3.3" => "SHA384WITHECDSA",
        "1.2.840.10045.4.3.4" => "SHA512WITHECDSA",
        other => other,
    };
    name.to_owned()
}
