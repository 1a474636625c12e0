//! What becomes of each listener of a Gateway: whether it can be had, what its references lead to, and what it has in common
//! with others.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use crate::attach::{is_allowed, kinds_of, meet, protocol};
use crate::authorities::{self, Asked};
use crate::condition::ConditionState;
use crate::desired::{Protocol, key};
use crate::kinds::{Gateway, Listener, ListenerSet};
use crate::long_tags;
use crate::secrets::ObjectRef;
use crate::shown;
use crate::world::{Name, World};

/// How many listeners of a Gateway may share a port, and how many certificates one has: what a tag of Lath's takes.
const MOST_LISTENERS: usize = 64;
/// In so many tags; those that say what clients are asked for and who asks have their place beside them.
const MOST_TAGS: usize = 50;
const MOST_CERTIFICATES: usize = 16;
/// How long a listener's name may be in that tag.
const LONGEST_NAME: usize = 253;

/// Where a listener stands.
#[derive(Clone, Debug)]
enum Origin {
    Gateway(Arc<Gateway>),
    Set(Arc<ListenerSet>),
}

/// A listener of a Gateway: one of its own, or of a ListenerSet that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Whose it is: the Gateway's or the ListenerSet's.
    owner: Name,
    origin: Origin,
    /// Its place there.
    at: usize,
    /// Its place among all listeners of the Gateway.
    pub(crate) place: usize,
}

impl Section {
    pub(crate) fn listener(&self) -> &Listener {
        match &self.origin {
            Origin::Gateway(gateway) => &gateway.spec.listeners[self.at],
            Origin::Set(set) => &set.spec.listeners[self.at],
        }
    }

    /// The ListenerSet that it is of.
    pub(crate) fn set(&self) -> Option<&Name> {
        match self.origin {
            Origin::Gateway(_) => None,
            Origin::Set(_) => Some(&self.owner),
        }
    }

    /// The kind and the namespace of what its references are those of.
    pub(crate) fn referrer(&self) -> (&'static str, &str) {
        let kind = match self.origin {
            Origin::Gateway(_) => "Gateway",
            Origin::Set(_) => "ListenerSet",
        };
        (kind, &self.owner.namespace)
    }

    /// What it is called among all listeners of the Gateway. Names of listeners have no slash.
    pub(crate) fn key(&self) -> String {
        let name = &self.listener().name;
        let Some(set) = self.set() else {
            return name.clone();
        };
        let whole = format!("{set}/{name}");
        if whole.len() <= LONGEST_NAME {
            return whole;
        }
        let hash = Sha256::digest(whole.as_bytes());
        let hash: String = hash.iter().map(|it| format!("{it:02x}")).collect();
        format!("{}/{hash}", set.namespace)
    }

    /// What people call it, as far as those of other ListenerSets may know.
    fn words(&self) -> String {
        match self.set() {
            None => format!("listener {} of the Gateway", self.listener().name),
            Some(_) => "a listener of an older ListenerSet".to_owned(),
        }
    }
}

/// The ListenerSets that a Gateway takes, the oldest first.
pub(crate) fn attached_sets<'a>(
    world: &'a World,
    (name, gateway): (&'a Name, &Gateway),
) -> Vec<(&'a Name, &'a Arc<ListenerSet>)> {
    let allowed = gateway.spec.allowed_listeners.as_ref();
    let Some(allowed) = allowed.and_then(|it| it.namespaces.as_ref()) else {
        return Vec::new();
    };
    let mut sets: Vec<_> = world
        .sets_for(name)
        .filter(|(_, set)| set.metadata.deletion_timestamp.is_none())
        .filter(|(set, _)| {
            is_allowed(
                world,
                Some(allowed),
                "None",
                (&name.namespace, &set.namespace),
            )
        })
        .collect();
    sets.sort_by_key(|(name, set)| (set.creation_timestamp(), *name));
    sets
}

/// All listeners of a Gateway in the order in which they count: its own, then, where it has an address, those of ListenerSets.
pub(crate) fn sections(
    world: &World,
    (name, gateway): (&Name, &Arc<Gateway>),
    entrance: bool,
) -> Vec<Section> {
    let own = (0..gateway.spec.listeners.len()).map(|at| Section {
        owner: name.clone(),
        origin: Origin::Gateway(Arc::clone(gateway)),
        at,
        place: at,
    });
    let mut all: Vec<_> = own.collect();
    if entrance {
        for (owner, set) in attached_sets(world, (name, gateway)) {
            for at in 0..set.spec.listeners.len() {
                all.push(Section {
                    owner: owner.clone(),
                    origin: Origin::Set(Arc::clone(set)),
                    at,
                    place: all.len(),
                });
            }
        }
    }
    all
}

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
    pub(crate) accepted: ConditionState,
    pub(crate) resolved: ConditionState,
    /// Where Gateways have an address: whether it has what another one has already.
    pub(crate) conflicted: Option<ConditionState>,
    /// Whether clients could take it for another one that they have a connection to.
    pub(crate) overlapping: Option<ConditionState>,
    pub(crate) certificates: Vec<Certificate>,
    /// What clients are asked for at its port: the text of a tag.
    pub(crate) asks: Option<String>,
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
fn known(listener: &Listener, entrance: bool) -> Result<Protocol, ConditionState> {
    if let Some(protocol) = protocol(listener).filter(|it| entrance || *it != Protocol::Tcp) {
        return Ok(protocol);
    }
    let message =
        "VPC Lattice has HTTP, HTTPS that ends at the listener, and TLS that is passed through";
    let of_known = matches!(listener.protocol.as_str(), "TLS" | "HTTPS");
    let reason = match entrance && of_known {
        true => "UnsupportedValue",
        false => "UnsupportedProtocol",
    };
    Err(ConditionState::bad(reason, message))
}

/// Without an address of its own, a Gateway's listeners may share a port with one protocol.
fn accepted(listeners: &[Section], at: usize) -> ConditionState {
    let listener = listeners[at].listener();
    let protocol = match known(listener, false) {
        Ok(protocol) => protocol,
        Err(verdict) => return verdict,
    };
    let mut earlier = listeners[..at].iter().map(Section::listener);
    let earlier = earlier.find(|it| it.port == listener.port);
    match earlier.and_then(self::protocol) {
        Some(other) if other != protocol => {
            let message = format!("port {} speaks {} already", listener.port, other.as_str());
            ConditionState::bad("PortUnavailable", message)
        }
        _ => ConditionState::good("Accepted"),
    }
}

/// What the ports of a Gateway have so far.
#[derive(Default)]
struct Ports<'a> {
    /// The protocol of each, and the first listener that has it.
    protocols: BTreeMap<i32, (Protocol, &'a Section)>,
    /// Who takes a hostname at a port.
    hostnames: BTreeMap<(i32, String), &'a Section>,
    /// How much of a tag's room is taken of each before its first listener.
    base: usize,
    /// How much of a tag's room the listeners of each take.
    room: BTreeMap<i32, (usize, usize)>,
}

impl<'a> Ports<'a> {
    /// Listeners of a Gateway are told apart by port, and by hostname where they have one protocol. Of those that are not, the first
    /// one counts that can be had otherwise.
    fn conflict(&self, section: &Section) -> Option<ConditionState> {
        let listener = section.listener();
        if listener.protocol == "UDP" {
            return None;
        }
        let (known, first) = self.protocols.get(&listener.port)?;
        if protocol(listener) != Some(*known) {
            let message = format!(
                "port {} speaks {} already, for {}",
                listener.port,
                known.as_str(),
                first.words()
            );
            return Some(ConditionState::good("ProtocolConflict").with_message(message));
        }
        let twin = self.hostnames.get(&(listener.port, hostname(listener)))?;
        let message = format!(
            "{} has the port {} and this hostname",
            twin.words(),
            listener.port
        );
        Some(ConditionState::good("HostnameConflict").with_message(message))
    }

    /// Gives a listener its port and hostname, where there is room for it.
    fn take(
        &mut self,
        section: &'a Section,
        protocol: Protocol,
        certificates: &[Certificate],
        asks: Option<&String>,
    ) -> Option<ConditionState> {
        let taken = asks.map_or(0, |it| it.chars().count().div_ceil(long_tags::PART) + 1);
        let most = (MOST_TAGS - taken).min(long_tags::MANY_PARTS) * long_tags::PART;
        let listener = section.listener();
        let hostname = hostname(listener);
        let certificates = certificates.iter().map(|it| match it {
            Certificate::Acm(arn) => arn.len() + 3,
            // An ARN of ACM.
            Certificate::Secret(_) => 120,
        });
        let letters = 64 + section.key().len() + hostname.len() + certificates.sum::<usize>();
        let room = self.room.entry(listener.port).or_insert((0, self.base));
        if room.0 == MOST_LISTENERS || room.1 + letters > most {
            let message = format!("port {} has no room for more listeners", listener.port);
            return Some(ConditionState::bad("TooManyListeners", message));
        }
        *room = (room.0 + 1, room.1 + letters);
        let entry = (protocol, section);
        self.protocols.entry(listener.port).or_insert(entry);
        self.hostnames.insert((listener.port, hostname), section);
        None
    }

    /// Whether another listener of HTTPS on the port has hostnames in common with this one: a client with a connection for one could
    /// send requests for the other there, which are answered 421.
    fn overlapping(&self, section: &Section) -> Option<ConditionState> {
        let listener = section.listener();
        if protocol(listener) != Some(Protocol::Https) {
            return None;
        }
        let own = hostname(listener);
        let from = (listener.port, String::new());
        let on_port = self.hostnames.range(from..);
        let mut others = on_port
            .take_while(|((port, _), _)| *port == listener.port)
            .filter(|(_, it)| {
                it.place != section.place && protocol(it.listener()) == Some(Protocol::Https)
            });
        let covers = |other: &str| own.is_empty() || other.is_empty() || meet(&own, other);
        let (_, other) = others.find(|((_, other), _)| covers(other))?;
        let message = format!("{} has hostnames of this one", other.words());
        Some(ConditionState::good("OverlappingHostnames").with_message(message))
    }
}

/// The hosts that a listener takes, in small letters; empty: all. Of TCP there is no host.
pub(crate) fn hostname(listener: &Listener) -> String {
    let hostname = listener.hostname.as_deref().unwrap_or_default();
    match protocol(listener) {
        Some(Protocol::Tcp) => String::new(),
        _ => hostname.to_ascii_lowercase(),
    }
}

/// What a reference to a certificate leads to, and what is wrong with it. While a Secret's new content is refused, the certificate
/// of the former one stays.
fn certificate(
    world: &World,
    section: &Section,
    reference: &ObjectRef,
) -> (Option<Certificate>, Option<ConditionState>) {
    let invalid = |message: String| Some(ConditionState::bad("InvalidCertificateRef", message));
    if !reference.is_to_secret() {
        let message = format!("certificateRef {} is not to a Secret", reference.name);
        return (None, invalid(message));
    }
    let (kind, own) = section.referrer();
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    let name = Name::new(namespace, &reference.name);
    if !world.is_granted((kind, own), ("", "Secret"), &name) {
        let message = format!("no ReferenceGrant lets this {kind} refer to Secret {name}");
        return (None, Some(ConditionState::bad("RefNotPermitted", message)));
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
    section: &Section,
    entrance: bool,
) -> (ConditionState, Vec<Certificate>) {
    let listener = section.listener();
    let option = key("certificate-arn");
    let mut certificates = Vec::new();
    let mut verdict = ConditionState::good("ResolvedRefs");
    let tls = listener.tls.as_ref();
    let references = tls.map_or(&[][..], |it| &it.certificate_refs);
    if let Some(arn) = tls.and_then(|it| it.options.get(&option)) {
        match section.set().is_none() && world.may_present(gateway, arn) {
            true => certificates.push(Certificate::Acm(arn.clone())),
            // A writer of ListenerSets has no say in the account's certificates.
            false if section.set().is_some() => {
                let message = format!("a ListenerSet has no option {option}");
                verdict = ConditionState::bad("RefNotPermitted", message);
            }
            false => {
                let message = format!("no ReferenceGrant lets this Gateway present {arn}");
                verdict = ConditionState::bad("RefNotPermitted", message);
            }
        }
    }
    if entrance && protocol(listener) == Some(Protocol::Https) {
        for reference in references {
            let (found, wrong) = certificate(world, section, &ObjectRef::of(reference));
            certificates.extend(found);
            if let Some(wrong) = wrong.filter(|_| verdict.good) {
                verdict = wrong;
            }
        }
        if certificates.len() > MOST_CERTIFICATES {
            certificates.truncate(MOST_CERTIFICATES);
            let message = format!("a listener has at most {MOST_CERTIFICATES} certificates");
            verdict = ConditionState::bad("InvalidCertificateRef", message);
        }
        if certificates.is_empty() && verdict.good {
            let message = format!("neither certificateRefs nor the option {option}");
            verdict = ConditionState::bad("InvalidCertificateRef", message);
        }
    } else if !references.is_empty() && !entrance && verdict.good {
        verdict = verdict.with_message(format!(
            "certificateRefs are not read: the option {option} names a certificate of ACM"
        ));
    }
    let kinds = listener
        .allowed_routes
        .as_ref()
        .map_or(0, |it| it.kinds.len());
    if kinds > kinds_of(listener, entrance).len() {
        verdict = ConditionState::bad(
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
    sections: &[Section],
    entrance: bool,
) -> Vec<Judged> {
    let mut ports = Ports {
        // What targets are shown is an ARN of ACM.
        base: 32 + 160 * usize::from(shown::reference(gateway).is_some()),
        ..Ports::default()
    };
    let mut asked = BTreeMap::new();
    let mut judged = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        let (mut resolved, certificates) = resolved(world, name, section, entrance);
        if !entrance {
            judged.push(Judged {
                accepted: accepted(sections, at),
                resolved,
                conflicted: None,
                overlapping: None,
                certificates,
                asks: None,
            });
            continue;
        }
        let port = section.listener().port;
        let asked = match protocol(section.listener()) {
            Some(Protocol::Https) => asked
                .entry(port)
                .or_insert_with(|| authorities::asked(world, (name, gateway), port)),
            _ => &mut Asked::Nothing,
        };
        let (asks, wrong, unknown) = match &*asked {
            Asked::Nothing => (None, None, false),
            Asked::Certificates(text, wrong) => (Some(text.clone()), wrong.clone(), false),
            Asked::Unknown(wrong) => (None, Some(wrong.clone()), true),
        };
        if let Some(wrong) = wrong.filter(|_| resolved.good) {
            resolved = wrong;
        }
        let conflict = ports.conflict(section);
        let mut accepted = match (&conflict, known(section.listener(), true)) {
            (Some(it), _) => ConditionState::bad(it.reason, it.message.clone()),
            (None, Err(verdict)) => verdict,
            (None, Ok(protocol)) => ports
                .take(section, protocol, &certificates, asks.as_ref())
                .unwrap_or_else(|| ConditionState::good("Accepted")),
        };
        if unknown && accepted.good {
            // Where no authority is trusted, no client gets in, rather than each.
            let message = "clients are asked for certificates, and no authority is known";
            accepted = ConditionState::bad("NoValidCACertificate", message);
        }
        let none = || ConditionState::bad("NoConflicts", "");
        judged.push(Judged {
            accepted,
            resolved,
            conflicted: Some(conflict.unwrap_or_else(none)),
            overlapping: None,
            certificates,
            asks,
        });
    }
    if entrance {
        for (section, judged) in sections.iter().zip(&mut judged) {
            judged.overlapping = ports.overlapping(section);
        }
    }
    judged
}
