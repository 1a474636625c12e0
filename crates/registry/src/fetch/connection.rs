//! HTTP to registries: a connection for each request, since few are made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, USER_AGENT};
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{FetchError, host_error};

/// For a connection, an answer's head, and each piece of its body.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Dialer {
    tls: TlsConnector,
    /// Whether addresses on this machine may be asked without TLS. A registry elsewhere does not send there.
    plain: bool,
}

/// HTTPS, except on this machine.
pub(super) fn scheme(host: &str) -> &'static str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_local = name == "localhost"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|it| it.is_loopback());
    if is_local { "http" } else { "https" }
}

/// The next piece of a body; an error when it does not come in time.
pub(super) async fn in_time<T>(
    next: impl Future<Output = Option<Result<T, hyper::Error>>>,
) -> Option<Result<T, String>> {
    match tokio::time::timeout(PATIENCE, next).await {
        Ok(next) => next.map(|it| it.map_err(|error| error.to_string())),
        Err(_) => Some(Err("nothing came for a minute".to_owned())),
    }
}

impl Dialer {
    pub(super) fn new(roots: &Path, plain: bool) -> Result<Self, FetchError> {
        let mut store = RootCertStore::empty();
        // Without the file no HTTPS works, and says why; HTTP on this machine does.
        for certificate in CertificateDer::pem_file_iter(roots).into_iter().flatten() {
            // Some authorities of a system's list may be of a kind that is not known here.
            let _ = certificate.map(|it| store.add(it));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| host_error("TLS", error))?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            plain,
        })
    }

    pub(super) async fn get(
        &self,
        uri: &Uri,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, FetchError> {
        let host = uri.host().unwrap_or_default().to_owned();
        let answer = self.exchange(uri, headers);
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|why| host_error(&host, why)),
            Err(_) => Err(host_error(&host, "it did not answer within a minute")),
        }
    }

    async fn exchange(&self, uri: &Uri, headers: HeaderMap) -> Result<Response<Incoming>, String> {
        let host = uri.host().unwrap_or_default();
        let is_plain = uri.scheme_str() == Some("http");
        if is_plain && !(self.plain && scheme(host) == "http") {
            return Err("it sends to an address without TLS".to_owned());
        }
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        let stream = TcpStream::connect((host, port)).await.map_err(text)?;
        if is_plain {
            return request(stream, uri, headers).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(text)?;
        let stream = self.tls.connect(name, stream).await.map_err(text)?;
        request(stream, uri, headers).await
    }
}

async fn request<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    uri: &Uri,
    headers: HeaderMap,
) -> Result<Response<Incoming>, String> {
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(text)?;
    // It ends with the answer's body.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let authority = uri.authority().map_or("", |it| it.as_str());
    let mut request = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("lath/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(text)?;
    request.headers_mut().extend(headers);
    sender.send_request(request).await.map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_registry_elsewhere_does_not_send_to_this_machine() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let uri = format!("http://{}/x", listener.local_addr().unwrap());
        let dialer = Dialer::new(Path::new("/nowhere"), false).unwrap();
        let refused = dialer.get(&uri.parse().unwrap(), HeaderMap::new()).await;
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains("without TLS"), "{refused}");
        assert!(listener.accept().is_err());
    }
}
