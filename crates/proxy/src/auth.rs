//! Who may call: the auth policies of service networks and services, and who signed a request
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/auth-policies.html>).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Request, header};
use lath_feed::Auth;
use lath_model::arn::Arn;
use lath_policy::lattice::{self, INVOKE, Invocation, Level};
use lath_policy::{Attached, Context, Grammar, Kind, Policy, Principal};
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
    /// What else is known of it, such as `aws:PrincipalTag/team`.
    pub facts: Context,
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
    /// Whether the request may go on; the answer is what the target is told of who called. Signatures count
    /// only where a policy is asked.
    ///
    /// # Errors
    /// The 403.
    pub(crate) fn authorize(&self) -> Result<Option<HeaderValue>, Denied> {
        let (network, service) = (&self.entry.network_gate, &self.entry.service_gate);
        if network.is_open() && service.is_open() {
            return Ok(None);
        }
        let caller = self.caller().map_err(|refusal| (refusal, None))?;
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
            more: &caller.facts,
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
        )?;
        Ok(identity_header(&caller.principal))
    }

    fn caller(&self) -> Result<Caller, Refusal> {
        let headers = self.request.headers();
        let authorization = headers.get(header::AUTHORIZATION);
        let signed = authorization.is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"));
        if !signed {
            return Ok(Caller {
                principal: Principal::Anonymous,
                policies: Vec::new(),
                facts: Context::default(),
            });
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
        let verified = lath_sigv4::verify(&signed, &*callers.0, SystemTime::now());
        Ok(verified.map_err(refuse)?.owner)
    }

    /// The headers, with the host where HTTP/2 has it elsewhere.
    fn signed_headers(&self) -> HeaderMap {
        let mut headers = self.request.headers().clone();
        let authority = self.request.uri().authority();
        if let Some(authority) = authority.filter(|_| !headers.contains_key(header::HOST))
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(header::HOST, host);
        }
        headers
    }

    /// What Lattice asks of signatures: its own name and region, and a body that is not signed.
    fn check(&self, claim: &Claim, headers: &HeaderMap) -> Result<(), String> {
        let named = |name: &str| {
            claim
                .signed_headers
                .iter()
                .any(|it| it.eq_ignore_ascii_case(name))
        };
        let hash = headers
            .get(CONTENT_SHA256)
            .filter(|_| named(CONTENT_SHA256));
        let Some(hash) = hash else {
            return Err(format!(
                "IncompleteSignatureException: Missing the '{CONTENT_SHA256}' in canonical headers"
            ));
        };
        if hash.as_bytes() != UNSIGNED.as_bytes() {
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
        if claim.scope.service != SIGNING_NAME || claim.scope.region != region {
            return Err(format!(
                "InvalidSignatureException: Credential should be scoped to region '{region}' and service '{SIGNING_NAME}'."
            ));
        }
        Ok(())
    }
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

/// `x-amzn-lattice-identity`, for callers that proved who they are.
fn identity_header(principal: &Principal) -> Option<HeaderValue> {
    if *principal == Principal::Anonymous {
        return None;
    }
    HeaderValue::try_from(format!("Principal={}; Type=AWS_IAM", principal.arn())).ok()
}
