//! How a group's targets under TLS prove who they are, and what they are shown.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lath_feed::{Certificate, TargetName, TargetTls};
use lath_model::lattice::ProtocolVersion;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use webpki::EndEntityCert;

use crate::tls;

/// How targets are spoken to that are verified. Nothing here fails: what cannot be read trusts no authority, so that connections fail.
pub struct Verified {
    source: TargetTls,
    /// What the operating system trusted, where that counts.
    system: Option<Arc<RootCertStore>>,
    name: Option<ServerName<'static>>,
    verifier: Arc<Verifier>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Verified {
    /// Of what a group says.
    pub fn of(source: &TargetTls) -> Self {
        let name = server_name(&source.hostname);
        let system = source.system.then(system);
        let verifier = Arc::new(Verifier {
            roots: roots(source, system.as_ref()),
            names: names(source),
            provider: tls::provider(),
        });
        let speaking = |version| tls::verifying(version, Arc::clone(&verifier) as _);
        Self {
            http1: speaking(ProtocolVersion::Http1),
            http2: speaking(ProtocolVersion::Http2),
            source: source.clone(),
            system,
            name,
            verifier,
        }
    }

    /// The same for a group as before, where that says the same.
    pub fn again(source: Option<&TargetTls>, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let source = source?;
        let known = before.filter(|it| it.source == *source && it.is_current());
        let known = known.cloned();
        Some(known.unwrap_or_else(|| Arc::new(Self::of(source))))
    }

    /// Whether the operating system trusts what it did.
    pub fn is_current(&self) -> bool {
        let system = self.system.as_ref();
        system.is_none_or(|it| Arc::ptr_eq(it, &self::system()))
    }

    /// The server's name that targets are asked for. `None`: it is none, and no target can be connected.
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        self.name.clone()
    }

    /// How targets that speak this version of HTTP are spoken to.
    pub fn towards(&self, version: ProtocolVersion) -> Arc<ClientConfig> {
        Arc::clone(match version {
            ProtocolVersion::Http1 => &self.http1,
            ProtocolVersion::Http2 | ProtocolVersion::Grpc => &self.http2,
        })
    }

    /// How health checks speak to targets: they show what the group says, if it says something.
    ///
    /// # Errors
    /// The certificate or its key cannot be read.
    pub(crate) fn checking(&self, version: ProtocolVersion) -> Result<Arc<ClientConfig>, Error> {
        let Some(shown) = &self.source.check_certificate else {
            return Ok(self.towards(version));
        };
        let (chain, key) = chain_and_key(shown)?;
        tls::towards_targets_as(version, Some(self), chain, key)
    }

    pub(crate) fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        Arc::clone(&self.verifier) as _
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("hostname", &self.source.hostname)
            .finish_non_exhaustive()
    }
}

/// A certificate's chain and its key.
///
/// # Errors
/// One of them cannot be read.
pub fn chain_and_key(
    certificate: &Certificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let unreadable = |what: &str| Error::General(format!("{what} cannot be read"));
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|it| !it.is_empty());
    let key = PrivateKeyDer::from_pem_slice(certificate.key.0.as_bytes());
    Ok((
        chain.ok_or_else(|| unreadable("a certificate to show"))?,
        key.map_err(|_| unreadable("the key of a certificate to show"))?,
    ))
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    let found = ServerName::try_from(host.to_owned()).ok();
    if found.is_none() {
        tracing::error!(
            name = host,
            "targets are to be asked for a name that is none: they cannot be connected"
        );
    }
    found
}

/// The authorities that are trusted, those of the operating system included. One that cannot be read is left out, so that its targets
/// are not trusted.
fn roots(source: &TargetTls, system: Option<&Arc<RootCertStore>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for pem in &source.anchors {
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let added = der.map_err(|error| error.to_string()).and_then(|der| {
            let added = roots.add(der);
            added.map_err(|error| error.to_string())
        });
        if let Err(error) = added {
            tracing::error!(%error, "an authority that is to be trusted of targets is malformed");
        }
    }
    if let Some(system) = system {
        roots.extend(system.roots.iter().cloned());
    }
    roots
}

/// How long a set of authorities is believed that has none.
const BELIEVED_EMPTY: Duration = Duration::from_secs(60);

/// What the operating system trusts, read once; where that is nothing, now and then again. It is the same object until there is
/// more.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: Mutex<Option<(Arc<RootCertStore>, Instant)>> = Mutex::new(None);
    let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((roots, read)) = &*known
        && (!roots.is_empty() || read.elapsed() < BELIEVED_EMPTY)
    {
        return Arc::clone(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "authorities of the operating system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::error!(
            "the operating system trusts no authority: targets that are to be trusted by it cannot be connected"
        );
    }
    let before = known.take().map(|(roots, _)| roots);
    let roots = match before {
        Some(before) if roots.is_empty() => before,
        _ => Arc::new(roots),
    };
    *known = Some((Arc::clone(&roots), Instant::now()));
    roots
}

/// What a certificate must be for.
enum Wanted {
    Host(ServerName<'static>),
    /// A name with an asterisk that it has itself.
    Wildcard(String),
    Uri(String),
}

fn names(source: &TargetTls) -> Vec<Wanted> {
    let host = |host: &String| server_name(host).map(Wanted::Host);
    if source.names.is_empty() {
        return host(&source.hostname).into_iter().collect();
    }
    let names = source.names.iter().filter_map(|it| match it {
        TargetName::Dns(name) if name.starts_with("*.") => Some(Wanted::Wildcard(name.clone())),
        TargetName::Dns(name) => host(name),
        TargetName::Uri(uri) => Some(Wanted::Uri(uri.clone())),
    });
    names.collect()
}

/// Accepts certificates that lead to a trusted authority and have one of some names.
struct Verifier {
    roots: RootCertStore,
    /// Where there are none, nothing is accepted.
    names: Vec<Wanted>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    fn has_name(&self, der: &CertificateDer<'_>, read: &ParsedCertificate<'_>) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(der) else {
            return false;
        };
        self.names.iter().any(|wanted| match wanted {
            Wanted::Host(name) => verify_server_name(read, name).is_ok(),
            Wanted::Wildcard(wanted) => certificate
                .valid_dns_names()
                .any(|name| name.eq_ignore_ascii_case(wanted)),
            Wanted::Uri(wanted) => certificate.valid_uri_names().any(|uri| uri == wanted),
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let read = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&read, &self.roots, above, now, algorithms)?;
        match self.has_name(leaf, &read) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForName.into()),
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
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
