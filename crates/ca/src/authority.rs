//! The installation's own authority, and how private keys are kept.

use std::fmt;
use std::time::Duration;

use lath_model::Timestamp;
use lath_session::{Purpose, SealingKey};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::key::{KeyAlgorithm, KeyError, PrivateKey};
use crate::names::Subject;
use crate::signer::{Constraint, IssueError, Profile, SignatureAlgorithm, Signer};

/// How long the root is valid.
const ROOT_LIFE: Duration = Duration::from_secs(86400 * 3650);
/// Clocks of clients may be late.
const SLACK: Duration = Duration::from_secs(300);
/// `digitalSignature`.
const SIGNATURE: u16 = 1;
/// `keyEncipherment`, which clients of TLS 1.2 may ask of RSA keys.
const ENCIPHERMENT: u16 = 1 << 2;
/// `keyCertSign` and `cRLSign`.
const AUTHORITY: u16 = 1 << 5 | 1 << 6;

/// A private key, sealed with the installation's key: only an [`Authority`] opens it. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(String);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

/// The authority as the installation keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Stored {
    /// The root, PEM.
    pub certificate: String,
    /// Its key.
    pub private_key: Sealed,
}

/// What a server needs to speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usable {
    /// Certificates as they are sent, DER: the leaf first, then those above it.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key.
    pub key: PrivateKey,
    /// The DNS names that the leaf is for, wildcards as written.
    pub names: Vec<String>,
    /// The kind of the key.
    pub key_algorithm: KeyAlgorithm,
    /// When the leaf ends.
    pub not_after: Timestamp,
}

/// The installation's private authority: a root that signs, and the key that seals the private keys which the state holds.
pub struct Authority {
    signer: Signer,
    root: Certificate,
    sealing: SealingKey,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl Authority {
    /// Makes a new root, valid for ten years from now, its key on P-256.
    ///
    /// # Errors
    /// The host gives no random numbers.
    pub fn generate(sealing: &SealingKey, now: Timestamp) -> Result<Stored, IssueError> {
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(|_| IssueError::Key)?;
        let mark: String = key
            .public()
            .iter()
            .rev()
            .take(4)
            .map(|it| format!("{it:02x}"))
            .collect();
        // A host may trust several installations: their roots have different names.
        let subject = Subject::default()
            .with("2.5.4.10", "Lath")
            .with("2.5.4.3", format!("Lath Root CA {mark}"));
        let algorithm = SignatureAlgorithm::Sha256Ecdsa;
        let profile = Profile {
            subject: subject.clone(),
            names: Vec::new(),
            uris: Vec::new(),
            not_before: before(now),
            not_after: now.plus(ROOT_LIFE),
            constraint: Constraint::Authority(None),
            key_usages: AUTHORITY | SIGNATURE,
            extended_key_usages: Vec::new(),
            names_no_hosts: false,
        };
        let signer = Signer::unsigned(&key, algorithm, &subject)?;
        let root = signer.sign(key.public(), key.algorithm(), &profile)?;
        Ok(Stored {
            certificate: root.pem(),
            private_key: seal(sealing, &key),
        })
    }

    /// Opens what was stored; `None` if it is malformed, or was sealed with another key.
    pub fn open(stored: &Stored, sealing: SealingKey) -> Option<Self> {
        let mut root = Certificate::all_from_pem(stored.certificate.as_bytes()).ok()?;
        let root = root.pop().filter(|_| root.is_empty())?;
        let key = unseal(&sealing, &stored.private_key)?;
        if key.public() != root.public {
            return None;
        }
        let algorithm = SignatureAlgorithm::of(key.algorithm());
        let signer = Signer::open(&key, algorithm, vec![root.der.clone()]).ok()?;
        Some(Self {
            signer,
            root,
            sealing,
        })
    }

    /// One that nothing keeps, for tests.
    ///
    /// # Errors
    /// The host gives no random numbers.
    pub fn random(now: Timestamp) -> Result<Self, IssueError> {
        let sealing = SealingKey::random();
        let stored = Self::generate(&sealing, now)?;
        Self::open(&stored, sealing).ok_or(IssueError::Key)
    }

    /// The root.
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// The root, PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// Seals a private key for the state.
    pub fn seal(&self, key: &PrivateKey) -> Sealed {
        seal(&self.sealing, key)
    }

    /// Opens a private key of the state; `None` if it was sealed with another key.
    pub fn unseal(&self, sealed: &Sealed) -> Option<PrivateKey> {
        unseal(&self.sealing, sealed)
    }

    /// Certifies a server's key for DNS names, the first of which is the common name.
    ///
    /// # Errors
    /// A name is none, or signing fails.
    pub fn certify(
        &self,
        key: &PrivateKey,
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Certificate, IssueError> {
        let profile = server(key.algorithm(), names, lifetime, now);
        self.signer.sign(key.public(), key.algorithm(), &profile)
    }

    /// A new key on P-256 and its certificate for DNS names.
    ///
    /// # Errors
    /// A name is none, or the host gives no random numbers.
    pub fn issue(
        &self,
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Usable, IssueError> {
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(|_| IssueError::Key)?;
        let leaf = self.certify(&key, names, lifetime, now)?;
        Ok(Usable {
            names: leaf.dns_names.clone(),
            key_algorithm: key.algorithm(),
            not_after: leaf.not_after,
            chain: vec![leaf.der],
            key,
        })
    }
}

impl Authority {
    /// The trust domain of workloads' names (SPIFFE), another one for each installation: `lath-` and the root's mark.
    pub fn trust_domain(&self) -> String {
        let name = self.root.subject.common_name().unwrap_or_default();
        let mark = name.rsplit(' ').next().unwrap_or_default();
        format!("lath-{}", mark.to_ascii_lowercase())
    }

    /// An authority that certifies the workloads of a region: it may sign leaves that name URIs alone.
    ///
    /// # Errors
    /// The host gives no random numbers.
    pub fn workload_authority(
        &self,
        region: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Usable, IssueError> {
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(|_| IssueError::Key)?;
        let profile = Profile {
            subject: Subject::default()
                .with("2.5.4.10", "Lath")
                .with("2.5.4.3", format!("Lath Workloads {region}")),
            names: Vec::new(),
            uris: Vec::new(),
            not_before: before(now),
            not_after: now.plus(lifetime),
            constraint: Constraint::Authority(Some(0)),
            key_usages: AUTHORITY | SIGNATURE,
            extended_key_usages: Vec::new(),
            names_no_hosts: true,
        };
        let made = self.signer.sign(key.public(), key.algorithm(), &profile)?;
        Ok(Usable {
            names: Vec::new(),
            key_algorithm: key.algorithm(),
            not_after: made.not_after,
            chain: vec![made.der],
            key,
        })
    }
}

/// The profile of a server's certificate.
pub(crate) fn server(
    algorithm: KeyAlgorithm,
    names: &[String],
    lifetime: Duration,
    now: Timestamp,
) -> Profile {
    // A common name has at most 64 characters (RFC 5280, upper bounds); the names stand in the extension.
    let common = names.iter().find(|it| it.chars().count() <= 64);
    let subject = common.map(Subject::common).unwrap_or_default();
    let encipherment = if algorithm.is_rsa() { ENCIPHERMENT } else { 0 };
    Profile {
        subject,
        names: names.to_vec(),
        uris: Vec::new(),
        not_before: before(now),
        not_after: now.plus(lifetime),
        constraint: Constraint::Leaf,
        key_usages: SIGNATURE | encipherment,
        extended_key_usages: ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
            .map(str::to_owned)
            .to_vec(),
        names_no_hosts: false,
    }
}

fn before(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - SLACK.as_millis() as i64)
}

fn seal(sealing: &SealingKey, key: &PrivateKey) -> Sealed {
    Sealed(sealing.seal(Purpose::Certificate, key.reveal()))
}

fn unseal(sealing: &SealingKey, sealed: &Sealed) -> Option<PrivateKey> {
    let plain = sealing.open(Purpose::Certificate, &sealed.0)?;
    let plain = zeroize::Zeroizing::new(plain);
    PrivateKey::from_pkcs8(&plain).ok()
}

/// Errors about keys are errors of signing.
impl From<KeyError> for IssueError {
    fn from(_: KeyError) -> Self {
        Self::Key
    }
}
