//! Keys and certificates of a cluster. One authority signs everything, servers and clients; all keys are P-256.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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

/// Makes the keys of a new cluster: an authority valid for ten years, and what signs service account tokens.
///
/// # Errors
/// When the host gives no random numbers.
pub fn generate() -> Result<ClusterKeys, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = params("kubernetes", None, Duration::days(AUTHORITY_DAYS));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(ClusterKeys {
        authority: params.self_signed(&key)?.pem(),
        authority_key: Hidden(key.serialize_pem()),
        service_accounts: Hidden(KeyPair::generate()?.serialize_pem()),
    })
}

fn params(common_name: &str, organization: Option<&str>, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let now = Timestamp::now().as_millis() / 1000;
    let now = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - SLACK;
    params.not_after = now + lifetime;
    params
}

/// What tells a cluster from every other, also from one that had its name before: a digest of its authority.
pub fn identity(keys: &ClusterKeys) -> String {
    let digest = Sha256::digest(&keys.authority);
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
    certificate: String,
}

impl Authority {
    /// Reads the authority of a cluster.
    ///
    /// # Errors
    /// When its certificate or key is none.
    pub fn open(keys: &ClusterKeys) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(&keys.authority_key.0)?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&keys.authority, key)?,
            certificate: keys.authority.clone(),
        })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client's certificate: Kubernetes takes its common name for the user, its organization for a group.
    ///
    /// # Errors
    /// When the host gives no random numbers.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Leaf, PkiError> {
        self.client_for(user, group, Duration::days(LEAF_DAYS))
    }

    pub(crate) fn client_for(
        &self,
        user: &str,
        group: Option<&str>,
        lifetime: Duration,
    ) -> Result<Leaf, PkiError> {
        let mut params = params(user, group, lifetime);
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
        self.server_for(common_name, names, addresses, Duration::days(LEAF_DAYS))
    }

    pub(crate) fn server_for(
        &self,
        common_name: &str,
        names: &[&str],
        addresses: &[IpAddr],
        lifetime: Duration,
    ) -> Result<Leaf, PkiError> {
        let mut params = params(common_name, None, lifetime);
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
        let keys = generate().unwrap();
        let authority = Authority::open(&keys).unwrap();
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
            let told = std::process::Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
                .args([&ca, &leaf])
                .output()
                .unwrap();
            assert!(told.status.success(), "{told:?}");
        }
    }

    #[test]
    fn the_key_set_has_the_public_key_only() {
        let keys = generate().unwrap();
        let set = key_set(&keys).unwrap();
        let key = set["keys"][0].as_object().unwrap();
        assert_eq!(key["x"].as_str().unwrap().len(), 43);
        assert!(!key.contains_key("d"));
        assert_eq!(format!("{keys:?}").matches("PRIVATE").count(), 0);
    }
}
