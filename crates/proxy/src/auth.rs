//! Who may call: the auth policies of service networks and services, and who signed a request
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/auth-policies.html>).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Request, header};
use lath_feed::Auth;
use lath_model::Timestamp;
use lath_model::arn::Arn;
use lath_policy::lattice::{self, INVOKE, Invocation, Level};
use lath_policy::{Attached, Context, Facts, Grammar, Kind, Policy, Principal};
use lath_sigv4::{Claim, Credentials, Payload, SigError};

use crate::refusal::Refusal;
use crate::state::{Entry, VpcState};

/// The service in the scope of signatures.
const SIGNING_NAME: &str = "vpc-lattice-svcs";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Who signed a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// Its own policies: what it is attached as, and the document.
    pub policies: Vec<(Kind, Arc<Policy>)>,
    /// What else is known of it, such as `aws:username`.
    pub facts: Context,
    /// Its tags: the values of `aws:PrincipalTag/...`.
    pub tags: BTreeMap<String, String>,
}

impl Facts for Caller {
    /// What is so now is found out only when a policy asks.
    fn values(&self, key: &str) -> Option<Vec<String>> {
        let now = Timestamp::now;
        let one = |text: String| Some(vec![text]);
        match key {
            "aws:currenttime" => one(now().iso8601_seconds()),
            "aws:epochtime" => one((now().as_millis() / 1000).to_string()),
            // Lattice's listeners are served in the clear.
            "aws:securetransport" | "aws:viaawsservice" => one("false".to_owned()),
            _ => match key.strip_prefix("aws:principaltag/") {
                Some(name) => self.tag(name).map(|value| vec![value.to_owned()]),
                None => self.facts.values(key),
            },
        }
    }
}

impl Caller {
    fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
            policies: Vec::new(),
            facts: Context::default(),
            tags: BTreeMap::new(),
        }
    }

    fn tag(&self, name: &str) -> Option<&str> {
        let mut tags = self.tags.iter();
        let found = tags.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(found.1)
    }
}

/// Who sent a request, as far as anybody asked.
#[derive(Debug, Default)]
pub(crate) enum Sender {
    /// No policy asks.
    #[default]
    Unasked,
    /// A signature that proves nothing.
    Unknown,
    /// Who did not sign, or proved who it is.
    Known(Box<Caller>),
}

impl Sender {
    /// As access logs name it.
    pub(crate) fn resolved(&self) -> Option<String> {
        match self {
            Self::Unasked => None,
            Self::Unknown => Some("Unknown".to_owned()),
            Self::Known(caller) if caller.principal == Principal::Anonymous => {
                Some("Anonymous".to_owned())
            }
            Self::Known(caller) => Some(caller.principal.arn()),
        }
    }

    /// Who it was proved to be.
    pub(crate) fn proved(&self) -> Option<&Caller> {
        match self {
            Self::Known(caller) if caller.principal != Principal::Anonymous => Some(caller),
            _ => None,
        }
    }

    /// `x-amzn-lattice-identity`, for callers that proved who they are.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let arn = self.proved()?.principal.arn();
        HeaderValue::try_from(format!("Principal={arn}; Type=AWS_IAM")).ok()
    }
}

/// The keys that requests may be signed with.
#[derive(Clone)]
pub struct Callers(pub Arc<dyn Credentials<Owner = Caller>>);

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callers(..)")
    }
}

/// A network's or service's switch, with its policy read once.
#[derive(Debug, Clone)]
pub(crate) enum Gate {
    Open,
    /// Without a policy, nobody passes.
    Guarded(Option<Arc<Policy>>),
}

impl Gate {
    pub(crate) fn of(auth: &Auth, arn: &str) -> Self {
        let Auth::AwsIam { policy } = auth else {
            return Self::Open;
        };
        let read = |text: &String| {
            let policy = Policy::parse(text, Grammar::Resource).inspect_err(|error| {
                tracing::error!(resource.arn = arn, %error, "the auth policy cannot be read, so that it allows nobody");
            });
            policy.ok().map(Arc::new)
        };
        Self::Guarded(policy.as_ref().and_then(read))
    }

    fn auth(&self) -> lattice::Auth<'_> {
        match self {
            Self::Open => lattice::Auth::None,
            Self::Guarded(policy) => lattice::Auth::AwsIam(policy.as_deref()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// Whose policy denied, as the access log says it.
pub(crate) fn denier(level: Level) -> &'static str {
    match level {
        Level::Network => "Network",
        Level::Service => "Service",
        Level::Identity => "Identity",
    }
}

/// A refused request: what is answered, and whose policy denied.
pub(crate) type Denied = (Refusal, Option<Level>);

/// A request that a policy may have to be asked about.
pub(crate) struct Call<'a, B> {
    pub(crate) callers: Option<&'a Callers>,
    pub(crate) network_arn: &'a str,
    pub(crate) vpc: &'a VpcState,
    pub(crate) entry: &'a Entry,
    pub(crate) port: u16,
    pub(crate) client: &'a HeaderValue,
    pub(crate) request: &'a Request<B>,
}

impl<B> Call<'_, B> {
    /// Who sent the request, and whether it may go on: if not, the 403. Signatures count only where a policy
    /// is asked.
    pub(crate) fn authorize(&self) -> (Sender, Result<(), Denied>) {
        let (network, service) = (&self.entry.network_gate, &self.entry.service_gate);
        if network.is_open() && service.is_open() {
            return (Sender::Unasked, Ok(()));
        }
        match self.caller() {
            Ok(caller) => {
                let judged = self.judge(&caller);
                (Sender::Known(Box::new(caller)), judged)
            }
            Err(refusal) => (Sender::Unknown, Err((refusal, None))),
        }
    }

    fn judge(&self, caller: &Caller) -> Result<(), Denied> {
        let (network, service) = (&self.entry.network_gate, &self.entry.service_gate);
        let header = |name: &str| {
            let values = self.request.headers().get_all(name).iter();
            values
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect()
        };
        let invocation = Invocation {
            principal: &caller.principal,
            action: INVOKE,
            service_arn: &self.entry.source.arn,
            network_arn: self.network_arn,
            port: self.port,
            source_vpc: Some(self.vpc.id.as_str()),
            source_vpc_account: Some(&self.vpc.owner),
            source_ip: self.client.to_str().ok(),
            method: self.request.method().as_str(),
            path: self.request.uri().path(),
            header: &header,
            query: self.request.uri().query().unwrap_or_default(),
            more: caller,
        };
        let attached: Vec<Attached<'_>> = caller
            .policies
            .iter()
            .map(|(kind, policy)| Attached {
                name: "the caller's policy",
                kind: *kind,
                policy,
            })
            .collect();
        lattice::authorize(&invocation, network.auth(), service.auth(), &attached).map_err(
            |refusal| {
                let body = refusal.body(&invocation);
                tracing::debug!(service.id = %self.entry.slot.id, reason = %body, "a request is denied");
                (Refusal::denied(body), Some(refusal.level))
            },
        )
    }

    fn caller(&self) -> Result<Caller, Refusal> {
        let uri = self.request.uri();
        let signed = is_signature(self.request.headers().get(header::AUTHORIZATION))
            || lath_sigv4::is_presigned(uri.query().unwrap_or_default());
        if !signed {
            return Ok(Caller::anonymous());
        }
        self.proved().map_err(Refusal::denied)
    }

    /// Who signed the request.
    fn proved(&self) -> Result<Caller, String> {
        let refuse = |error: SigError| format!("{}: {error}", code(&error));
        let headers = self.signed_headers();
        let uri = self.request.uri();
        let signed = lath_sigv4::Request {
            method: self.request.method().as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers: &headers,
            body: Payload::Unsigned,
        };
        let claim = Claim::read(&signed).map_err(refuse)?;
        self.check(&claim, &headers)?;
        let callers = self.callers.ok_or(SigError::UnknownKey).map_err(refuse)?;
        let verified = lath_sigv4::verify_any(&signed, &*callers.0, SystemTime::now());
        Ok(verified.map_err(refuse)?.owner)
    }

    /// The headers, with the host where HTTP/2 has it elsewhere, and without an `Authorization` that is for the target.
    fn signed_headers(&self) -> HeaderMap {
        let mut headers = self.request.headers().clone();
        if !is_signature(headers.get(header::AUTHORIZATION)) {
            headers.remove(header::AUTHORIZATION);
        }
        let authority = self.request.uri().authority();
        if let Some(authority) = authority.filter(|_| !headers.contains_key(header::HOST))
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(header::HOST, host);
        }
        headers
    }

    /// What Lattice asks of signatures: its own name and region, and a body that is not signed. A presigned request
    /// has no header that says the latter; its body is `UNSIGNED-PAYLOAD` all the same.
    fn check(&self, claim: &Claim, headers: &HeaderMap) -> Result<(), String> {
        let named = |name: &str| {
            claim
                .signed_headers
                .iter()
                .any(|it| it.eq_ignore_ascii_case(name))
        };
        let hash = headers.get(CONTENT_SHA256);
        let says = hash.is_some() && named(CONTENT_SHA256);
        if !claim.presigned && !says {
            return Err(format!(
                "IncompleteSignatureException: Missing the '{CONTENT_SHA256}' in canonical headers"
            ));
        }
        if hash.is_some_and(|hash| hash.as_bytes() != UNSIGNED.as_bytes()) {
            return Err("InvalidSignatureException: Signed payloads are not supported".to_owned());
        }
        if let Some(absent) = claim
            .signed_headers
            .iter()
            .find(|it| !headers.contains_key(it.as_str()))
        {
            return Err(format!(
                "IncompleteSignatureException: '{absent}' is named as a SignedHeader, but it does not exist in the HTTP request."
            ));
        }
        let region = self
            .entry
            .source
            .arn
            .parse::<Arn>()
            .map(|arn| arn.region)
            .unwrap_or_default();
        if claim.scope.service != SIGNING_NAME || !claim.covers_region(&region) {
            return Err(format!(
                "InvalidSignatureException: Credential should be scoped to region '{region}' and service '{SIGNING_NAME}'."
            ));
        }
        Ok(())
    }
}

fn is_signature(authorization: Option<&HeaderValue>) -> bool {
    authorization.is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
}

fn code(error: &SigError) -> &'static str {
    match error {
        SigError::Missing => "MissingAuthenticationTokenException",
        SigError::Incomplete(_) => "IncompleteSignatureException",
        SigError::UnknownKey | SigError::BadToken => "UnrecognizedClientException",
        SigError::ExpiredToken => "ExpiredTokenException",
        SigError::Mismatch
        | SigError::Expired { .. }
        | SigError::NotYetCurrent { .. }
        | SigError::PresignExpired => "InvalidSignatureException",
    }
}
