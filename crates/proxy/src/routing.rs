//! Where a request goes.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Request, StatusCode, Version};
use lath_feed::FunctionGroup;
use lath_model::lattice::{ListenerProtocol, ProtocolVersion};
use lath_model::traffic::{MOST_LIMITS, RateKey, Scheme};
use lath_svid::Svid;

use crate::auth::Call;
use crate::connection::Connection;
use crate::context::RequestContext;
use crate::core::Core;
use crate::cors::Said;
use crate::counters::Count;
use crate::engine::Source;
use crate::head::{self, Seen};
use crate::rate::{BucketIndex, Limiter, Reading};
use crate::refusal::Refusal;
use crate::session::{Session, Sessions};
use crate::state::gateway::{GatewayState, LONGEST_HOST, lower};
use crate::state::{Choice, Entry, ListenerState, Outcome, VpcState, stand_in};
use crate::tls::{Mutual, Presented};
use crate::traffic::Traffic;

/// Where a request goes.
pub(crate) struct Route {
    pub(crate) entry: Arc<Entry>,
    /// Places in the entry: its listener, the listener's rule (`None` is the default one), the choice.
    listener: usize,
    rule: Option<usize>,
    choice: usize,
    /// The choices that turned out not to work.
    passed: Vec<usize>,
    /// The session that the request belongs to, where the rule has sessions.
    pub(crate) session: Option<Box<Session>>,
    /// What a rate limit says to the client.
    pub(crate) rate: Option<Reading>,
    /// What browsers are told of pages of other origins.
    pub(crate) cors: Option<Box<Said>>,
    /// How the client was asked for a certificate.
    pub(crate) mutual: Option<Arc<Mutual>>,
    /// Whether it came in by a gateway.
    pub(crate) by_gateway: bool,
}

/// Finds a request's way: its service, whether it may call it, the rule and the group.
///
/// # Errors
/// The refusal.
pub(crate) fn route(
    core: &Core,
    connection: &Connection,
    vpc: &Arc<VpcState>,
    request: &Request<Source>,
    context: &mut RequestContext,
) -> Result<Route, Refusal> {
    context.entered(vpc, request);
    if context.meter().is_overloaded() {
        core.clients.refused();
        return Err(Refusal::overloaded());
    }
    let secure = connection.secured().is_some();
    head::check(request, &context.scan, secure)?;
    let host = head::host(request, &context.scan)?;
    let at = connection.listening.at();
    // The host decides, whichever name the client asked for in its handshake.
    let spoken = match secure {
        true => ListenerProtocol::Https,
        false => ListenerProtocol::Http,
    };
    let mut room = [0; LONGEST_HOST];
    let lower = lower(host, &mut room).ok_or_else(Refusal::no_such_service)?;
    let meant = find_meant(vpc, at, spoken, lower).ok_or_else(Refusal::no_such_service)?;
    let (entry, listener, rule) = match meant {
        Meant::Service(entry, listener) => (entry, listener, None),
        Meant::Gateway(gateway) => {
            check_directed(
                connection,
                gateway,
                lower,
                (&gateway.entry, request),
                context,
            )?;
            let own = (&gateway.entry, gateway.listener, None);
            gateway.choose(lower, &Seen(request)).unwrap_or(own)
        }
    };
    context.found(entry, request);
    let chosen = &entry.listeners[listener];
    let (mut client, mut asking) = (None, None);
    // Whom a gateway's listener asks it judges, and so does the service's own listener: neither is gone around.
    let entrance = match meant {
        Meant::Gateway(gateway) => Some(&gateway.entry.listeners[gateway.listener]),
        Meant::Service(..) => None,
    };
    context.gateway = entrance.and_then(|it| it.shown.clone());
    for listener in entrance.into_iter().chain([chosen]) {
        if let Some(mutual) = &listener.mutual {
            client = admit(core, connection, mutual, host)?;
            asking = Some(Arc::clone(mutual));
        }
    }
    if entry.workloads_only {
        context.workload = Some(identify(core, connection, vpc, client)?);
    }
    authorise(core, connection, vpc, (entry, client), request, context)?;
    let rule = rule.or_else(|| chosen.router.choose(&Seen(request)));
    let (id, outcome) = chosen.outcome(rule);
    context.decided(&chosen.id, id);
    match outcome {
        Outcome::Fixed(status) => Err(Refusal::fixed(*status)),
        Outcome::Answer(answer) => {
            let scheme = match chosen.protocol {
                ListenerProtocol::Http => Scheme::Http,
                ListenerProtocol::Https | ListenerProtocol::TlsPassthrough => Scheme::Https,
            };
            let rate = limited(core, connection, vpc, &answer.limits, request, context)?;
            let mut headers = answer.headers(request.uri(), host, (scheme, chosen.port));
            if let Some(rate) = rate {
                rate.add_to(&mut headers);
            }
            Err(Refusal::answer(answer.status, headers))
        }
        Outcome::Forward {
            weighted,
            turns,
            choices,
            failure,
            traffic,
            ..
        } => {
            let (mut rate, mut session, mut cors) = (None, None, None);
            if let Some(traffic) = traffic {
                if let Some(own) = &traffic.cors {
                    if let Some(headers) = own.preflight(request.method(), request.headers()) {
                        return Err(Refusal::answer(StatusCode::OK, headers));
                    }
                    cors = Some(Box::new(own.said(request.headers())));
                }
                rate = limited(core, connection, vpc, &traffic.limits, request, context)?;
                let sessions = traffic.sessions.as_ref();
                session =
                    sessions.and_then(|it| it.of_request(request.headers(), &core.config.clock));
            }
            let weighted = weighted.as_ref().ok_or_else(Refusal::no_target)?;
            let turn = turns.next(core.index);
            let mut choice = weighted.pick(turn);
            if let (Some(session), Some(traffic)) = (&session, traffic) {
                choice = held(choices, session, traffic).unwrap_or(choice);
            }
            if let (Some(status), true) = (failure, choice == choices.len()) {
                return Err(Refusal::fixed(*status));
            }
            if core.config.failover && !choices[choice].is_able() {
                choice = stand_in(choices, &[choice], turn).unwrap_or(choice);
            }
            check_conversion(core, request, &choices[choice])?;
            Ok(Route {
                entry: Arc::clone(entry),
                listener,
                rule,
                choice,
                passed: Vec::new(),
                session: session.map(Box::new),
                rate,
                cors,
                mutual: asking,
                by_gateway: entrance.is_some(),
            })
        }
    }
}

/// The choice that a session holds to: its own group, while that has a target that is said to work.
fn held(choices: &[Choice], session: &Session, traffic: &Traffic) -> Option<usize> {
    let holds = traffic.sessions.as_ref().is_some_and(Sessions::holds_group);
    let own = |choice: &Choice| choice.id == session.group && choice.is_able();
    choices.iter().position(own).filter(|_| holds)
}

/// Whether a rule's rate limits let the request in, and what they say to its client.
///
/// # Errors
/// They do not.
fn limited(
    core: &Core,
    connection: &Connection,
    vpc: &VpcState,
    limits: &[Arc<Limiter>],
    request: &Request<Source>,
    context: &RequestContext,
) -> Result<Option<Reading>, Refusal> {
    let mut tightest: Option<Reading> = None;
    let mut places = [BucketIndex::default(); MOST_LIMITS];
    let now = core.clock.get();
    for (limit, place) in limits.iter().zip(&mut places) {
        *place = match &limit.source.key {
            RateKey::All => limit.place(()),
            RateKey::SourceAddress => limit.place((&vpc.id, connection.remote().ip())),
            RateKey::Principal => {
                let proved = context.sender.proved();
                limit.place(proved.map(|it| it.principal.arn()))
            }
            RateKey::Header(name) => {
                let value = request.headers().get(name);
                limit.place(value.map(HeaderValue::as_bytes))
            }
        };
    }
    for (index, (limit, place)) in limits.iter().zip(places).enumerate() {
        let reading = limit.take(place, now);
        if reading.wait.is_some() {
            // Else who is refused would use up what is there for others.
            let taken = limits.iter().zip(places).take(index);
            taken.for_each(|(limit, place)| limit.give_back(place));
            return Err(Refusal::limited(reading));
        }
        tightest = Some(tightest.map_or(reading, |it| it.tighter(reading)));
    }
    Ok(tightest)
}

impl ListenerState {
    fn outcome(&self, rule: Option<usize>) -> &(lath_model::id::RuleId, Outcome) {
        rule.map_or(&self.default, |rule| &self.rules[rule])
    }
}

impl Route {
    pub(crate) fn listener(&self) -> &ListenerState {
        &self.entry.listeners[self.listener]
    }

    pub(crate) fn choice(&self) -> Option<&Choice> {
        self.choices().get(self.choice)
    }

    fn choices(&self) -> &[Choice] {
        match &self.listener().outcome(self.rule).1 {
            Outcome::Forward { choices, .. } => choices,
            Outcome::Fixed(_) | Outcome::Answer(_) => &[],
        }
    }

    /// The function that the request goes to, in the place of a server.
    pub(crate) fn function(&self) -> Option<Arc<FunctionGroup>> {
        let group = self.choice()?.group.as_ref()?;
        Some(group.function.as_ref()?.load_full())
    }

    /// What the rule does besides, if it has a policy.
    pub(crate) fn traffic(&self) -> Option<&Arc<Traffic>> {
        match &self.listener().outcome(self.rule).1 {
            Outcome::Forward { traffic, .. } => traffic.as_ref(),
            Outcome::Fixed(_) | Outcome::Answer(_) => None,
        }
    }

    /// The groups that get copies of this request.
    pub(crate) fn mirrors(&self, thread: usize) -> impl Iterator<Item = &Choice> {
        let mirrors = match &self.listener().outcome(self.rule).1 {
            Outcome::Forward { mirrors, .. } => mirrors.as_slice(),
            Outcome::Fixed(_) | Outcome::Answer(_) => &[],
        };
        let of_group = self.choice().into_iter().flat_map(|it| &it.mirrors);
        let taken = mirrors.iter().chain(of_group);
        let taken = taken.filter(move |it| it.takes_turn(thread));
        taken.map(|it| &it.choice)
    }

    /// Turns to another group of the rule, one whose targets take the same request: in the same version of HTTP, and with
    /// the same `:scheme` where that has one; `None` when there is none with a target that is said to work.
    pub(crate) fn turn_away(&mut self, turn: u64) -> Option<&Choice> {
        let spoken = |choice: &Choice| {
            let group = choice.group.as_ref()?;
            // The head is what another group's filters made of it.
            if group.function.is_some() || choice.filters.is_some() {
                return None;
            }
            let names_scheme = group.version != ProtocolVersion::Http1;
            Some((group.version, group.secure && names_scheme))
        };
        let now = Some(spoken(self.choice()?)?);
        self.passed.push(self.choice);
        let mut passed = self.passed.clone();
        let others = self.choices().iter().enumerate();
        let unlike = others.filter(|(_, choice)| spoken(choice) != now);
        passed.extend(unlike.map(|(index, _)| index));
        self.choice = stand_in(self.choices(), &passed, turn)?;
        self.choice()
    }
}

/// What a request is for.
#[derive(Clone, Copy)]
enum Meant<'a> {
    /// A service, and the place of its listener.
    Service(&'a Arc<Entry>, usize),
    /// What is attached to a gateway's listener.
    Gateway(&'a GatewayState),
}

/// Among the services of the client's service network only. An address does not say which service is meant, unless it is a
/// gateway's.
fn find_meant<'a>(
    vpc: &'a VpcState,
    at: SocketAddr,
    spoken: ListenerProtocol,
    host: &[u8],
) -> Option<Meant<'a>> {
    let network = vpc.network.as_ref()?;
    let gateway = network.gateway(at, Some(host));
    if let Some(gateway) = gateway.filter(|it| it.protocol == spoken) {
        return Some(Meant::Gateway(gateway));
    }
    let entry = network.hosts.get(host)?;
    let is_it = |it: &ListenerState| it.port == at.port() && it.protocol == spoken;
    let place = entry.listeners.iter().position(is_it)?;
    let gateways = &network.gateways.by_listener;
    // A gateway that is reached by its own name, at whatever address.
    match gateways.get(&entry.listeners[place].id) {
        Some(gateway) => Some(Meant::Gateway(gateway)),
        None => Some(Meant::Service(entry, place)),
    }
}

/// Refuses a request under TLS whose host is another Gateway listener's than the name of the handshake, which may have presented
/// another certificate and asked for another one
/// (<https://gateway-api.sigs.k8s.io/geps/gep-3567/>).
///
/// # Errors
/// 421: the client connects anew.
fn check_directed(
    connection: &Connection,
    gateway: &GatewayState,
    host: &[u8],
    (entry, request): (&Arc<Entry>, &Request<Source>),
    context: &mut RequestContext,
) -> Result<(), Refusal> {
    let name = connection
        .secured()
        .and_then(|it| it.server_name.as_deref());
    let (Some(name), Some(meant)) = (name, gateway.part(host)) else {
        return Ok(());
    };
    let mut room = [0; LONGEST_HOST];
    let named = lower(name.as_bytes(), &mut room).and_then(|name| gateway.part(name));
    match named == Some(meant) {
        true => Ok(()),
        false => {
            context.found(entry, request);
            Err(Refusal::misdirected())
        }
    }
}

/// Who a client is by its certificate, as the listener has verified it; judged at each request.
///
/// # Errors
/// The listener does not admit it.
fn admit<'a>(
    core: &Core,
    connection: &'a Connection,
    mutual: &Mutual,
    host: &[u8],
) -> Result<Option<&'a Presented>, Refusal> {
    let secured = connection.secured();
    let client = secured.and_then(|it| it.client.as_deref());
    let verifies = mutual.trust.verifies();
    let Some(client) = client else {
        if verifies {
            core.totals.add(Count::ClientCertificatesRefused, 1);
            return Err(Refusal::misdirected());
        }
        return Ok(None);
    };
    match client.judged_by(&mutual.trust, core.config.clock.now()) {
        Ok(()) => Ok(verifies.then_some(client)),
        Err(why) => {
            core.totals.add(Count::ClientCertificatesRefused, 1);
            let asked = secured.and_then(|it| it.server_name.as_deref());
            let as_asked = asked.is_some_and(|name| host.eq_ignore_ascii_case(name.as_bytes()));
            Err(match as_asked {
                true => Refusal::not_admitted(&why),
                false => Refusal::misdirected(),
            })
        }
    }
}

/// Which workload calls: the one that its verified certificate names, or the one that has its address.
///
/// # Errors
/// It is none.
fn identify(
    core: &Core,
    connection: &Connection,
    vpc: &VpcState,
    client: Option<&Presented>,
) -> Result<Arc<Svid>, Refusal> {
    let workloads = core.config.workloads.as_ref();
    let workloads = workloads.ok_or_else(Refusal::not_identified)?;
    let named = client.and_then(Presented::spiffe_id);
    if let Some(found) = named.and_then(|id| workloads.0.named(id)) {
        return Ok(found);
    }
    let (generation, address) = (core.state.load().generation, connection.remote().ip());
    let found = core
        .workloads
        .at(workloads, generation, &vpc.id, address, &core.config.clock);
    found.ok_or_else(Refusal::not_identified)
}

/// The network's auth policy and the service's.
fn authorise(
    core: &Core,
    connection: &Connection,
    vpc: &VpcState,
    (entry, certificate): (&Entry, Option<&Presented>),
    request: &Request<Source>,
    context: &mut RequestContext,
) -> Result<(), Refusal> {
    let network = vpc.network.as_ref();
    let call = Call {
        callers: core.config.callers.as_ref(),
        clock: &core.config.clock,
        network_arn: network.map_or("", |network| &network.source.arn),
        vpc,
        entry,
        port: connection.listening.port(),
        client: &connection.client_header().value,
        secure: connection.secured().is_some(),
        certificate,
        workload: context.workload.as_deref(),
        request,
    };
    let (sender, judged) = call.authorize();
    context.sender = sender;
    judged.map_err(|(refusal, level)| {
        if let Some(level) = level {
            context.denied(level);
        }
        refusal
    })
}

/// Which versions of HTTP can be carried to which groups
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/target-groups.html>).
fn check_conversion(
    core: &Core,
    request: &Request<Source>,
    choice: &Choice,
) -> Result<(), Refusal> {
    let version = choice
        .group
        .as_ref()
        .map_or(ProtocolVersion::Http1, |group| group.version);
    let http2 = request.version() == Version::HTTP_2;
    match version {
        ProtocolVersion::Http1 if http2 && is_grpc(request) => Err(Refusal::not_convertible(
            "The target group does not take gRPC\n",
        )),
        ProtocolVersion::Http1 => Ok(()),
        ProtocolVersion::Http2 if core.config.converts => Ok(()),
        ProtocolVersion::Http2 | ProtocolVersion::Grpc if !http2 => Err(Refusal::not_convertible(
            "The target group takes HTTP/2 only\n",
        )),
        ProtocolVersion::Grpc if request.method() != http::Method::POST => {
            Err(Refusal::not_convertible("gRPC is sent by POST\n"))
        }
        ProtocolVersion::Http2 | ProtocolVersion::Grpc => Ok(()),
    }
}

fn is_grpc(request: &Request<Source>) -> bool {
    request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
