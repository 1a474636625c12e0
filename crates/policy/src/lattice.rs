//! Authorization in VPC Lattice's data plane, by the auth policies of the service network and the service and
//! by the caller's own policies (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/auth-policies.html>). All
//! that apply must allow.

use std::cell::Cell;

use crate::reading::Readings;
use crate::{Attached, Decision, Facts, Kind, Outcome, Policy, Principal, Request, Rule, evaluate};

/// The action of an HTTP request.
pub const INVOKE: &str = "vpc-lattice-svcs:Invoke";
/// The action of a TLS passthrough connection.
pub const CONNECT: &str = "vpc-lattice-svcs:Connect";

/// A request, as a proxy sees it. A value is copied only when a policy needs it.
#[derive(Clone, Copy)]
pub struct Invocation<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// [`INVOKE`] or [`CONNECT`].
    pub action: &'a str,
    /// The service's ARN.
    pub service_arn: &'a str,
    /// The ARN of the service network through which the request came.
    pub network_arn: &'a str,
    /// The listener's port.
    pub port: u16,
    /// The caller's VPC.
    pub source_vpc: Option<&'a str>,
    /// The account of that VPC.
    pub source_vpc_account: Option<&'a str>,
    /// The source address, as text.
    pub source_ip: Option<&'a str>,
    /// The HTTP method.
    pub method: &'a str,
    /// The path without the query. Begins with a slash.
    pub path: &'a str,
    /// Returns the values of a header, whose name is in lower case; empty when it is absent.
    pub header: &'a dyn Fn(&str) -> Vec<String>,
    /// The raw query, without the question mark.
    pub query: &'a str,
    /// Other condition keys, such as `aws:PrincipalTag/team`, `aws:PrincipalOrgID`, `aws:CurrentTime`.
    pub more: &'a dyn Facts,
}

const OWN: &str = "vpc-lattice-svcs:";

impl Facts for Invocation<'_> {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        let one = |text: &str| Some(vec![text.to_owned()]);
        let Some(own) = key.strip_prefix(OWN) else {
            return match key {
                "aws:sourceip" => one(self.source_ip?),
                "aws:principaltype" => one(self.principal.kind()),
                "aws:principalarn" => self.principal.account().map(|_| vec![arn(self.principal)]),
                "aws:principalaccount" => one(self.principal.account()?),
                _ => self.more.values(key),
            };
        };
        if let Some(name) = own.strip_prefix("requestheader/") {
            return Some((self.header)(name)).filter(|values| !values.is_empty());
        }
        if let Some(name) = own.strip_prefix("requestquerystring/") {
            return self.query_values(name);
        }
        match own {
            "port" => Some(vec![self.port.to_string()]),
            "requestmethod" => one(self.method),
            "requestpath" => one(self.path),
            "servicenetworkarn" => one(self.network_arn),
            "servicearn" => one(self.service_arn),
            "sourcevpc" => one(self.source_vpc?),
            "sourcevpcowneraccount" => one(self.source_vpc_account?),
            _ => None,
        }
    }
}

/// The value of `aws:PrincipalArn`: for a session, its role's ARN.
fn arn(principal: &Principal) -> String {
    match principal {
        Principal::Session { role, .. } => role.clone(),
        other => other.arn(),
    }
}

impl Invocation<'_> {
    fn query_values(&self, name: &str) -> Option<Vec<String>> {
        let values: Vec<String> = self
            .query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(key, _)| decoded(key).eq_ignore_ascii_case(name))
            .map(|(_, value)| decoded(value))
            .collect();
        (!values.is_empty()).then_some(values)
    }

    /// The ARN of the resource.
    pub fn resource(&self) -> String {
        if self.action == CONNECT {
            return self.service_arn.to_owned();
        }
        format!("{}{}", self.service_arn, self.path)
    }
}

/// Decodes `%41` and `+` like a browser. Keeps invalid escapes.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => (out.push(byte), at += 3).1,
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The `authType` and auth policy of a network or service.
#[derive(Debug, Clone, Copy)]
pub enum Auth<'a> {
    /// `authType` is `NONE`: an existing policy is ignored.
    None,
    /// `authType` is `AWS_IAM`; without a policy every request is refused.
    AwsIam(Option<&'a Policy>),
}

/// The policy that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The service network's policy.
    Network,
    /// The service's policy.
    Service,
    /// The caller's own policies.
    Identity,
}

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// The policy that refused.
    pub level: Level,
    /// Whether a statement denies the request; otherwise none allows it.
    pub explicit: bool,
}

impl Denial {
    /// The body of the 403.
    pub fn body(&self, invocation: &Invocation<'_>) -> String {
        let level = match self.level {
            Level::Network => "network-based",
            Level::Service => "service-based",
            Level::Identity => "identity-based",
        };
        let action = invocation.action;
        let because = if self.explicit {
            let article = if self.level == Level::Identity {
                "an"
            } else {
                "a"
            };
            format!("with an explicit deny in {article} {level} policy")
        } else {
            format!("because no {level} policy allows the {action} action")
        };
        format!(
            "AccessDeniedException: User: {} is not authorized to perform: {action} on resource: {} {because}",
            invocation.principal.arn(),
            invocation.resource()
        )
    }
}

/// Authorizes a request. `identity` are the caller's own policies (identity, boundary, session). They are evaluated
/// when network or service is `AWS_IAM` and the caller is not anonymous. An account's root needs none.
///
/// Targets may read some requests in more than one way: a path with dot segments, escapes, repeated slashes or
/// parameters, and a repeated header (RFC 9110 section 5.3 joins the values with a comma, but some targets take the
/// first or the last). Every reading must be allowed.
///
/// # Errors
/// When a policy refuses.
pub fn authorize(
    invocation: &Invocation<'_>,
    network: Auth<'_>,
    service: Auth<'_>,
    identity: &[Attached<'_>],
) -> Result<(), Denial> {
    if matches!((network, service), (Auth::None, Auth::None)) {
        return Ok(());
    }
    let gates = Gates {
        network,
        service,
        identity,
    };
    gates.decide_headers(invocation)?;
    let readings = Readings::of(invocation.path);
    for path in &readings.allowed {
        gates.decide_headers(&Invocation {
            path,
            ..*invocation
        })?;
    }
    for path in &readings.not_denied {
        let read = Invocation {
            path,
            ..*invocation
        };
        match gates.decide_headers(&read) {
            Err(refusal) if refusal.explicit => return Err(refusal),
            _ => {}
        }
    }
    Ok(())
}

/// All policies that apply to a request.
struct Gates<'a> {
    network: Auth<'a>,
    service: Auth<'a>,
    identity: &'a [Attached<'a>],
}

impl Gates<'_> {
    /// Decides each reading of repeated headers.
    fn decide_headers(&self, invocation: &Invocation<'_>) -> Result<(), Denial> {
        let repeated = Cell::new(false);
        let joined = |name: &str| {
            let values = (invocation.header)(name);
            if values.len() < 2 {
                return values;
            }
            // HTTP/2 may split a cookie into several fields (RFC 9113 section 8.2.3), to be joined like this.
            let separator = if name == "cookie" { "; " } else { "," };
            repeated.set(repeated.get() || name != "cookie");
            vec![values.join(separator)]
        };
        self.decide(&Invocation {
            header: &joined,
            ..*invocation
        })?;
        if !repeated.get() {
            return Ok(());
        }
        let first = |name: &str| (invocation.header)(name).into_iter().take(1).collect();
        let last = |name: &str| (invocation.header)(name).pop().into_iter().collect();
        self.decide(&Invocation {
            header: &first,
            ..*invocation
        })?;
        self.decide(&Invocation {
            header: &last,
            ..*invocation
        })
    }

    fn decide(&self, invocation: &Invocation<'_>) -> Result<(), Denial> {
        let resource = invocation.resource();
        let request = Request {
            principal: invocation.principal,
            action: invocation.action,
            resource: &resource,
            facts: invocation,
        };
        let own = match invocation.principal {
            Principal::Anonymous | Principal::Root { .. } => Outcome::Allow,
            _ => evaluate(&request, self.identity, Rule::SameAccount).outcome,
        };
        let levels = [
            (Level::Network, of_resource(&request, self.network)),
            (Level::Service, of_resource(&request, self.service)),
            (Level::Identity, own),
        ];
        for (outcome, explicit) in [
            (Outcome::ExplicitDeny, true),
            (Outcome::ImplicitDeny, false),
        ] {
            if let Some((level, _)) = levels.iter().find(|(_, found)| *found == outcome) {
                return Err(Denial {
                    level: *level,
                    explicit,
                });
            }
        }
        Ok(())
    }
}

fn of_resource(request: &Request<'_>, auth: Auth<'_>) -> Outcome {
    match auth {
        Auth::None => Outcome::Allow,
        Auth::AwsIam(None) => Outcome::ImplicitDeny,
        Auth::AwsIam(Some(policy)) => explain(request, policy).outcome,
    }
}

/// The decision of one auth policy. Naming the caller's account is enough here, because the caller's own policies are
/// evaluated too.
pub fn explain<'a>(request: &Request<'_>, policy: &'a Policy) -> Decision<'a> {
    let attached = Attached {
        name: "auth policy",
        // As an identity policy, so that any match of the principal counts.
        kind: Kind::Identity,
        policy,
    };
    evaluate(request, &[attached], Rule::SameAccount)
}
