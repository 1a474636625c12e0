//! The stream between machines: TLS 1.3 in which each end proves that it has the key that the other one expects (RFC 7250).
//! There are no certificates and no authorities: control has a list of its nodes' public keys, and each node control's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::address::Wire;
use crate::NodeId;

/// The private key of a node or of a control plane (Ed25519). It proves that its owner is who the other end has the public key
/// of, and nothing else: a node's key proves no other node, and not control.
#[derive(Clone)]
pub struct FeedKey {
    pair: Arc<CertifiedKey>,
    public: FeedPublicKey,
}

/// What the other end knows of a [`FeedKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPublicKey(pub [u8; 32]);

/// The nodes that control takes connections of from other machines, by their keys. A node whose key is taken off loses its
/// connection.
pub type KnownNodes = BTreeMap<FeedPublicKey, NodeId>;

impl std::fmt::Debug for FeedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FeedKey({:?})", self.public)
    }
}

/// An Ed25519 key in PKCS#8 is this, and the seed.
const PRIVATE: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// A public one as SubjectPublicKeyInfo is this, and its point.
const PUBLIC: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

impl FeedPublicKey {
    fn info(&self) -> Vec<u8> {
        [&PUBLIC[..], &self.0].concat()
    }

    fn of(info: &[u8]) -> Option<Self> {
        let point = info.strip_prefix(&PUBLIC)?;
        Some(Self(point.try_into().ok()?))
    }
}

impl FeedKey {
    /// The key of 32 random bytes.
    ///
    /// # Errors
    /// When the library has no such keys.
    pub fn new(seed: &[u8; 32]) -> io::Result<Self> {
        let der = [&PRIVATE[..], seed].concat();
        let key =
            provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).map_err(invalid)?;
        let info = key.public_key();
        let info = info.ok_or_else(|| invalid("a key without a public half"))?;
        let public = FeedPublicKey::of(info.as_ref());
        let public = public.ok_or_else(|| invalid("a public key of another kind"))?;
        let shown = CertificateDer::from(public.info());
        let pair = Arc::new(CertifiedKey::new(vec![shown], key));
        Ok(Self { pair, public })
    }

    /// What the other end knows.
    pub fn public(&self) -> FeedPublicKey {
        self.public
    }

    /// Takes a connection as control: the key that the other end proved, which is one of these.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        nodes: &KnownNodes,
    ) -> io::Result<(Wire, FeedPublicKey)> {
        let pair = Arc::clone(&self.pair);
        let mut config = ServerConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(invalid)?
            .with_client_cert_verifier(Arc::new(Only::new(nodes.keys())))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(pair)));
        // Each connection is proven anew.
        config.send_tls13_tickets = 0;
        notice_absence(&stream)?;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(|shown| FeedPublicKey::of(shown.first()?));
        let shown = shown.ok_or_else(|| invalid("a connection without a key"))?;
        Ok((Box::new(stream), shown))
    }

    /// Makes a connection as a node, to the control plane of this key.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        control: FeedPublicKey,
    ) -> io::Result<Wire> {
        let pair = Arc::clone(&self.pair);
        let mut config = ClientConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(invalid)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Only::new([&control])))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(pair)));
        config.resumption = Resumption::disabled();
        notice_absence(&stream)?;
        // The key says who control is, and its name nothing.
        let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// The other machine may vanish without a word: then the connection ends too, within this.
const ABSENT: Duration = Duration::from_secs(15);

fn notice_absence(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(ABSENT / 3)
        .with_interval(ABSENT / 3)
        .with_retries(2);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(ABSENT))
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Takes some public keys, and no other.
#[derive(Debug)]
struct Only {
    known: BTreeSet<FeedPublicKey>,
    crypto: Arc<CryptoProvider>,
}

impl Only {
    fn new<'a>(known: impl IntoIterator<Item = &'a FeedPublicKey>) -> Self {
        Self {
            known: known.into_iter().copied().collect(),
            crypto: crypto(),
        }
    }

    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if FeedPublicKey::of(shown).is_some_and(|key| self.known.contains(&key)) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let public = SubjectPublicKeyInfoDer::from(shown.as_ref());
        let known = &self.crypto.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &public, signed, known)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.crypto
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Never asked: both ends speak TLS 1.3 alone.
fn old_version() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken".into()))
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        old_version()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Only {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        old_version()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
