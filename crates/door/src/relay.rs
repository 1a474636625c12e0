//! The front door of several regions: reads where a request is meant to go, hands it over as it is, and
//! speaks for a region that does not answer. It proves nothing: the region's own door checks signatures.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use lath_model::id::VpcId;
use lath_net::Place;
use lath_net::accept::{Acceptor, Source};
use lath_net::descriptors::Purpose;
use lath_sigv4::Claim;
use lath_wire::{ApiError, Envelope, FromVpc, Service};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::arriving::Arriving;
use crate::body::{Intake, half_each};
use crate::door::{Limits, Peer, name_host, signed_parts};
use crate::known::KNOWN_SERVICES;
use crate::server::{self, Answer, SOURCE};

/// Services that live in the home region, whatever region their requests are signed for.
const GLOBAL: &[&str] = &["iam", "route53"];
/// STS answers in every region, and for scopes of none.
const STS: &str = "sts";
/// How long a region that is being started again is waited for: nothing was sent yet.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(20);
/// For a connection to another machine.
const CONNECT: Duration = Duration::from_secs(5);
/// For a region's answer.
const ANSWER: Duration = Duration::from_secs(120);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 256 << 20;

/// How a region is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A socket of this machine that serves [`crate::FrontDoor::serve_relayed`].
    Socket(PathBuf),
    /// Another machine's front door, as `host:port`, over plain HTTP.
    Http(String),
}

/// One region.
#[derive(Debug)]
struct Line {
    way: Way,
    outlook: watch::Receiver<Outlook>,
}

/// What is known of a region that does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Whether it should answer, or will in a moment: it is tried again then.
    pub expected: bool,
    /// Why it does not, for the text of the refusal: `its state is damaged`.
    pub reason: Option<String>,
}

type Internal = Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync>;

/// Sends each request to the region in its credential scope.
pub struct Relay {
    home: String,
    lines: BTreeMap<String, Line>,
    services: Vec<Service>,
    internal: Option<(&'static str, Internal)>,
    limits: Limits,
    intake: Intake,
    /// Requests that regions have not answered yet: each has a connection.
    exchanges: Acceptor,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("home", &self.home)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

/// Why a region gave no answer.
#[derive(Debug, thiserror::Error)]
enum Silence {
    /// Nothing was sent to it.
    #[error("it cannot be reached: {0}")]
    Unreached(io::Error),
    /// Nothing was sent to it: others' requests must be answered first.
    #[error("too many requests have not been answered yet")]
    Busy,
    /// It may have done what was asked.
    #[error("it did not answer: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
enum Destination<'a> {
    /// To this region and no other; whether because its service is global.
    Region(&'a str, bool),
    /// To any region that answers: it will be refused, or every region knows the answer.
    Any,
}

impl Relay {
    /// A relay that knows no region yet. Global services are answered by `home`.
    pub fn new(home: impl Into<String>) -> Self {
        Self {
            home: home.into(),
            lines: BTreeMap::new(),
            services: KNOWN_SERVICES.iter().copied().map(Service::new).collect(),
            internal: None,
            limits: Limits::default(),
            intake: Intake::new(),
            exchanges: Acceptor::new("requests to regions", half_each(Purpose::Relay.share(1024))),
        }
    }

    /// Adds a region, and what is known of it while it does not answer.
    #[must_use]
    pub fn with_region(
        mut self,
        name: impl Into<String>,
        way: Way,
        outlook: watch::Receiver<Outlook>,
    ) -> Self {
        self.lines.insert(name.into(), Line { way, outlook });
        self
    }

    /// Hands requests whose path begins with `prefix` to `respond`, as [`crate::FrontDoor::with_internal`].
    #[must_use]
    pub fn with_internal<F>(mut self, prefix: &'static str, respond: F) -> Self
    where
        F: Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync + 'static,
    {
        self.internal = Some((prefix, Arc::new(respond)));
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves HTTP/1.1 and HTTP/2 (prior knowledge) until `stop`, then lets calls in flight finish.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        server::serve(self, listener, stop).await;
    }

    /// Serves clients of a VPC, with slots of `acceptor`, until `stop`.
    pub async fn serve_vpc(
        self: Arc<Self>,
        listener: TcpListener,
        (vpc, acceptor): (VpcId, Acceptor),
        stop: CancellationToken,
    ) {
        server::serve_vpc(self, listener, (vpc, acceptor), stop).await;
    }

    /// The answer of the region that a request is meant for. With [`FromVpc`] among its extensions it comes from there.
    pub async fn relayed(&self, request: &Request<Bytes>, peer: SocketAddr) -> Response<Bytes> {
        let claim = Claim::read(&signed_parts(request)).ok();
        match self.destination(claim.as_ref()) {
            Destination::Region(region, global) => {
                match self.ask(region, request, peer, PATIENCE).await {
                    Ok(response) => response,
                    Err(silence) => self.speak_for(region, global, claim, request, &silence),
                }
            }
            Destination::Any => self.answered_by_any(claim, request, peer).await,
        }
    }

    fn destination(&self, claim: Option<&Claim>) -> Destination<'_> {
        let Some(scope) = claim.map(|claim| &claim.scope) else {
            return Destination::Any;
        };
        let known = self.lines.get_key_value(&scope.region);
        if GLOBAL.contains(&scope.service.as_str()) {
            return Destination::Region(&self.home, true);
        }
        match known {
            Some((region, _)) => Destination::Region(region, false),
            None if scope.service == STS => Destination::Region(&self.home, true),
            None => Destination::Any,
        }
    }

    /// Every region would answer the same: the home, or another one where that is dead.
    async fn answered_by_any(
        &self,
        claim: Option<Claim>,
        request: &Request<Bytes>,
        peer: SocketAddr,
    ) -> Response<Bytes> {
        let local = |(_, line): &(&String, &Line)| matches!(line.way, Way::Socket(_));
        let others = self.lines.iter().filter(local).map(|(name, _)| name);
        let others = others.filter(|name| **name != self.home);
        for region in std::iter::once(&self.home).chain(others) {
            if let Ok(response) = self.ask(region, request, peer, Duration::ZERO).await {
                return response;
            }
        }
        let silence = Silence::Unreached(io::ErrorKind::NotConnected.into());
        self.speak_for(&self.home, true, claim, request, &silence)
    }

    async fn ask(
        &self,
        region: &str,
        request: &Request<Bytes>,
        peer: SocketAddr,
        patience: Duration,
    ) -> Result<Response<Bytes>, Silence> {
        let unreached = || Silence::Unreached(io::ErrorKind::NotFound.into());
        let line = self.lines.get(region).ok_or_else(unreached)?;
        let source = Source::of(peer.ip());
        let turn = self.exchanges.admit_within(patience, &Place::Host, source);
        let place = turn.await.ok_or(Silence::Busy)?;
        let _at_work = place.busy();
        let handed = handed(request, peer, &line.way);
        match &line.way {
            Way::Socket(path) => {
                let stream = line.persist(path, patience).await;
                exchange(stream.map_err(Silence::Unreached)?, handed).await
            }
            Way::Http(authority) => {
                let connect = tokio::time::timeout(CONNECT, TcpStream::connect(authority));
                let stream = connect.await.unwrap_or_else(|late| Err(late.into()));
                exchange(stream.map_err(Silence::Unreached)?, handed).await
            }
        }
    }

    /// Says in the service's own protocol that its region does not answer.
    fn speak_for(
        &self,
        region: &str,
        global: bool,
        claim: Option<Claim>,
        request: &Request<Bytes>,
        silence: &Silence,
    ) -> Response<Bytes> {
        tracing::debug!(region, %silence, "a region does not answer");
        let request_id = Uuid::new_v4().to_string();
        let named = claim.map(|claim| claim.scope.service);
        let meant = named.and_then(|named| {
            let mut services = self.services.iter();
            services.find(|service| service.info().signing_name == named)
        });
        let envelope = match meant {
            Some(service) => service.envelope(request, &request_id),
            None => Envelope::anonymous(request, &request_id),
        };
        let line = self.lines.get(region);
        let reason = line.and_then(|line| line.outlook.borrow().reason.clone());
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        let text = if matches!(silence, Silence::Busy) {
            format!("Too many requests wait for the region {region}.")
        } else if global {
            format!(
                "The home region {region} does not answer{reason}, and this service is changed there only. DNS answers and policy decisions go on in every region."
            )
        } else {
            format!("The region {region} does not answer{reason}.")
        };
        let mut error = ApiError::new("ServiceUnavailable", 503, text);
        error.headers.push(("retry-after", "1".to_owned()));
        envelope.failure(&error)
    }
}

impl Line {
    /// Connects, again and again while the region is expected to be there.
    async fn persist(&self, path: &Path, patience: Duration) -> io::Result<UnixStream> {
        let end = Instant::now() + patience;
        loop {
            let outcome = UnixStream::connect(path).await;
            if outcome.is_ok() || !self.outlook.borrow().expected || Instant::now() >= end {
                return outcome;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl Answer for Relay {
    fn limits(&self) -> Limits {
        self.limits
    }

    async fn answer(&self, request: Request<Arriving>, peer: SocketAddr) -> Response<Bytes> {
        let (mut parts, stream) = request.into_parts();
        name_host(&mut parts);
        let most = self.limits.body_at(parts.uri.path());
        let taken = self.intake.take(stream, peer.ip(), &self.limits, most);
        let body = match taken.await {
            Ok(body) => body,
            Err(error) => {
                let request = Request::from_parts(parts, Bytes::new());
                return self.refuse(&request, &error);
            }
        };
        if let Some((prefix, respond)) = &self.internal
            && parts.uri.path().starts_with(prefix)
        {
            parts.extensions.insert(Peer(peer));
            return respond(Request::from_parts(parts, body)).await;
        }
        self.relayed(&Request::from_parts(parts, body), peer).await
    }
}

impl Relay {
    /// What no region is asked about: worded as the service that is claimed.
    fn refuse(&self, request: &Request<Bytes>, error: &ApiError) -> Response<Bytes> {
        let request_id = Uuid::new_v4().to_string();
        let claim = Claim::read(&signed_parts(request)).ok();
        let meant = claim.and_then(|claim| {
            let mut services = self.services.iter();
            services.find(|service| service.info().signing_name == claim.scope.service)
        });
        match meant {
            Some(service) => service.envelope(request, &request_id).failure(error),
            None => Envelope::anonymous(request, &request_id).failure(error),
        }
    }
}

/// The request as it came: the signature covers its target, most headers, and the body as sent.
fn handed(request: &Request<Bytes>, peer: SocketAddr, way: &Way) -> Request<Full<Bytes>> {
    let mut copy = Request::new(Full::new(request.body().clone()));
    *copy.method_mut() = request.method().clone();
    let target = request.uri().path_and_query().cloned();
    *copy.uri_mut() = target.map_or_else(|| Uri::from_static("/"), Uri::from);
    let mut headers = request.headers().clone();
    // The body is whole now.
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    headers.remove(SOURCE);
    let source = match request.extensions().get::<FromVpc>() {
        Some(from) => format!("{}/{}", from.vpc, from.address),
        None => peer.ip().to_string(),
    };
    if let (Way::Socket(_), Ok(source)) = (way, HeaderValue::from_str(&source)) {
        headers.insert(SOURCE, source);
    }
    *copy.headers_mut() = headers;
    copy
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, Silence> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(Silence::Broken)?.to_bytes();
        Ok(answer(parts.status, &parts.headers, body))
    };
    let outcome = tokio::time::timeout(ANSWER, answered).await;
    connection.abort();
    outcome.unwrap_or_else(|late| Err(broken(late)))
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Silence {
    Silence::Broken(Box::new(error))
}

/// Headers that are about one connection.
const HOP: [HeaderName; 3] = [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH];

fn answer(status: http::StatusCode, headers: &HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers.clone();
    for name in HOP {
        response.headers_mut().remove(name);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::header::AUTHORIZATION;

    fn relay(ways: &[(&str, Way)]) -> Relay {
        let add = |relay: Relay, (name, way): &(&str, Way)| {
            relay.with_region(*name, way.clone(), watch::channel(Outlook::default()).1)
        };
        ways.iter().fold(Relay::new("us-east-1"), add)
    }

    fn nowhere() -> Relay {
        let dead = Way::Socket("/nonexistent/api.sock".into());
        relay(&[("us-east-1", dead.clone()), ("us-west-2", dead)])
    }

    fn request(region: &str, service: &str) -> Request<Bytes> {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/{region}/{service}/aws4_request, SignedHeaders=host;x-amz-date, Signature={:064}",
            0
        );
        Request::post("/?a=%2F&b")
            .header("host", "example:1")
            .header("x-amz-date", "20260101T000000Z")
            .header(AUTHORIZATION, authorization)
            .header(SOURCE, "192.0.2.1")
            .body(Bytes::from_static(b"Action=DescribeVpcs"))
            .expect("a request")
    }

    fn claim(request: &Request<Bytes>) -> Option<Claim> {
        Claim::read(&signed_parts(request)).ok()
    }

    #[test]
    fn a_request_goes_where_its_scope_says() {
        let relay = nowhere();
        for (region, service, want) in [
            ("us-east-1", "ec2", Destination::Region("us-east-1", false)),
            ("us-west-2", "ec2", Destination::Region("us-west-2", false)),
            ("us-west-2", "iam", Destination::Region("us-east-1", true)),
            (
                "eu-west-1",
                "route53",
                Destination::Region("us-east-1", true),
            ),
            ("us-west-2", "sts", Destination::Region("us-west-2", false)),
            ("aws-global", "sts", Destination::Region("us-east-1", true)),
            ("eu-west-1", "ec2", Destination::Any),
        ] {
            let claim = claim(&request(region, service));
            assert_eq!(
                relay.destination(claim.as_ref()),
                want,
                "{region} {service}"
            );
        }
        assert_eq!(relay.destination(None), Destination::Any, "unsigned");
    }

    #[test]
    fn a_region_of_this_machine_is_told_the_vpc() {
        let mut request = request("us-west-2", "ec2");
        let from = FromVpc {
            vpc: "vpc-0123456789abcdef0".parse().expect("an id"),
            address: [10, 0, 0, 7].into(),
        };
        request.extensions_mut().insert(from);
        let source = |way: &Way| handed(&request, PEER, way).headers().get(SOURCE).cloned();
        let told = source(&Way::Socket("/api.sock".into()));
        assert_eq!(told.expect("a source"), "vpc-0123456789abcdef0/10.0.0.7");
        assert_eq!(source(&Way::Http("192.0.2.1:80".into())), None);
    }

    const PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7);

    #[tokio::test]
    async fn a_dead_region_is_spoken_for_in_the_protocol_of_its_service() {
        let relay = nowhere();
        for (service, kind, text) in [
            (
                "ec2",
                "text/xml;charset=UTF-8",
                "<Response><Errors><Error><Code>ServiceUnavailable</Code><Message>The region us-west-2 does not answer.</Message>",
            ),
            (
                "vpc-lattice",
                "application/json",
                "{\"message\":\"The region us-west-2 does not answer.\"",
            ),
            (
                "logs",
                "application/x-amz-json-1.1",
                "\"__type\":\"ServiceUnavailable\"",
            ),
            (
                "route53",
                "text/xml",
                "<Message>The home region us-east-1 does not answer",
            ),
            (
                "iam",
                "text/xml",
                "DNS answers and policy decisions go on in every region.</Message>",
            ),
        ] {
            let response = relay.relayed(&request("us-west-2", service), PEER).await;
            assert_eq!(response.status(), 503, "{service}");
            assert_eq!(
                response.headers()[http::header::CONTENT_TYPE],
                kind,
                "{service}"
            );
            let body = String::from_utf8_lossy(response.body());
            assert!(body.contains(text), "{service}: {body}");
        }
    }

    #[tokio::test]
    async fn a_request_is_handed_over_as_it_came_with_its_true_source() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let region = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut seen = Vec::new();
            while !seen.ends_with(b"Action=DescribeVpcs") {
                assert_ne!(stream.read_buf(&mut seen).await.expect("bytes"), 0);
            }
            let answer =
                b"HTTP/1.1 418 Teapot\r\ncontent-length: 2\r\nx-amzn-requestid: r\r\n\r\nhi";
            stream.write_all(answer).await.expect("an answer");
            String::from_utf8(seen).expect("text")
        });
        let relay = relay(&[("us-west-2", Way::Socket(path))]);
        let response = relay.relayed(&request("us-west-2", "ec2"), PEER).await;
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (418, &b"hi"[..])
        );
        assert_eq!(response.headers()["x-amzn-requestid"], "r");
        let seen = region.await.expect("the region's side");
        assert!(seen.starts_with("POST /?a=%2F&b HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("host: example:1\r\n"), "{seen}");
        assert!(seen.contains("x-lath-source: 127.0.0.1\r\n"), "{seen}");
        assert!(!seen.contains("192.0.2.1"), "{seen}");
    }
}
