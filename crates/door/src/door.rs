//! From a whole HTTP request to the service that answers it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use lath_clock::Clock;
use lath_sigv4::{Claim, Credentials, Payload, SigError, Verified};
use lath_wire::{
    ApiError, Authorize, Caller, Envelope, FromVpc, KeyOwner, Service, Unsettled, refusal,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::body::{self, Intake};
use crate::unserved;
use crate::waiters::Waiters;

/// How long a waiter's request is held: less than the minute after which clients give up reading.
const HELD: Duration = Duration::from_secs(45);
/// How often the answer to such a request is looked at.
const LOOK: Duration = Duration::from_millis(400);

/// Internal paths that tell of the installation.
const OF_HOST: &str = "/_";

/// Where functions are made and their code is replaced.
const FUNCTIONS: &str = "/2015-03-31/functions";

/// What the front door grants to strangers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections at once, half of them of one source, and no more than the descriptors that there
    /// are for the API. Further ones take the slots of those that are idle.
    pub connections: usize,
    /// Largest body, as sent and once decompressed, in bytes.
    pub body: usize,
    /// Largest body of a request that brings a function's code.
    pub code: usize,
    /// Longest wait for a request's head: from accept, or from the last answer.
    pub head_timeout: Duration,
    /// Longest wait for a request's body.
    pub body_timeout: Duration,
    /// Longest wait for calls in flight when the door closes.
    pub drain: Duration,
}

impl Limits {
    /// The largest body that is taken at a path, before it is known who sends it.
    pub(crate) fn body_at(&self, path: &str) -> usize {
        match path.starts_with(FUNCTIONS) {
            true => self.code.max(self.body),
            false => self.body,
        }
    }
}

impl Default for Limits {
    /// 1024 connections, 8 MiB (of code as much as AWS takes), thirty seconds for the head, a minute for the body, ten seconds to drain.
    fn default() -> Self {
        Self {
            connections: 1024,
            body: 8 << 20,
            code: 70_167_211,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

/// The other end of the connection, among the extensions of requests to internal endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

type Internal = Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync>;

/// Verifies signatures and finds the service that answers: by the region and the signing name of the
/// credential scope, never by host name.
pub struct FrontDoor {
    credentials: Arc<dyn Credentials<Owner = KeyOwner>>,
    clock: Clock,
    judge: Option<Arc<dyn Authorize>>,
    home: Option<String>,
    regions: BTreeMap<String, Vec<Service>>,
    elsewhere: Vec<String>,
    internal: Vec<(&'static str, Internal)>,
    pub(crate) limits: Limits,
    intake: Intake,
    waiters: Waiters,
    /// Nothing is held any more.
    pub(crate) closing: CancellationToken,
}

/// Services without regions: any region in the scope will do.
const GLOBAL: &[&str] = &["iam", "sts", "route53"];

impl FrontDoor {
    /// A door that knows no region yet, and goes by the machine's clock (see [`Self::with_clock`]).
    pub fn new(credentials: Arc<dyn Credentials<Owner = KeyOwner>>) -> Self {
        Self {
            credentials,
            clock: Clock::system(),
            judge: None,
            home: None,
            regions: BTreeMap::new(),
            elsewhere: Vec::new(),
            internal: Vec::new(),
            limits: Limits::default(),
            intake: Intake::new(),
            waiters: Waiters::default(),
            closing: CancellationToken::new(),
        }
    }

    /// Asks `judge` before every handler; without one, every holder of a key may do everything.
    #[must_use]
    pub fn with_judge(mut self, judge: Arc<dyn Authorize>) -> Self {
        self.judge = Some(judge);
        self
    }

    /// Judges the time of signatures by this clock; without one, by the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Adds a region. The first one added also answers for the global services.
    #[must_use]
    pub fn with_region(mut self, name: impl Into<String>, services: Vec<Service>) -> Self {
        let name = name.into();
        self.home.get_or_insert_with(|| name.clone());
        self.regions.insert(name, services);
        self
    }

    /// Names the regions that other doors of the same installation serve, for refusals.
    #[must_use]
    pub fn with_regions_elsewhere(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.elsewhere.extend(names);
        self
    }

    /// Hands requests whose path begins with `prefix`, such as `/_lath/`, to `respond`, unsigned as
    /// they are. [`Peer`] is among their extensions. What begins with `/_` is for the host: requests from VPCs find nothing
    /// there, whichever relay they came by.
    #[must_use]
    pub fn with_internal<F>(mut self, prefix: &'static str, respond: F) -> Self
    where
        F: Fn(Request<Bytes>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync + 'static,
    {
        self.internal.push((prefix, Arc::new(respond)));
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The services of every region, for the compatibility table.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Service)> {
        self.regions
            .iter()
            .flat_map(|(name, services)| services.iter().map(move |s| (name.as_str(), s)))
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Bytes>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, stream) = request.into_parts();
        name_host(&mut parts);
        let most = self.limits.body_at(parts.uri.path());
        let taken = self.intake.take(stream, peer.ip(), &self.limits, most);
        let body = match taken.await {
            Ok(body) => body,
            Err(error) => return self.refuse(parts, &error),
        };
        let is_of_vpc = parts.extensions.get::<FromVpc>().is_some();
        let shown = |it: &str| !(is_of_vpc && it.starts_with(OF_HOST));
        let mut internal = self.internal.iter().filter(|(it, _)| shown(it));
        if let Some((_, respond)) = internal.find(|(it, _)| parts.uri.path().starts_with(it)) {
            parts.extensions.insert(Peer(peer));
            return respond(Request::from_parts(parts, body)).await;
        }
        self.answer_signed(Request::from_parts(parts, body), peer)
            .await
    }

    async fn answer_signed(&self, request: Request<Bytes>, peer: SocketAddr) -> Response<Bytes> {
        let request_id = Uuid::new_v4().to_string();
        if let Some(response) = self.unserved(&request, &request_id) {
            return response;
        }
        if let Some((service, caller)) = self.unsigned(&request, &request_id, peer) {
            return service.respond(&request, &caller).await;
        }
        let verified = match self.verified(&request) {
            Ok(verified) => verified,
            Err(error) => {
                let envelope = self.guess(&request, &request_id);
                return envelope.failure(&refusal::signature(envelope.protocol(), &error));
            }
        };
        let service = match self.find(&verified.claim) {
            Ok(service) => service,
            Err(text) => {
                let envelope = self.guess(&request, &request_id);
                return envelope.failure(&refusal::scope(envelope.protocol(), text));
            }
        };
        let caller = caller(verified, request_id, &request, peer);
        // The signature covers the body as it was sent; only now may it change.
        let plain = body::expanded(request.headers(), request.body().clone(), self.limits.body);
        match plain {
            Ok(body) => {
                let request = request.map(|_| body);
                self.settled(service, &request, &caller).await
            }
            Err(error) => {
                let envelope = service.envelope(&request, &caller.request_id);
                envelope.failure(&error.answer())
            }
        }
    }

    /// The answer; to a waiter a late one, where an early one would only say that it has to ask again. Whether the caller
    /// may ask is judged each time.
    async fn settled(
        &self,
        service: &Service,
        request: &Request<Bytes>,
        caller: &Caller,
    ) -> Response<Bytes> {
        let judge = self.judge.as_deref();
        let is_of_waiter = is_of_waiter(request) && request.body().is_empty();
        let began = Instant::now();
        let mut held = None;
        loop {
            let response = service.respond_if(judge, request, caller).await;
            let may_change = response.extensions().get::<Unsettled>().is_some();
            if !is_of_waiter || !may_change || began.elapsed() >= HELD {
                return response;
            }
            // One too many is answered as one that no waiter sent: it asks again by itself.
            if held.is_none() {
                held = self.waiters.hold(&caller.account);
            }
            if held.is_none() {
                return response;
            }
            tokio::select! {
                () = self.closing.cancelled() => return response,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The answer where the service, or an operation that AWS takes unsigned, is not here.
    fn unserved(&self, request: &Request<Bytes>, request_id: &str) -> Option<Response<Bytes>> {
        let absent = match Claim::read(&signed_parts(request)) {
            Ok(claim) => Some(claim.scope.service).filter(|name| self.named(name).is_none()),
            Err(SigError::Missing) => {
                let meant = self.meant(request);
                let action = meant.and_then(|it| unserved::unsigned_action(it, request));
                if let (Some(service), Some(action)) = (meant, action) {
                    let envelope = service.envelope(request, request_id);
                    return Some(envelope.failure(&refusal::invalid_action(&action)));
                }
                let absent = meant.is_none().then(|| unserved::unsigned(request));
                absent.flatten().map(str::to_owned)
            }
            Err(_) => None,
        }?;
        let envelope = unserved::envelope(&absent, request, request_id);
        Some(envelope.failure(&unserved::error(&absent, &envelope, request)))
    }

    /// The service whose operation takes the request unsigned, in the region that answers for the global services.
    fn unsigned(
        &self,
        request: &Request<Bytes>,
        request_id: &str,
        peer: SocketAddr,
    ) -> Option<(&Service, Caller)> {
        if !matches!(Claim::read(&signed_parts(request)), Err(SigError::Missing)) {
            return None;
        }
        let home = self.home.as_ref()?;
        let mut services = self.regions.get(home)?.iter();
        let service = services.find(|service| seems_meant(service, request))?;
        let action = unserved::action(request)?;
        service.takes_unsigned(&action).then_some(())?;
        let name = service.info().signing_name;
        let (source_ip, from_vpc) = origin(request, peer);
        let nobody = Caller::nobody(home, name, request_id, source_ip);
        Some((service, Caller { from_vpc, ..nobody }))
    }

    /// The service of a signing name, of any region.
    fn named(&self, name: &str) -> Option<&Service> {
        let mut services = self.regions.values().flatten();
        services.find(|service| service.info().signing_name == name)
    }

    /// The service that an unsigned request seems meant for.
    fn meant(&self, request: &Request<Bytes>) -> Option<&Service> {
        let mut services = self.regions.values().flatten();
        services.find(|service| seems_meant(service, request))
    }

    fn verified(&self, request: &Request<Bytes>) -> Result<Verified<KeyOwner>, SigError> {
        let signed = signed_parts(request);
        lath_sigv4::verify(&signed, self.credentials.as_ref(), self.clock.system_time())
    }

    fn find(&self, claim: &Claim) -> Result<&Service, String> {
        let (region, name) = (&claim.scope.region, &claim.scope.service);
        let global = GLOBAL.contains(&name.as_str());
        let home = self.home.as_ref().filter(|_| global);
        let Some(services) = self.regions.get(home.unwrap_or(region)) else {
            let known = self.regions.keys().chain(&self.elsewhere);
            let mut known: Vec<&str> = known.map(String::as_str).collect();
            known.sort_unstable();
            return Err(format!(
                "Credential should be scoped to a valid region. Lath serves {} here, not '{}'.",
                known.join(", "),
                cut(region)
            ));
        };
        services
            .iter()
            .find(|service| service.info().signing_name == name)
            .ok_or_else(|| {
                let name = cut(name);
                format!(
                    "Credential should be scoped to correct service. Lath does not serve '{name}'."
                )
            })
    }

    /// How to word a refusal of a request that has no proved service: as the service it seems meant for.
    fn guess(&self, request: &Request<Bytes>, request_id: &str) -> Envelope {
        let claim = Claim::read(&signed_parts(request)).ok();
        let claimed = claim.and_then(|claim| self.named(&claim.scope.service));
        let meant = claimed.or_else(|| self.meant(request));
        match meant {
            Some(service) => service.envelope(request, request_id),
            None => Envelope::anonymous(request, request_id),
        }
    }

    fn refuse(&self, parts: Parts, error: &ApiError) -> Response<Bytes> {
        let request = Request::from_parts(parts, Bytes::new());
        let request_id = Uuid::new_v4().to_string();
        self.guess(&request, &request_id).failure(error)
    }
}

/// HTTP/2 has the host in `:authority`.
pub(crate) fn name_host(parts: &mut Parts) {
    if parts.headers.contains_key(http::header::HOST) {
        return;
    }
    let host = parts
        .uri
        .authority()
        .and_then(|host| host.as_str().parse().ok());
    if let Some(host) = host {
        parts.headers.insert(http::header::HOST, host);
    }
}

pub(crate) fn signed_parts(request: &Request<Bytes>) -> lath_sigv4::Request<'_> {
    lath_sigv4::Request {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers: request.headers(),
        body: Payload::Bytes(request.body()),
    }
}

/// Where a request came from: an address that the world knows, or a VPC.
fn origin(request: &Request<Bytes>, peer: SocketAddr) -> (Option<IpAddr>, Option<FromVpc>) {
    match request.extensions().get::<FromVpc>() {
        Some(from) => (None, Some(from.clone())),
        None => (Some(peer.ip()), None),
    }
}

fn caller(
    verified: Verified<KeyOwner>,
    request_id: String,
    request: &Request<Bytes>,
    peer: SocketAddr,
) -> Caller {
    let (source_ip, from_vpc) = origin(request, peer);
    Caller {
        account: verified.owner.account,
        region: verified.claim.scope.region,
        service: verified.claim.scope.service,
        principal: verified.owner.principal,
        access_key_id: verified.claim.access_key_id,
        request_id,
        source_ip,
        from_vpc,
    }
}

/// Whether a waiter of an AWS SDK asks: the feature `B` among those that it lists
/// (<https://github.com/boto/botocore/blob/develop/botocore/useragent.py>).
fn is_of_waiter(request: &Request<Bytes>) -> bool {
    let agent = request.headers().get(http::header::USER_AGENT);
    let agent = agent.and_then(|value| value.to_str().ok());
    let mut words = agent.unwrap_or_default().split(' ');
    let features = words.find_map(|word| word.strip_prefix("m/"));
    features.is_some_and(|it| it.split(',').any(|feature| feature == "B"))
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn seems_meant(service: &Service, request: &Request<Bytes>) -> bool {
    let info = service.info();
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|v| v.to_str().ok());
    if let Some(target) = target {
        let prefix = target.rsplit_once('.').map_or(target, |(prefix, _)| prefix);
        return !info.target_prefix.is_empty() && prefix == info.target_prefix;
    }
    let path = request.uri().path();
    if path != "/" {
        return service.has_route(request.method().as_str(), path);
    }
    let version = format!("Version={}", info.version);
    let has = |bytes: &[u8]| {
        bytes
            .split(|b| *b == b'&')
            .any(|part| part == version.as_bytes())
    };
    has(request.body()) || has(request.uri().query().unwrap_or_default().as_bytes())
}
