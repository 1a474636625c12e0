//! Keys and certificates of a cluster. One authority signs everything, servers and clients; all keys are P-256.
//!
//! The authority's certificate is renewed after half of its life, with its name and key. What the authority has signed or will
//! sign is believed by those who know either certificate, and the cluster hands out both: no two
//! parties have to change at the same time.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lath_clock::Clock;
use lath_feed::{ClusterKeys, Hidden};
use lath_model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// How long an authority is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// After this time it gets another certificate.
const RENEWED_DAYS: i64 = AUTHORITY_DAYS / 2;
/// The line before a certificate that the authority got later, with the time in seconds.
const RENEWED: &str = "# lath renewed ";
/// How long what it signs is valid, unless less is asked for.
pub const LEAF_DAYS: i64 = 365;
/// Clocks of clients may be late.
const SLACK: Duration = Duration::minutes(5);
/// What precedes the two coordinates in the encoding of a point of P-256.
const UNCOMPRESSED: u8 = 4;

/// A key or certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("a cluster's certificates cannot be made: {0}")]
pub struct PkiError(#[from] rcgen::Error);

/// Makes the keys of a new cluster: an authority valid for ten years from now, and what signs service account tokens.
///
/// # Errors
/// When the host gives no random numbers.
pub fn generate(now: Timestamp) -> Result<ClusterKeys, PkiError> {
    let key = KeyPair::generate()?;
    Ok(ClusterKeys {
        authority: authority(&key, now)?,
        authority_key: Hidden(key.serialize_pem()),
        service_accounts: Hidden(KeyPair::generate()?.serialize_pem()),
    })
}

fn authority(key: &KeyPair, now: Timestamp) -> Result<String, PkiError> {
    let mut params = params(now, "kubernetes", None, Duration::days(AUTHORITY_DAYS));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // By default it follows from the key, which later certificates share: RFC 5280, 4.1.2.2 wants each to have its own.
    params.serial_number = Some(now.as_millis().unsigned_abs().into());
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(params.self_signed(key)?.pem())
}

/// The certificates that the authority of a cluster should have, the one that it was made with first; nothing where no other is
/// due. `made` is when the cluster was made.
///
/// # Errors
/// When its key is none.
pub fn renewed_authority(
    keys: &ClusterKeys,
    made: Timestamp,
    now: Timestamp,
) -> Result<Option<String>, PkiError> {
    let seconds = |at: Timestamp| at.as_millis() / 1000;
    let mut marks = keys.authority.lines().rev();
    let last = marks.find_map(|it| it.strip_prefix(RENEWED)?.parse().ok());
    let last = last.unwrap_or_else(|| seconds(made));
    if seconds(now) - last < Duration::days(RENEWED_DAYS).whole_seconds() {
        return Ok(None);
    }
    let key = KeyPair::from_pem(&keys.authority_key.0)?;
    let next = authority(&key, now)?;
    let before = &keys.authority;
    Ok(Some(format!("{before}{RENEWED}{}\n{next}", seconds(now))))
}

fn params(
    now: Timestamp,
    common_name: &str,
    organization: Option<&str>,
    lifetime: Duration,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let now = now.as_millis() / 1000;
    let now = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - SLACK;
    params.not_after = now + lifetime;
    params
}

/// The certificate that the authority was made with.
pub fn first_certificate(keys: &ClusterKeys) -> &str {
    let all = &keys.authority;
    match all.find(RENEWED) {
        Some(end) => &all[..end],
        None => all,
    }
}

/// What tells a cluster from every other, also from one that had its name before: a digest of its authority.
pub fn identity(keys: &ClusterKeys) -> String {
    let digest = Sha256::digest(first_certificate(keys));
    let digest = digest.iter().take(16);
    digest.map(|byte| format!("{byte:02x}")).collect()
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS #8).
    pub key: String,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaf(..)")
    }
}

/// A cluster's authority, ready to sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    clock: Clock,
    certificate: String,
}

impl Authority {
    /// Reads the authority of a cluster. What it signs is valid from the time of the clock on.
    ///
    /// # Errors
    /// When its certificate or key is none.
    pub fn open(keys: &ClusterKeys, clock: &Clock) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(&keys.authority_key.0)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&keys.authority, key)?,
            certificate: keys.authority.clone(),
            clock: clock.clone(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The authority's own certificates, PEM, the one that it was made with first.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The newest of them.
    pub(crate) fn newest(&self) -> &str {
        let all = &self.certificate;
        let before = all.rfind(RENEWED).and_then(|it| all.get(it..));
        before
            .and_then(|it| it.split_once('\n'))
            .map_or(all, |(_, newest)| newest)
    }

    /// A client's certificate: Kubernetes takes its common name for the user, its organization for a group.
    ///
    /// # Errors
    /// When the host gives no random numbers.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Leaf, PkiError> {
        self.client_for(user, group, Duration::days(LEAF_DAYS), self.now())
    }

    pub(crate) fn client_for(
        &self,
        user: &str,
        group: Option<&str>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Leaf, PkiError> {
        let mut params = params(now, user, group, lifetime);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// A server's certificate for those names and addresses.
    ///
    /// # Errors
    /// When a name is none, or the host gives no random numbers.
    pub fn server(
        &self,
        common_name: &str,
        names: &[&str],
        addresses: &[IpAddr],
    ) -> Result<Leaf, PkiError> {
        let lifetime = Duration::days(LEAF_DAYS);
        self.server_for(common_name, (names, addresses), lifetime, self.now())
    }

    pub(crate) fn server_for(
        &self,
        common_name: &str,
        (names, addresses): (&[&str], &[IpAddr]),
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Leaf, PkiError> {
        let mut params = params(now, common_name, None, lifetime);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            let name = SanType::DnsName((*name).try_into()?);
            params.subject_alt_names.push(name);
        }
        let addresses = addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Leaf, PkiError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let key = key.serialize_pem();
        Ok(Leaf { certificate, key })
    }
}

/// The public key of service account tokens, PEM, which kube-apiserver verifies them with.
///
/// # Errors
/// When the private key is none.
pub fn service_account_public_key(keys: &ClusterKeys) -> Result<String, PkiError> {
    Ok(KeyPair::from_pem(&keys.service_accounts.0)?.public_key_pem())
}

/// The key set of a cluster's issuer, as its `/keys` shows it: what verifies service account tokens.
///
/// # Errors
/// When the private key is none.
pub fn key_set(keys: &ClusterKeys) -> Result<Value, PkiError> {
    let pair = KeyPair::from_pem(&keys.service_accounts.0)?;
    let point = pair.public_key_raw();
    let coordinates = match point.split_first() {
        Some((&UNCOMPRESSED, rest)) if rest.len() == 64 => rest,
        _ => return Err(PkiError(rcgen::Error::UnsupportedSignatureAlgorithm)),
    };
    let (x, y) = coordinates.split_at(32);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Ok(json!({"keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
        "kid": key_id(&pair),
        "x": encode(x), "y": encode(y),
    }]}))
}

/// As kube-apiserver names a key: the digest of its encoding.
fn key_id(pair: &KeyPair) -> String {
    use rcgen::PublicKeyData as _;
    URL_SAFE_NO_PAD.encode(Sha256::digest(pair.subject_public_key_info()))
}

/// The document at an issuer's `/.well-known/openid-configuration`.
pub fn discovery(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/keys"),
        "authorization_endpoint": "urn:kubernetes:programmatic_authorization",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["sub", "iss"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_signs_what_openssl_believes() {
        let keys = generate(Clock::system().now()).unwrap();
        let authority = Authority::open(&keys, &Clock::system()).unwrap();
        let client = authority.client("admin", Some("system:masters")).unwrap();
        let server = authority
            .server(
                "kube-apiserver",
                &["kubernetes"],
                &["10.0.1.5".parse().unwrap()],
            )
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ca = file("ca.crt", &keys.authority);
        for (leaf, purpose) in [(client, "sslclient"), (server, "sslserver")] {
            let leaf = file("leaf.crt", &leaf.certificate);
            let output = std::process::Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
                .args([&ca, &leaf])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }

    #[test]
    fn a_renewed_authority_and_the_old_one_vouch_for_the_same() {
        let days = |count: i64| {
            let now = Clock::system().now().as_millis();
            Timestamp::from_millis(now + count * 24 * 3600 * 1000)
        };
        let mut keys = generate(Clock::system().now()).unwrap();
        let (first, identity_before) = (keys.authority.clone(), identity(&keys));
        let before = Authority::open(&keys, &Clock::system()).unwrap();
        assert_eq!(before.newest(), first);
        let early = before.client("early", None).unwrap();
        assert!(
            renewed_authority(&keys, days(0), days(1800))
                .unwrap()
                .is_none()
        );
        for (at, count) in [(days(1830), 2), (days(3700), 3)] {
            let renewed = renewed_authority(&keys, days(0), at).unwrap().unwrap();
            keys.authority = renewed;
            assert_eq!(keys.authority.matches("BEGIN").count(), count);
            assert!(renewed_authority(&keys, days(0), at).unwrap().is_none());
        }
        assert_eq!(identity(&keys), identity_before);
        assert_eq!(first_certificate(&keys), first);
        let authority = Authority::open(&keys, &Clock::system()).unwrap();
        let late = authority.client("late", None).unwrap();
        let newest = authority.newest();
        assert!(newest.starts_with("-----BEGIN") && newest.matches("BEGIN").count() == 1);
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let cases = [
            ("the first", first.as_str(), &late, "0"),
            ("all", keys.authority.as_str(), &early, "0"),
            ("all", keys.authority.as_str(), &late, "0"),
            ("the newest", newest, &early, "no_check_time"),
            ("the newest", newest, &late, "no_check_time"),
        ];
        for (which, text, leaf, how) in cases {
            let (ca, leaf) = (file("ca.crt", text), file("leaf.crt", &leaf.certificate));
            let mut openssl = std::process::Command::new("openssl");
            openssl.args(["verify", "-purpose", "sslclient"]);
            // It begins in the future of this test.
            if how != "0" {
                openssl.arg(format!("-{how}"));
            }
            let output = openssl.arg("-CAfile").args([&ca, &leaf]).output().unwrap();
            assert!(output.status.success(), "{which}: {output:?}");
        }
    }

    #[test]
    fn the_key_set_has_the_public_key_only() {
        let keys = generate(Clock::system().now()).unwrap();
        let set = key_set(&keys).unwrap();
        let key = set["keys"][0].as_object().unwrap();
        assert_eq!(key["x"].as_str().unwrap().len(), 43);
        assert!(!key.contains_key("d"));
        assert_eq!(format!("{keys:?}").matches("PRIVATE").count(), 0);
    }
}
