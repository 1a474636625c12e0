//! The keys of an issuer as it publishes them: its discovery document names the set
//! (<https://openid.net/specs/openid-connect-discovery-1_0.html>).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{self, SystemRoots, Thumbprints};
use crate::keys::KeySet;

/// How long both documents may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest document, in bytes.
const LARGEST: usize = 1 << 20;
/// How long keys count without a look at the issuer.
const FRESH: Duration = Duration::from_secs(600);
/// How long they count while the issuer does not answer.
const STALE: Duration = Duration::from_secs(3600);
/// How long a set is not read again although a token names a key that it has not, and a failure is not tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// Most issuers that are read at once.
const AT_ONCE: usize = 16;
/// Most issuers that are remembered.
const MOST: usize = 500;

/// Whose keys are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The issuer's URL, which begins with `https://`.
    pub issuer: &'a str,
    /// SHA-1 of certificates that its server may show although no authority vouches for it, in hexadecimal digits.
    pub thumbprints: &'a [String],
    /// The key that is wanted: a remembered set without it is read again.
    pub key_id: Option<&'a str>,
}

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// The issuer does not answer.
    #[error("the issuer does not answer: {0}")]
    Unreachable(String),
    /// No trusted authority signed its certificate.
    #[error("no trusted authority vouches for the certificate of the issuer")]
    Certificate,
    /// What it answers is no set of keys.
    #[error("the issuer's answer has no keys: {0}")]
    Unusable(String),
}

/// Where the keys of issuers are found.
pub trait IssuerKeys: Send + Sync {
    /// The keys of an issuer.
    fn keys<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Result<Arc<KeySet>, NoKeys>>;
}

/// Reads keys from issuers over HTTPS, and remembers them for a while. Requests for one issuer wait for one another.
pub struct Remote {
    known: Mutex<HashMap<String, Arc<Turn<Option<Known>>>>>,
    reader: Arc<Reader>,
}

/// What reads documents of issuers.
struct Reader {
    roots: SystemRoots,
    room: Semaphore,
    only_public: bool,
}

struct Known {
    tried: Instant,
    thumbprints: Thumbprints,
    failure: Option<NoKeys>,
    /// The newest set, and when it was read.
    keys: Option<(Instant, Arc<KeySet>)>,
}

impl Known {
    /// The remembered answer, if it will do.
    fn answer(&self, key_id: Option<&str>) -> Option<Result<Arc<KeySet>, NoKeys>> {
        let recent = self.tried.elapsed() < PAUSE;
        if let Some((read, keys)) = &self.keys {
            let limit = if self.failure.is_none() { FRESH } else { STALE };
            let is_wanted = keys.has(key_id);
            let may_wait = self.failure.is_none() || recent;
            if (is_wanted && may_wait && read.elapsed() < limit)
                || (recent && self.failure.is_none())
            {
                return Some(Ok(Arc::clone(keys)));
            }
        }
        let failure = self.failure.clone().filter(|_| recent);
        failure.map(Err)
    }
}

impl Remote {
    /// Trusts the servers that these authorities vouch for.
    pub fn new(roots: SystemRoots) -> Self {
        Self::reading(roots, false)
    }

    /// As [`Remote::new`], for issuers of the internet only: at port 443 of public addresses.
    pub fn public(roots: SystemRoots) -> Self {
        Self::reading(roots, true)
    }

    fn reading(roots: SystemRoots, only_public: bool) -> Self {
        Self {
            known: Mutex::default(),
            reader: Arc::new(Reader {
                roots,
                room: Semaphore::new(AT_ONCE),
                only_public,
            }),
        }
    }

    fn slot(&self, issuer: &str) -> Arc<Turn<Option<Known>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(issuer) {
            known.clear();
        }
        Arc::clone(known.entry(issuer.to_owned()).or_default())
    }

    async fn found(&self, asked: Asked<'_>) -> Result<Arc<KeySet>, NoKeys> {
        let known = self.slot(asked.issuer).lock_owned().await;
        let thumbprints = Thumbprints::of(asked.thumbprints);
        let same = known.as_ref().filter(|it| it.thumbprints == thumbprints);
        if let Some(answer) = same.and_then(|it| it.answer(asked.key_id)) {
            return answer;
        }
        // It ends also when who asked is gone: what is known, and that it was just tried, is kept.
        let reader = Arc::clone(&self.reader);
        let (issuer, key_id) = (asked.issuer.to_owned(), asked.key_id.map(str::to_owned));
        let renewed = tokio::spawn(async move {
            let of = (issuer.as_str(), key_id.as_deref());
            reader.renew(known, of, thumbprints).await
        });
        renewed
            .await
            .unwrap_or_else(|error| Err(unreachable(error)))
    }
}

impl Reader {
    /// Reads the keys of an issuer again, and remembers how that ended.
    async fn renew(
        &self,
        mut known: OwnedMutexGuard<Option<Known>>,
        (issuer, key_id): (&str, Option<&str>),
        thumbprints: Thumbprints,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let read = tokio::time::timeout(PATIENCE, self.read(issuer, thumbprints.clone()));
        let late = || NoKeys::Unreachable("it takes too long".to_owned());
        let outcome = read.await.unwrap_or_else(|_| Err(late()));
        // What another set of thumbprints let in does not count.
        let before = known.take().filter(|it| it.thumbprints == thumbprints);
        let now = Instant::now();
        let (failure, keys) = match outcome {
            Ok(keys) => (None, Some((now, Arc::new(keys)))),
            Err(failure) => {
                tracing::warn!(issuer, error = %failure, "keys of an issuer cannot be read");
                (Some(failure), before.and_then(|it| it.keys))
            }
        };
        let answer = match (&keys, &failure) {
            (Some((read, keys)), None) => (read.elapsed() < FRESH).then(|| Arc::clone(keys)),
            (Some((read, keys)), Some(_)) if keys.has(key_id) => {
                (read.elapsed() < STALE).then(|| Arc::clone(keys))
            }
            _ => None,
        };
        let failed = failure.clone();
        *known = Some(Known {
            tried: now,
            thumbprints,
            failure,
            keys,
        });
        answer.ok_or_else(|| failed.unwrap_or_else(late))
    }

    async fn read(&self, issuer: &str, thumbprints: Thumbprints) -> Result<KeySet, NoKeys> {
        let _turn = self.room.acquire().await;
        let config = certificates::client(&self.roots, thumbprints);
        let config = config.map_err(|error| NoKeys::Unusable(error.to_string()))?;
        let tls = TlsConnector::from(Arc::new(config));
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let discovery = format!("{base}/.well-known/openid-configuration");
        let discovery = self.document(&tls, &discovery).await?;
        let said = discovery.get("issuer").and_then(Value::as_str);
        if said != Some(issuer) {
            let text = format!("it calls itself {:?}", said.unwrap_or_default());
            return Err(NoKeys::Unusable(text));
        }
        let Some(set) = discovery.get("jwks_uri").and_then(Value::as_str) else {
            return Err(NoKeys::Unusable("it names no jwks_uri".to_owned()));
        };
        let set = self.document(&tls, set).await?;
        KeySet::parse(&set).ok_or_else(|| NoKeys::Unusable("jwks_uri is no set of keys".to_owned()))
    }

    async fn document(&self, tls: &TlsConnector, url: &str) -> Result<Value, NoKeys> {
        let uri: Uri = url.parse().map_err(unusable)?;
        if uri.scheme_str() != Some("https") {
            return Err(unusable("its documents are not at https://"));
        }
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
            return Err(unusable("its URL names no host"));
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(unusable)?;
        let port = uri.port_u16().unwrap_or(443);
        let stream = self.connect(bare, port).await?;
        let stream = tls.connect(name, stream).await.map_err(|error| {
            let cause = error.get_ref().and_then(|it| it.downcast_ref());
            match cause {
                Some(rustls::Error::InvalidCertificate(_)) => NoKeys::Certificate,
                _ => unreachable(error),
            }
        })?;
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        let request = Request::get(path)
            .header(HOST, authority.as_str())
            .header(ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(unusable)?;
        exchange(stream, request, url).await
    }

    /// Connects to addresses that were checked: a name that is resolved again may have others.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, NoKeys> {
        if self.only_public && port != 443 {
            return Err(unusable("its documents are not at port 443"));
        }
        let addresses = tokio::net::lookup_host((host, port)).await;
        let mut addresses: Vec<SocketAddr> = addresses.map_err(unreachable)?.collect();
        if self.only_public {
            addresses.retain(|it| is_public(it.ip()));
            if addresses.is_empty() {
                return Err(unreachable("it has no public address"));
            }
        }
        TcpStream::connect(&*addresses).await.map_err(unreachable)
    }
}

/// Whether an address is one of the internet, and not of this host or of networks near it
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => {
            let [first, second, ..] = it.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            let is_test = first == 198 && (18..20).contains(&second);
            !(it.is_loopback()
                || it.is_private()
                || it.is_link_local()
                || it.is_multicast()
                || first == 0
                || first >= 240
                || is_shared
                || is_test)
        }
        IpAddr::V6(it) => {
            // Addresses of IPv4 in those of translators, too.
            let [first, second, ..] = it.segments();
            let is_translated = first == 0x2002 || (first, second) == (0x64, 0xff9b);
            !(it.is_loopback()
                || it.is_unspecified()
                || it.is_unique_local()
                || it.is_unicast_link_local()
                || it.is_multicast()
                || first == 0
                || is_translated)
        }
    }
}

impl IssuerKeys for Remote {
    fn keys<'a>(&'a self, asked: Asked<'a>) -> BoxFuture<'a, Result<Arc<KeySet>, NoKeys>> {
        Box::pin(self.found(asked))
    }
}

fn unusable(error: impl std::fmt::Display) -> NoKeys {
    NoKeys::Unusable(error.to_string())
}

fn unreachable(error: impl std::fmt::Display) -> NoKeys {
    NoKeys::Unreachable(error.to_string())
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    request: Request<Empty<Bytes>>,
    url: &str,
) -> Result<Value, NoKeys> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(unreachable)?;
    let connection = Ended(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(unreachable)?;
    let status = response.status();
    if status.is_server_error() {
        return Err(unreachable(format!("{url} answers {status}")));
    }
    if status != StatusCode::OK {
        return Err(unusable(format!("{url} answers {status}")));
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    let body = body.map_err(unreachable)?.to_bytes();
    drop(connection);
    serde_json::from_slice(&body).map_err(unusable)
}

/// A task that ends with this value.
struct Ended(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_near_the_host_are_not_public() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "2606:4700::1111", "172.32.0.1"] {
            assert!(is_public(far.parse().unwrap()), "{far}");
        }
    }
}
