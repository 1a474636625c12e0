//! Whether an issuer's server is the one that it says: as AWS, by the authorities that the machine trusts, and only where
//! none vouches for the certificate, by the thumbprints of the provider
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc_verify-thumbprint.html>).

use std::path::PathBuf;
use std::sync::Arc;

use ::ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Names another file, as OpenSSL reads it.
const VARIABLE: &str = "SSL_CERT_FILE";

/// The authorities that the machine trusts.
#[derive(Debug, Clone)]
pub struct SystemRoots(Arc<RootCertStore>);

impl SystemRoots {
    /// Reads the file of the machine; what is no certificate in it is passed over. Without a file no issuer is trusted but
    /// by thumbprints.
    pub fn load() -> Self {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let files = named.into_iter().chain(BUNDLES.map(PathBuf::from));
        let text = files.filter_map(|path| std::fs::read(path).ok()).next();
        Self::of_pem(&text.unwrap_or_default())
    }

    /// Those of a text in PEM.
    pub fn of_pem(text: &[u8]) -> Self {
        let mut store = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
        store.add_parsable_certificates(certificates);
        Self(Arc::new(store))
    }
}

/// SHA-1 of certificates that a server may show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thumbprints(Vec<Vec<u8>>);

impl Thumbprints {
    /// Of hexadecimal digits; a text that is none matches no certificate.
    pub fn of(texts: &[String]) -> Self {
        Self(
            texts
                .iter()
                .filter_map(|text| hex::decode(text).ok())
                .collect(),
        )
    }

    fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        let print = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
        self.0.iter().any(|known| known == print.as_ref())
    }
}

/// A client's side of TLS to an issuer.
pub(crate) fn client(roots: &SystemRoots, thumbprints: Thumbprints) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        by_roots: by(Arc::clone(&roots.0), &provider).ok(),
        thumbprints,
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

fn by(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

#[derive(Debug)]
struct Verifier {
    /// `None` when the machine trusts no authority.
    by_roots: Option<Arc<WebPkiServerVerifier>>,
    thumbprints: Thumbprints,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// A certificate with a known thumbprint vouches for those that it signed, and for itself.
    fn by_thumbprint(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.thumbprints.has(end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let mut anchors = RootCertStore::empty();
        for certificate in intermediates.iter().filter(|it| self.thumbprints.has(it)) {
            anchors.add(certificate.clone().into_owned())?;
        }
        if anchors.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let verifier = by(Arc::new(anchors), &self.provider)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, &[], now)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let by_roots = self.by_roots.as_ref().map(|roots| {
            roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        });
        match by_roots {
            Some(Ok(verified)) => Ok(verified),
            _ => self.by_thumbprint(end_entity, intermediates, server_name, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
