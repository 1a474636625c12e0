//! TLS as Lattice speaks it: its versions and cipher suites, and the client's side towards targets, whose certificates
//! are not judged (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/target-groups.html>) unless their group asks for it
//! ([`Verified`]).

use std::sync::{Arc, OnceLock};

use lath_model::lattice::ProtocolVersion;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme,
    SupportedCipherSuite,
};

use crate::verify::Verified;

/// The suites of AWS's policy that rustls has, in AWS's order; those with ECDSA are for keys that AWS does not take.
const SUITES: [SupportedCipherSuite; 7] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
];

/// What listeners and connections to targets encrypt with.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        Arc::new(CryptoProvider {
            cipher_suites: SUITES.to_vec(),
            ..aws_lc_rs::default_provider()
        })
    }))
}

/// How targets that speak this version of HTTP are spoken to. Any certificate will do. Nothing is resumed: a ticket of
/// one target is of no use to another one at the same address of another VPC.
///
/// # Panics
/// Never: the provider has both versions of TLS.
pub fn towards_targets(version: ProtocolVersion) -> Arc<ClientConfig> {
    static HTTP1: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    static HTTP2: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = match version {
        ProtocolVersion::Http1 => &HTTP1,
        ProtocolVersion::Http2 | ProtocolVersion::Grpc => &HTTP2,
    };
    Arc::clone(config.get_or_init(|| Arc::new(speaking(protocol(version)))))
}

/// The same, showing targets that ask for it who calls; they are verified where their group says how.
///
/// # Errors
/// The key does not fit the certificate.
pub fn towards_targets_as(
    version: ProtocolVersion,
    verified: Option<&Verified>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, Error> {
    let begun = match verified {
        None => accepting(),
        Some(verified) => judging(verified.verifier()),
    };
    let mut config = begun.with_client_auth_cert(chain, key)?;
    settle(&mut config, protocol(version));
    Ok(Arc::new(config))
}

fn protocol(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::Http1 => "http/1.1",
        ProtocolVersion::Http2 | ProtocolVersion::Grpc => "h2",
    }
}

fn accepting() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    judging(Arc::new(AcceptAnyCertificate(provider())))
}

/// # Panics
/// Never: the provider has both versions of TLS.
fn judging(verifier: Arc<dyn ServerCertVerifier>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has both versions of TLS")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
}

/// As [`towards_targets`], for targets that this verifies.
pub(crate) fn verifying(
    version: ProtocolVersion,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Arc<ClientConfig> {
    let mut config = judging(verifier).with_no_client_auth();
    settle(&mut config, protocol(version));
    Arc::new(config)
}

fn speaking(protocol: &str) -> ClientConfig {
    let mut config = accepting().with_no_client_auth();
    settle(&mut config, protocol);
    config
}

fn settle(config: &mut ClientConfig, protocol: &str) {
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
}

/// Accepts every certificate. The handshake's signatures are still verified.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
