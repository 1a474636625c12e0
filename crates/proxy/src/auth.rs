//! Who may call: the auth policies of service networks and services, and who signed a request
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/auth-policies.html>).

use http::{HeaderMap, HeaderValue, Request, header};
use lath_clock::Clock;
use lath_model::arn::Arn;
use lath_policy::lattice::{self, CONNECT, INVOKE, Invocation, Level};
use lath_policy::{Attached, Facts};
use lath_sigv4::{Claim, Payload, SigError};
use lath_svid::Svid;

use crate::callers::{Caller, Callers, Sender};
use crate::refusal::Refusal;
use crate::state::{Entry, VpcState};
use crate::tls::Presented;

/// The service in the scope of signatures.
const SIGNING_NAME: &str = "vpc-lattice-svcs";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A refused request: what is answered, and whose policy denied.
pub(crate) type Denied = (Refusal, Option<Level>);

/// A request that a policy may have to be asked about.
pub(crate) struct Call<'a, B> {
    pub(crate) callers: Option<&'a Callers>,
    pub(crate) clock: &'a Clock,
    pub(crate) network_arn: &'a str,
    pub(crate) vpc: &'a VpcState,
    pub(crate) entry: &'a Entry,
    pub(crate) port: u16,
    pub(crate) client: &'a HeaderValue,
    /// Whether the request came under TLS.
    pub(crate) secure: bool,
    /// The client's certificate, where the listener verified it.
    pub(crate) certificate: Option<&'a Presented>,
    /// The workload that calls, where the network asks.
    pub(crate) workload: Option<&'a Svid>,
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
            more: &Seen {
                caller,
                clock: self.clock,
                secure: self.secure,
                certificate: self.certificate,
                workload: self.workload,
            },
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
        let verified = lath_sigv4::verify_any(&signed, &*callers.0, self.clock.system_time());
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
        let declares = hash.is_some() && named(CONTENT_SHA256);
        if !claim.presigned && !declares {
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

/// A connection whose bytes are passed on as they are.
pub(crate) struct Passage<'a> {
    pub(crate) network_arn: &'a str,
    pub(crate) vpc: &'a VpcState,
    pub(crate) entry: &'a Entry,
    pub(crate) port: u16,
    pub(crate) client: &'a HeaderValue,
    pub(crate) clock: &'a Clock,
    /// The workload that connects, where the network asks.
    pub(crate) workload: Option<&'a Svid>,
}

impl Passage<'_> {
    /// Who connected, which nothing proves, and whether it may; if not, whose policy denies it.
    pub(crate) fn authorize(&self) -> (Sender, Result<(), Level>) {
        let (network, service) = (&self.entry.network_gate, &self.entry.service_gate);
        if network.is_open() && service.is_open() {
            return (Sender::Unasked, Ok(()));
        }
        let caller = Caller::anonymous();
        let invocation = Invocation {
            principal: &caller.principal,
            action: CONNECT,
            service_arn: &self.entry.source.arn,
            network_arn: self.network_arn,
            port: self.port,
            source_vpc: Some(self.vpc.id.as_str()),
            source_vpc_account: Some(&self.vpc.owner),
            source_ip: self.client.to_str().ok(),
            method: "",
            path: "",
            header: &|_: &str| Vec::new(),
            query: "",
            more: &Seen {
                caller: &caller,
                clock: self.clock,
                secure: true,
                certificate: None,
                workload: self.workload,
            },
        };
        let judged = lattice::authorize(&invocation, network.auth(), service.auth(), &[]);
        let judged = judged.map_err(|refusal| {
            let reason = refusal.body(&invocation);
            tracing::debug!(service.id = %self.entry.slot.id, %reason, "a connection is denied");
            refusal.level
        });
        (Sender::Known(Box::new(caller)), judged)
    }
}

/// What is known of the caller and of its connection.
struct Seen<'a> {
    caller: &'a Caller,
    clock: &'a Clock,
    secure: bool,
    certificate: Option<&'a Presented>,
    workload: Option<&'a Svid>,
}

impl Facts for Seen<'_> {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        match key {
            "aws:currenttime" => Some(vec![self.clock.now().iso8601_seconds()]),
            "aws:epochtime" => Some(vec![self.clock.unix_seconds().to_string()]),
            "aws:securetransport" => Some(vec![self.secure.to_string()]),
            "lath:spiffeid" if self.workload.is_some() => {
                self.workload.map(|it| vec![it.spiffe_id.clone()])
            }
            _ if key.starts_with("lath:") => self.certificate?.fact(key),
            _ => self.caller.values(key),
        }
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
