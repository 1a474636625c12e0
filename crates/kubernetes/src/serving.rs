//! What an API server that hands requests on to Lath is answered with: TLS by the cluster's authority, for the front proxy
//! alone.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::client::NewClientError;
use crate::pki::Authority;

/// As whom kube-apiserver hands requests on, with the names of those who made them.
pub(crate) const FRONT_PROXY: &str = "front-proxy-client";

/// TLS for a server that is called `name`. It wants certificates of the cluster's authority, which nodes and
/// others have too: [`is_front_proxy`] tells whose one is.
///
/// # Errors
/// When the authority cannot sign.
pub fn acceptor(authority: &Authority, name: &str) -> Result<TlsAcceptor, NewClientError> {
    let leaf = authority.server(name, &[name], &[])?;
    let config = config(authority.certificate(), &leaf.certificate, &leaf.key);
    let config = config.map_err(NewClientError::Tls)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// TLS for a server that is called `name`, and that anybody may ask.
///
/// # Errors
/// When the authority cannot sign.
pub fn open_acceptor(authority: &Authority, name: &str) -> Result<TlsAcceptor, NewClientError> {
    crate::client::acceptor(&authority.server(name, &[name], &[])?)
}

fn config(authority: &str, certificate: &str, key: &str) -> Result<ServerConfig, String> {
    let certificate_of = |pem: &str| {
        CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())
    };
    let mut roots = RootCertStore::empty();
    let added = roots.add(certificate_of(authority)?);
    added.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate_of(certificate)?], key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether certificates that were verified are those of kube-apiserver handing requests on.
pub fn is_front_proxy(certificates: Option<&[CertificateDer<'_>]>) -> bool {
    let Some(first) = certificates.and_then(<[_]>::first) else {
        return false;
    };
    let parsed = webpki::EndEntityCert::try_from(first);
    parsed.is_ok_and(|it| it.subject() == common_name(FRONT_PROXY))
}

/// A name of nothing but a common name, as `rcgen` writes it (DER): a sequence of sets of pairs of an identifier and a text.
fn common_name(name: &str) -> Vec<u8> {
    const IDENTIFIER: [u8; 5] = [6, 3, 0x55, 4, 3];
    const UTF8: u8 = 0x0c;
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;
    let wrapped = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
        [&[tag, length], content].concat()
    };
    let text = wrapped(UTF8, name.as_bytes());
    wrapped(SET, &wrapped(SEQUENCE, &[&IDENTIFIER[..], &text].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki;

    #[test]
    fn the_front_proxy_is_known_by_its_whole_name() {
        let authority = {
            let clock = lath_clock::Clock::system();
            Authority::open(&pki::generate(clock.now()).unwrap(), &clock).unwrap()
        };
        let is_it = |user: &str, group: Option<&str>| {
            let leaf = authority.client(user, group).unwrap();
            let leaf = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
            is_front_proxy(Some(&[leaf]))
        };
        assert!(is_it(FRONT_PROXY, None));
        assert!(!is_it(FRONT_PROXY, Some("system:nodes")));
        assert!(!is_it("system:node:front-proxy-client", None));
        assert!(!is_it("front-proxy", None));
        assert!(!is_front_proxy(None) && !is_front_proxy(Some(&[])));
        assert!(acceptor(&authority, "metrics-server.kube-system.svc").is_ok());
    }
}
