//! Carrying a request to a target, and its answer back.

mod tries;

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use lath_model::lattice::ProtocolVersion;

use crate::breaker::Limit;
use crate::connection::Connection;
use crate::context::RequestContext;
use crate::core::Core;
use crate::ejection;
use crate::engine::Source;
use crate::framing::Interim;
use crate::head::{self, Provenance};
use crate::meter::Meter;
use crate::mirror;
use crate::outlier::Outcome;
use crate::picking::{Standing, Wanted, open, pick};
use crate::refusal::{Failure, Refusal};
use crate::relay::Body;
use crate::routing::Route;
use crate::slot::{GroupSlot, Members, TargetSlot};
use crate::spare;
use crate::state::{Choice, VpcState};
use crate::traffic::Traffic;
use crate::upgrade::{self, Tunnel};
use crate::upload::RequestBody;
use crate::upstream::{Cause, Exchange, Lease, NotSent};

/// A refusal and the context that ends with it.
pub(crate) type Refused = (Refusal, Box<RequestContext>);

/// A request as the target gets to see it.
pub(crate) struct Outbound {
    /// `None` only while it is on its way.
    request: Option<Box<Request<RequestBody>>>,
    route: Route,
    group: Arc<GroupSlot>,
    /// Targets that failed earlier tries: others come first.
    tried: Vec<u64>,
    /// Whether the target may switch to WebSockets.
    switches: bool,
    context: Box<RequestContext>,
}

impl Outbound {
    /// The request, made ready for the chosen group.
    ///
    /// # Errors
    /// The group is gone.
    pub(crate) fn new(
        connection: &Connection,
        vpc: &VpcState,
        route: Route,
        request: Request<Source>,
        mut context: Box<RequestContext>,
    ) -> Result<Self, Refused> {
        let choice = route.choice();
        let Some((choice, group)) = choice.and_then(|c| c.group.as_ref().map(|group| (c, group)))
        else {
            return Err((Refusal::no_target(), context));
        };
        context.grouped(group);
        let over_http1 = group.version == ProtocolVersion::Http1;
        let switches = route.by_gateway && over_http1 && upgrade::is_asked(&request);
        let (mut parts, body) = request.into_parts();
        let to_http2 = group.version != ProtocolVersion::Http1;
        let client = &connection.client_header().value;
        head::towards_target(&mut parts, client, to_http2, &context.scan);
        let traffic = route.traffic();
        if traffic.is_some_and(|it| it.prepare(&mut parts).is_err()) {
            return Err((Refusal::path_too_long(), context));
        }
        if let Some(filters) = &choice.filters
            && filters.heads.prepare(&mut parts).is_err()
        {
            return Err((Refusal::path_too_long(), context));
        }
        if to_http2 {
            head::name_scheme(&mut parts, group.secure);
            let provenance = provenance(&route, choice, vpc, &context);
            provenance.add_to(&mut parts.headers, &context.scan);
        } else {
            head::frame_body(&mut parts.headers, &body, &context.scan);
        }
        if let Some(identity) = context.sender.header() {
            parts.headers.insert(head::LATTICE_IDENTITY, identity);
        }
        if let Some(workload) = &context.workload
            && let Ok(id) = HeaderValue::from_str(&workload.spiffe_id)
        {
            parts.headers.insert(head::SPIFFE_ID, id);
        }
        if let Some(mutual) = &route.mutual
            && let Some(client) = connection.secured().and_then(|it| it.client.as_ref())
        {
            client.write_to(&mutual.trust, &mut parts.headers);
        }
        let mut body = RequestBody::new(body, Rc::clone(context.meter()));
        if traffic.is_some() {
            let index = context.core().index;
            for copy in route.mirrors(index) {
                let provenance = provenance(&route, copy, vpc, &context);
                mirror::send(
                    context.core(),
                    copy,
                    &parts,
                    &mut body,
                    &provenance,
                    &context,
                );
            }
        }
        if switches {
            // Copies ask for nothing of the kind.
            upgrade::write_upgrade(&mut parts.headers);
        }
        let group = Arc::clone(group);
        Ok(Self {
            tried: Vec::new(),
            switches,
            request: Some(Box::new(Request::from_parts(parts, body))),
            route,
            group,
            context,
        })
    }
}

/// What Lath says of the request.
pub(crate) fn provenance<'a>(
    route: &'a Route,
    choice: &'a Choice,
    vpc: &'a VpcState,
    context: &'a RequestContext,
) -> Provenance<'a> {
    Provenance {
        client: context.connection().client_header(),
        port: &route.listener().port_header,
        proto: &route.listener().proto_header,
        network: &vpc.network_header,
        vpc: &vpc.vpc_header,
        target: &choice.header,
        request_id: context.request_id(),
    }
}

/// A request that is being sent.
struct Sending<'a> {
    route: &'a Route,
    context: &'a RequestContext,
}

impl Exchange for Sending<'_> {
    fn meter(&self) -> &Rc<Meter> {
        self.context.meter()
    }

    fn goes_over_http1(&self, request: &Request<RequestBody>, lines: &mut Vec<u8>) {
        let context = self.context;
        // A body for which the client waits to be asked is held back.
        if context.scan.expect && head::expects_continue(request.headers()) {
            context.meter().expect_continue();
        }
        if let (Some(choice), Some(vpc)) = (self.route.choice(), context.vpc()) {
            provenance(self.route, choice, vpc, context).write_to(lines, &context.scan);
        }
    }

    fn pass_on(&self, interim: Vec<Interim>) -> bool {
        self.context.pass_on(interim)
    }
}

impl Outbound {
    pub(crate) fn meter(&self) -> &Rc<Meter> {
        self.context.meter()
    }
}

/// Forwards the request to a target of the chosen group.
///
/// # Errors
/// What is answered instead.
pub(crate) async fn forward(mut outbound: Outbound) -> Result<Response<Body>, Refused> {
    let core = Rc::clone(outbound.context.core());
    let traffic = outbound.route.traffic();
    let delivered = match traffic.map(Arc::clone) {
        None => deliver(&core, &mut outbound).await,
        // Boxed, because it is rare and larger than what every exchange carries along.
        Some(traffic) => Box::pin(tries::deliver(&core, &mut outbound, &traffic)).await,
    };
    match delivered {
        Ok((lease, response)) => answer(&core, response, lease, outbound).await,
        Err(refusal) => {
            let refusal = refusal.towards(outbound.group.version);
            Err((refusal, outbound.context))
        }
    }
}

/// Sends the request, over an idle connection or a new one, to one target after another while no byte of
/// it was written.
async fn deliver(
    core: &Rc<Core>,
    outbound: &mut Outbound,
) -> Result<(Lease, Response<Source>), Refusal> {
    let mut refusing = Vec::new();
    let mut again = 1;
    let mut unseen_again = UNSEEN;
    loop {
        let (target, members) = outbound.target(core, &refusing)?;
        let policy = members.policy.as_ref();
        // What was idle failed once: another one may be as dead.
        let wanted = match again {
            0 => Wanted::Fresh,
            _ => Wanted::Idle,
        };
        let Outbound {
            group,
            context,
            route,
            ..
        } = outbound;
        context.picked(&target);
        let note = |group: &GroupSlot, outcome| {
            if let Some(policy) = policy {
                ejection::note(
                    group,
                    &members,
                    policy,
                    &target,
                    outcome,
                    &core.config.clock,
                );
            }
        };
        let shown = context.shown().filter(|_| group.secure);
        let opened = open(core, group, (&target, shown.as_ref()), wanted, policy);
        let Some(mut lease) = opened.await? else {
            note(group, Outcome::Gateway);
            refusing.push(target.serial);
            if refusing.len() >= core.config.connect_attempts {
                return Err(Refusal::not_connected());
            }
            continue;
        };
        context.meter().touch();
        let request = outbound.request.take().ok_or_else(Refusal::no_target)?;
        let keeps = may_be_lost(core, &request, &lease);
        match lease
            .send(request, keeps, &Sending { route, context })
            .await
        {
            Ok(response) => {
                target.proved();
                note(group, Outcome::of(response.status()));
                return Ok((lease, response));
            }
            Err(failed) => {
                if failed.speaks_against_target(lease.reused, context.meter()) {
                    note(group, Outcome::Gateway);
                }
                let NotSent {
                    cause,
                    request: recovered,
                    unseen,
                    spare,
                } = failed;
                if cause == Cause::Unreachable {
                    target.eject(core.config.ejection);
                }
                let written = lease.is_written();
                let next = retriable(cause, recovered, spare, written, context);
                let left = match unseen {
                    true => &mut unseen_again,
                    false => &mut again,
                };
                let Some(next) = next.filter(|_| *left > 0) else {
                    return Err(give_up(cause, context));
                };
                *left -= 1;
                outbound.request = Some(next);
            }
        }
    }
}

/// A target, and its group's targets when it was picked.
type Picked = (Arc<TargetSlot>, Arc<Members>);

/// How often a request is sent again that targets say they did not look at: each of their connections may be about to
/// end.
const UNSEEN: u32 = 3;

impl Outbound {
    /// The next target to try: of the chosen group, or, with failover, of another group when that one has no
    /// other that is said to work.
    ///
    /// # Errors
    /// There is none.
    fn target(&mut self, core: &Core, refusing: &[u64]) -> Result<Picked, Refusal> {
        // Looked up each time, so that a target that began to drain meanwhile is not picked.
        let members = self.group.members.load_full();
        self.admit(&members)?;
        if let Some(target) = self.held(&members, refusing) {
            return Ok((target, members));
        }
        if !self.tried.is_empty() {
            let avoided = [refusing, &self.tried].concat();
            let other = pick(core, &self.group, &members, &avoided);
            if let Some((target, Standing::Sound)) = other {
                return Ok((Arc::clone(target), members));
            }
        }
        let found = pick(core, &self.group, &members, refusing);
        if let Some((target, Standing::Sound)) = found {
            return Ok((Arc::clone(target), members));
        }
        if core.config.failover && self.turn_away(core) {
            let members = self.group.members.load_full();
            self.admit(&members)?;
            if let Some((target, _)) = pick(core, &self.group, &members, refusing) {
                return Ok((Arc::clone(target), members));
            }
        }
        let target = found.map(|(target, _)| Arc::clone(target));
        let target = target.ok_or_else(|| match refusing {
            [] => Refusal::no_target(),
            _ => Refusal::not_connected(),
        });
        Ok((target?, members))
    }

    /// The target of the request's session, while nothing speaks against it.
    fn held(&self, members: &Members, refusing: &[u64]) -> Option<Arc<TargetSlot>> {
        let session = self.route.session.as_deref()?;
        if session.group != self.group.id {
            return None;
        }
        let target = members.known.get(&session.target)?;
        let is_routable = || members.routable.iter().any(|it| Arc::ptr_eq(it, target));
        let has_failed = refusing.contains(&target.serial) || self.tried.contains(&target.serial);
        (!has_failed && !target.is_ejected() && is_routable()).then(|| Arc::clone(target))
    }

    /// As of [`RequestContext::admit`], where the group has a policy.
    fn admit(&mut self, members: &Members) -> Result<(), Refusal> {
        match &members.policy {
            None => {
                self.context.leave_place();
                Ok(())
            }
            Some(policy) => self.context.admit(policy),
        }
    }

    /// No answer came in time from the target that was picked last. It is not to blame where the request had no connection
    /// yet and may have waited for one, nor where it waits for the client's body itself.
    fn gave_none(&self) {
        let members = self.group.members.load();
        let (Some(policy), Some(target)) = (&members.policy, self.context.target()) else {
            return;
        };
        let may_have_waited = self.request.is_some() && policy.most(Limit::Connections).is_some();
        if !may_have_waited && !self.meter().awaits_client() {
            let clock = &self.context.core().config.clock;
            ejection::note(
                &self.group,
                &members,
                policy,
                target,
                Outcome::Gateway,
                clock,
            );
        }
    }

    /// Whether there was another group to turn to.
    fn turn_away(&mut self, core: &Core) -> bool {
        let turn = self.group.turns.next(core.index);
        let Some(choice) = self.route.turn_away(turn) else {
            return false;
        };
        let (Some(group), Some(request)) = (&choice.group, &mut self.request) else {
            return false;
        };
        if group.version != ProtocolVersion::Http1 {
            let headers = request.headers_mut();
            headers.insert(choice.header.name.clone(), choice.header.value.clone());
        }
        self.group = Arc::clone(group);
        self.context.grouped(group);
        true
    }
}

/// Whether the connection may turn out to be closed or cut, and the request, one without a body, can then be sent
/// anew.
fn may_be_lost(core: &Core, request: &Request<RequestBody>, lease: &Lease) -> bool {
    let may_fail = lease.reused || core.config.unacknowledged.is_some();
    may_fail && request.body().is_end_stream()
}

/// The request as it may be sent once more: when no byte of it was written, or its method is safe (RFC 9110
/// section 9.2.2). `None` when the target may have acted on it, or the client's own bytes are what failed.
fn retriable(
    cause: Cause,
    recovered: Option<Box<Request<RequestBody>>>,
    spare: Option<Box<Request<()>>>,
    written: bool,
    context: &RequestContext,
) -> Option<Box<Request<RequestBody>>> {
    if context.meter().client_failed.get() {
        return None;
    }
    if let Some(request) = recovered {
        return Some(request);
    }
    let lost = matches!(cause, Cause::Closed | Cause::Unreachable);
    let spare = spare.filter(|spare| lost && (!written || spare::is_safe(spare.method())))?;
    let body = RequestBody::empty(Rc::clone(context.meter()));
    Some(Box::new(spare.map(|()| body)))
}

fn give_up(cause: Cause, context: &RequestContext) -> Refusal {
    if context.meter().client_failed.get() {
        let failure = Some(Failure::ClientConnectionClosed);
        return Refusal {
            failure,
            ..Refusal::bad_request("The request's body broke off\n")
        };
    }
    match cause {
        Cause::Timeout | Cause::Unreachable => Refusal::timeout(),
        Cause::Protocol => Refusal::bad_gateway(Failure::TargetProtocolError),
        Cause::Closed | Cause::Reset(_) => Refusal::bad_gateway(Failure::TargetConnectionClosed),
    }
}

/// Adds what a rule's policy says to the client beside the target's answer: its session, and how much a rate limit leaves.
fn add_policy_headers(
    traffic: &Traffic,
    route: &Route,
    group: &GroupSlot,
    context: &RequestContext,
    headers: &mut HeaderMap,
) {
    if let Some(rate) = route.rate {
        rate.add_to(headers);
    }
    let (Some(sessions), Some(target)) = (&traffic.sessions, context.target()) else {
        return;
    };
    let secure = context.connection().secured().is_some();
    let before = route.session.as_deref();
    let clock = &context.core().config.clock;
    if let Some((name, value)) = sessions.of_response(before, &group.id, &target.key, secure, clock)
    {
        match sessions.replaces() {
            true => drop(headers.insert(name, value)),
            false => drop(headers.append(name, value)),
        }
    }
}

/// The target's answer as the client gets it.
///
/// # Errors
/// It is no answer.
async fn answer(
    core: &Core,
    response: Response<Source>,
    lease: Lease,
    outbound: Outbound,
) -> Result<Response<Body>, Refused> {
    let Outbound {
        context,
        mut route,
        group,
        switches,
        ..
    } = outbound;
    let (mut head, incoming) = response.into_parts();
    let status = head.status;
    let mut switched = None;
    let mut lease = Some(lease);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // Elsewhere Upgrade is not forwarded, and no client has asked for it.
        let agreed = switches && upgrade::is_agreed(&head.headers);
        switched = lease.take().filter(|_| agreed).and_then(Lease::switched);
        if switched.is_none() {
            return Err((Refusal::bad_gateway(Failure::TargetProtocolError), context));
        }
    }
    let mut headers = std::mem::take(&mut head.headers);
    head::towards_client(&mut headers, status, context.request_id());
    if let Some(traffic) = route.traffic() {
        traffic.response.apply(&mut headers);
        if let Some(filters) = route.choice().and_then(|it| it.filters.as_ref()) {
            filters.response.apply(&mut headers);
        }
        add_policy_headers(traffic, &route, &group, &context, &mut headers);
    }
    if let Some(cors) = route.cors.take() {
        cors.add_to(&mut headers);
    }
    context.close_if(false, &mut headers);
    let mut context = context;
    context.answered(status);
    context.sent_head(&headers);
    context.note_grpc_status(&headers);
    head.headers = headers;
    head.version = http::Version::default();
    let Some(lease) = lease else {
        upgrade::write_upgrade(&mut head.headers);
        if let Some(target) = switched {
            let connection = Rc::clone(context.connection());
            connection.switch_to(Box::new(Tunnel::new(target, context)));
        }
        return Ok(Response::from_parts(head, Body::full(bytes::Bytes::new())));
    };
    let http2 = context.is_http2();
    match Body::relay(incoming, lease, context, core.config.short_body_wait).await {
        Ok((body, breaks)) => {
            if breaks && !http2 {
                let close = HeaderValue::from_static("close");
                head.headers.insert(header::CONNECTION, close);
            }
            Ok(Response::from_parts(head, body))
        }
        Err((failure, mut context)) => {
            context.unsend();
            Err((Refusal::bad_gateway(failure), context))
        }
    }
}
