//! What becomes of each listener of a Gateway: whether it can be had, what its references lead to, and what it has in common
//! with others.

use crate::attach::{kinds_of, meet, protocol};
use crate::condition::Verdict;
use crate::desired::{Protocol, key};
use crate::kinds::{Gateway, Listener};
use crate::secrets::SecretRef;
use crate::world::{Name, World};

/// A certificate that a listener names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// One of ACM, by its ARN.
    Acm(String),
    /// One of a Secret that can be read.
    Secret(Name),
}

/// What becomes of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) accepted: Verdict,
    pub(crate) resolved: Verdict,
    /// Where Gateways have an address: whether it has what another one has already.
    pub(crate) conflicted: Option<Verdict>,
    /// Whether clients could take it for another one that they have a connection to.
    pub(crate) overlapping: Option<Verdict>,
    pub(crate) certificates: Vec<Certificate>,
}

impl Judged {
    /// Whether it can be had.
    pub(crate) fn is_good(&self) -> bool {
        self.accepted.good && self.resolved.good
    }

    /// Whether requests can come in: also where one of several certificates, or of the kinds of routes, cannot be had.
    pub(crate) fn serves(&self) -> bool {
        let certified = self.resolved.reason != "InvalidCertificateRef"
            && self.resolved.reason != "RefNotPermitted";
        self.accepted.good && (certified || !self.certificates.is_empty())
    }
}

/// Whether Lattice has such listeners.
fn known(listener: &Listener, entrance: bool) -> Result<Protocol, Verdict> {
    if let Some(protocol) = protocol(listener) {
        return Ok(protocol);
    }
    let message =
        "VPC Lattice has HTTP, HTTPS that ends at the listener, and TLS that is passed through";
    let of_known = matches!(listener.protocol.as_str(), "TLS" | "HTTPS");
    let reason = match entrance && of_known {
        true => "UnsupportedValue",
        false => "UnsupportedProtocol",
    };
    Err(Verdict::bad(reason, message))
}

/// Without an address of its own, a Gateway's listeners may share a port with one protocol.
fn accepted(listeners: &[Listener], at: usize) -> Verdict {
    let listener = &listeners[at];
    let protocol = match known(listener, false) {
        Ok(protocol) => protocol,
        Err(verdict) => return verdict,
    };
    let earlier = listeners[..at].iter().find(|it| it.port == listener.port);
    match earlier.and_then(self::protocol) {
        Some(other) if other != protocol => {
            let message = format!("port {} speaks {} already", listener.port, other.as_str());
            Verdict::bad("PortUnavailable", message)
        }
        _ => Verdict::good("Accepted"),
    }
}

fn same_hostname(a: &Listener, b: &Listener) -> bool {
    let name = |it: &Listener| it.hostname.clone().unwrap_or_default().to_ascii_lowercase();
    name(a) == name(b)
}

/// Listeners of a Gateway are told apart by port, and by hostname where they have one protocol. Of those that are not, the first counts.
fn conflict(listeners: &[Listener], at: usize) -> Option<Verdict> {
    let listener = &listeners[at];
    let protocol = protocol(listener)?;
    let earlier = listeners[..at].iter().filter(|it| it.port == listener.port);
    for other in earlier {
        match self::protocol(other) {
            Some(known) if known != protocol => {
                let message = format!("port {} speaks {} already", listener.port, known.as_str());
                return Some(Verdict::good("ProtocolConflict").saying(message));
            }
            Some(_) if same_hostname(listener, other) => {
                let message = format!(
                    "listener {} has the port {} and this hostname",
                    other.name, other.port
                );
                return Some(Verdict::good("HostnameConflict").saying(message));
            }
            _ => {}
        }
    }
    None
}

/// Whether another listener of HTTPS on the port has hostnames in common with this one: a client with a connection for one could send
/// requests for the other there, which are answered 421.
fn overlapping(listeners: &[Listener], at: usize) -> Option<Verdict> {
    let listener = &listeners[at];
    let is_https = |it: &Listener| protocol(it) == Some(Protocol::Https);
    if !is_https(listener) {
        return None;
    }
    let others = listeners.iter().enumerate();
    let mut others =
        others.filter(|(other, it)| *other != at && it.port == listener.port && is_https(it));
    let covers = |other: &Listener| {
        let names = [listener, other].map(|it| it.hostname.as_deref().unwrap_or_default());
        names.contains(&"") || meet(names[0], names[1])
    };
    others.find(|(_, it)| covers(it)).map(|(_, it)| {
        let message = format!("listener {} has hostnames of this one", it.name);
        Verdict::good("OverlappingHostnames").saying(message)
    })
}

/// What a reference to a certificate leads to, and what is wrong with it. While a Secret's new content is refused, the certificate
/// of the former one stays.
fn certificate(
    world: &World,
    gateway: &Name,
    reference: &SecretRef,
) -> (Option<Certificate>, Option<Verdict>) {
    let invalid = |message: String| Some(Verdict::bad("InvalidCertificateRef", message));
    if !reference.is_to_secret() {
        let message = format!("certificateRef {} is not to a Secret", reference.name);
        return (None, invalid(message));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&gateway.namespace);
    let name = Name::new(namespace, &reference.name);
    if !world.is_granted(("Gateway", &gateway.namespace), ("", "Secret"), &name) {
        let message = format!("no ReferenceGrant lets this Gateway refer to Secret {name}");
        return (None, Some(Verdict::bad("RefNotPermitted", message)));
    }
    let Some(secret) = world.secrets.get(&name) else {
        let message = format!("there is no Secret {name} of type kubernetes.io/tls");
        return (None, invalid(message));
    };
    let refused = world.refused.get(&name);
    let refused = refused.filter(|(hash, _)| *hash == secret.hash);
    let why = secret
        .fault
        .or_else(|| refused.map(|(_, why)| why.as_str()));
    let Some(why) = why else {
        return (Some(Certificate::Secret(name)), None);
    };
    let verdict = invalid(format!("Secret {name}: {why}"));
    let former = world.is_imported(&name);
    (former.then_some(Certificate::Secret(name)), verdict)
}

/// Whether a listener's references lead somewhere, and to which certificates.
fn resolved(
    world: &World,
    gateway: &Name,
    listener: &Listener,
    entrance: bool,
) -> (Verdict, Vec<Certificate>) {
    let option = key("certificate-arn");
    let mut certificates = Vec::new();
    let mut verdict = Verdict::good("ResolvedRefs");
    let tls = listener.tls.as_ref();
    let references = tls.map_or(&[][..], |it| &it.certificate_refs);
    if let Some(arn) = tls.and_then(|it| it.options.get(&option)) {
        match world.may_present(gateway, arn) {
            true => certificates.push(Certificate::Acm(arn.clone())),
            false => {
                let message = format!("no ReferenceGrant lets this Gateway present {arn}");
                verdict = Verdict::bad("RefNotPermitted", message);
            }
        }
    }
    if entrance && protocol(listener) == Some(Protocol::Https) {
        for reference in references {
            let (found, wrong) = certificate(world, gateway, &SecretRef::of(reference));
            certificates.extend(found);
            if let Some(wrong) = wrong.filter(|_| verdict.good) {
                verdict = wrong;
            }
        }
        if certificates.is_empty() && verdict.good {
            let message = format!("neither certificateRefs nor the option {option}");
            verdict = Verdict::bad("InvalidCertificateRef", message);
        }
    } else if !references.is_empty() && !entrance && verdict.good {
        verdict = verdict.saying(format!(
            "certificateRefs are not read: the option {option} names a certificate of ACM"
        ));
    }
    let kinds = listener
        .allowed_routes
        .as_ref()
        .map_or(0, |it| it.kinds.len());
    if kinds > kinds_of(listener, entrance).len() {
        verdict = Verdict::bad(
            "InvalidRouteKinds",
            "VPC Lattice does not have all of these routes on such a listener",
        );
    }
    (verdict, certificates)
}

/// What becomes of all listeners of a Gateway.
pub(crate) fn judge(
    world: &World,
    (name, gateway): (&Name, &Gateway),
    entrance: bool,
) -> Vec<Judged> {
    let listeners = &gateway.spec.listeners;
    let judged = listeners.iter().enumerate().map(|(at, listener)| {
        let (resolved, certificates) = resolved(world, name, listener, entrance);
        if !entrance {
            return Judged {
                accepted: accepted(listeners, at),
                resolved,
                conflicted: None,
                overlapping: None,
                certificates,
            };
        }
        let conflict = conflict(listeners, at);
        let accepted = match (known(listener, true), &conflict) {
            (Err(verdict), _) => verdict,
            (_, Some(it)) => Verdict::bad(it.reason, it.message.clone()),
            _ => Verdict::good("Accepted"),
        };
        let none = || Verdict::bad("NoConflicts", "");
        Judged {
            accepted,
            resolved,
            conflicted: Some(conflict.unwrap_or_else(none)),
            overlapping: overlapping(listeners, at),
            certificates,
        }
    });
    judged.collect()
}
