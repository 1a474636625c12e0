//! Authorities that sign.

use lath_model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::key::{KeyAlgorithm, PrivateKey};
use crate::names::{Subject, numbers};

/// Why a certificate cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A name or a date cannot stand in a certificate.
    #[error("a name or a date cannot stand in a certificate")]
    Unwritable,
    /// The key cannot sign in that way.
    #[error("the key of the authority cannot sign in that way")]
    Key,
    /// Signing failed.
    #[error("a certificate cannot be signed")]
    Signing(#[from] rcgen::Error),
}

/// How an authority signs, by ACM PCA's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignatureAlgorithm {
    /// RSA and SHA-256.
    #[serde(rename = "SHA256WITHRSA")]
    Sha256Rsa,
    /// RSA and SHA-384.
    #[serde(rename = "SHA384WITHRSA")]
    Sha384Rsa,
    /// RSA and SHA-512.
    #[serde(rename = "SHA512WITHRSA")]
    Sha512Rsa,
    /// ECDSA and SHA-256.
    #[serde(rename = "SHA256WITHECDSA")]
    Sha256Ecdsa,
    /// ECDSA and SHA-384.
    #[serde(rename = "SHA384WITHECDSA")]
    Sha384Ecdsa,
    /// ECDSA and SHA-512.
    #[serde(rename = "SHA512WITHECDSA")]
    Sha512Ecdsa,
}

impl SignatureAlgorithm {
    /// What a key signs with unless something else is asked for.
    pub fn of(key: KeyAlgorithm) -> Self {
        match key {
            KeyAlgorithm::P256 => Self::Sha256Ecdsa,
            KeyAlgorithm::P384 => Self::Sha384Ecdsa,
            KeyAlgorithm::P521 => Self::Sha512Ecdsa,
            _ => Self::Sha256Rsa,
        }
    }

    /// Whether a key can sign so. Keys of curves sign with the hash of their size; those of P-521 with any.
    pub fn fits(self, key: KeyAlgorithm) -> bool {
        self.with(key).is_some()
    }

    fn with(self, key: KeyAlgorithm) -> Option<&'static rcgen::SignatureAlgorithm> {
        use KeyAlgorithm::{P256, P384, P521};
        Some(match (self, key) {
            (Self::Sha256Rsa, it) if it.is_rsa() => &rcgen::PKCS_RSA_SHA256,
            (Self::Sha384Rsa, it) if it.is_rsa() => &rcgen::PKCS_RSA_SHA384,
            (Self::Sha512Rsa, it) if it.is_rsa() => &rcgen::PKCS_RSA_SHA512,
            (Self::Sha256Ecdsa, P256) => &rcgen::PKCS_ECDSA_P256_SHA256,
            (Self::Sha384Ecdsa, P384) => &rcgen::PKCS_ECDSA_P384_SHA384,
            (Self::Sha256Ecdsa, P521) => &rcgen::PKCS_ECDSA_P521_SHA256,
            (Self::Sha384Ecdsa, P521) => &rcgen::PKCS_ECDSA_P521_SHA384,
            (Self::Sha512Ecdsa, P521) => &rcgen::PKCS_ECDSA_P521_SHA512,
            _ => return None,
        })
    }
}

/// What a certificate's holder may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// No certificates.
    Leaf,
    /// Certificates, with at most so many authorities below.
    Authority(Option<u8>),
}

/// What a certificate says beside its key and its issuer.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Whom it certifies.
    pub subject: Subject,
    /// DNS names.
    pub names: Vec<String>,
    /// URIs, such as a SPIFFE id.
    pub uris: Vec<String>,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Whether it is an authority's.
    pub constraint: Constraint,
    /// The bits of `KeyUsage`, the first being `digitalSignature`.
    pub key_usages: u16,
    /// The object identifiers of `ExtendedKeyUsage`.
    pub extended_key_usages: Vec<String>,
    /// Of an authority: whether what it signs may name no hosts, addresses and mailboxes.
    pub names_no_hosts: bool,
}

/// An authority that signs.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

fn pair(key: &PrivateKey, algorithm: SignatureAlgorithm) -> Result<KeyPair, IssueError> {
    let algorithm = algorithm.with(key.algorithm()).ok_or(IssueError::Key)?;
    let der = PrivatePkcs8KeyDer::from(key.reveal());
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm)?)
}

struct Public<'a> {
    bytes: &'a [u8],
    algorithm: KeyAlgorithm,
}

impl PublicKeyData for Public<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.bytes
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.algorithm {
            KeyAlgorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            _ => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl Signer {
    /// An authority without a certificate yet: it signs its own.
    ///
    /// # Errors
    /// The name cannot stand in a certificate, or the key cannot sign so.
    pub fn unsigned(
        key: &PrivateKey,
        algorithm: SignatureAlgorithm,
        subject: &Subject,
    ) -> Result<Self, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject.to_name().ok_or(IssueError::Unwritable)?;
        Ok(Self {
            issuer: Issuer::new(params, pair(key, algorithm)?),
            chain: Vec::new(),
        })
    }

    /// An authority with its certificate, and those above it but for the root.
    ///
    /// # Errors
    /// The certificate cannot be read, or the key cannot sign so.
    pub fn open(
        key: &PrivateKey,
        algorithm: SignatureAlgorithm,
        chain: Vec<Vec<u8>>,
    ) -> Result<Self, IssueError> {
        let own = chain.first().ok_or(IssueError::Key)?;
        let own = CertificateDer::from(own.as_slice());
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&own, pair(key, algorithm)?)?,
            chain,
        })
    }

    /// The certificates that lead from what it signs to a root, its own first.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Certifies a key.
    ///
    /// # Errors
    /// What the profile says cannot stand in a certificate, or signing fails.
    pub fn sign(
        &self,
        public: &[u8],
        algorithm: KeyAlgorithm,
        profile: &Profile,
    ) -> Result<Certificate, IssueError> {
        let mut params = params(profile)?;
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        let public = Public {
            bytes: public,
            algorithm,
        };
        let signed = params.signed_by(&public, &self.issuer)?;
        Certificate::parse(signed.der()).map_err(|_| IssueError::Unwritable)
    }
}

/// A request for the certificate of an authority, PEM.
///
/// # Errors
/// The name cannot stand in a certificate, or the key cannot sign so.
pub fn signing_request(
    key: &PrivateKey,
    algorithm: SignatureAlgorithm,
    subject: &Subject,
) -> Result<String, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.to_name().ok_or(IssueError::Unwritable)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params.serialize_request(&pair(key, algorithm)?)?.pem()?)
}

/// 127 bits: unlike a digest of the key they differ when a certificate is renewed.
fn serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| IssueError::Key)?;
    // Neither negative nor shorter than the others.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from(bytes.to_vec()))
}

fn params(profile: &Profile) -> Result<CertificateParams, IssueError> {
    const USAGES: [KeyUsagePurpose; 9] = [
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::ContentCommitment,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::DataEncipherment,
        KeyUsagePurpose::KeyAgreement,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::EncipherOnly,
        KeyUsagePurpose::DecipherOnly,
    ];
    let mut params = CertificateParams::default();
    params.distinguished_name = profile.subject.to_name().ok_or(IssueError::Unwritable)?;
    params.not_before = moment(profile.not_before)?;
    params.not_after = moment(profile.not_after)?;
    params.is_ca = match profile.constraint {
        Constraint::Leaf => IsCa::ExplicitNoCa,
        Constraint::Authority(None) => IsCa::Ca(BasicConstraints::Unconstrained),
        Constraint::Authority(Some(most)) => IsCa::Ca(BasicConstraints::Constrained(most)),
    };
    let usages = USAGES.iter().enumerate();
    let usages = usages.filter(|(bit, _)| profile.key_usages >> bit & 1 == 1);
    params.key_usages = usages.map(|(_, usage)| *usage).collect();
    for oid in &profile.extended_key_usages {
        let numbers = numbers(oid).ok_or(IssueError::Unwritable)?;
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::Other(numbers));
    }
    if profile.names_no_hosts {
        // An empty subtree is that of all names (RFC 5280 section 4.2.1.10).
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![
                GeneralSubtree::DnsName(String::new()),
                GeneralSubtree::Rfc822Name(String::new()),
                GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
                GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
            ],
        });
    }
    for name in &profile.names {
        let name = name.as_str().try_into()?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for uri in &profile.uris {
        let uri = uri.as_str().try_into()?;
        params.subject_alt_names.push(SanType::URI(uri));
    }
    Ok(params)
}

/// Certificates know seconds, up to the year 9999.
fn moment(at: Timestamp) -> Result<OffsetDateTime, IssueError> {
    OffsetDateTime::from_unix_timestamp(at.as_millis().div_euclid(1000))
        .ok()
        .filter(|it| (1950..=9999).contains(&it.year()))
        .ok_or(IssueError::Unwritable)
}
