//! One request on its way: what is counted and logged of it, whatever becomes of it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use lath_feed::telemetry::AccessLog;
use lath_model::id::{ListenerId, RuleId};
use lath_model::lattice::ProtocolVersion;
use lath_policy::lattice::Level;
use lath_svid::Svid;

use crate::breaker::{Limit, Policy, Ticket};
use crate::callers::Sender;
use crate::connection::Connection;
use crate::core::Core;
use crate::counters::Count;
use crate::framing::Interim;
use crate::gate;
use crate::head::{self, HeaderScan};
use crate::interim;
use crate::meter::Meter;
use crate::refusal::{Failure, Refusal};
use crate::shown::{GatewayCertificate, ShownIdentity};
use crate::slot::{GroupSlot, TargetSlot};
use crate::state::{Entry, VpcState};

/// One request. Dropped before it was finished, the client has gone.
pub(crate) struct RequestContext {
    core: Rc<Core>,
    connection: Rc<Connection>,
    meter: Rc<Meter>,
    started: Instant,
    entry: Option<Arc<Entry>>,
    vpc: Option<Arc<VpcState>>,
    group: Option<Arc<GroupSlot>>,
    target: Option<Arc<TargetSlot>>,
    /// Its place among the group's requests, where their number has a limit.
    place: Option<Ticket>,
    listener: Option<ListenerId>,
    rule: Option<RuleId>,
    denied_by: Option<Level>,
    /// Who called.
    pub(crate) sender: Sender,
    /// The workload that called, where the network asks.
    pub(crate) workload: Option<Arc<Svid>>,
    /// What the gateway that the request came in by shows targets.
    pub(crate) gateway: Option<Arc<GatewayCertificate>>,
    /// Present only when somebody reads access logs.
    said: Option<Box<Said>>,
    http2: bool,
    /// Whether the client knows interim responses.
    interim: bool,
    /// Whether it got one.
    informed: Cell<bool>,
    pub(crate) scan: HeaderScan,
    request_id: HeaderValue,
    status: u16,
    grpc_status: Option<u32>,
    failure: Option<Failure>,
    sent: u64,
    first_byte: Option<Duration>,
    done: bool,
}

/// What the client said, for the access log.
struct Said {
    host: Option<String>,
    method: String,
    path: String,
    user_agent: Option<String>,
}

impl RequestContext {
    pub(crate) fn begin<B: http_body::Body>(
        core: &Rc<Core>,
        connection: &Rc<Connection>,
        request: &Request<B>,
        scan: &HeaderScan,
    ) -> Box<Self> {
        let started = Instant::now();
        core.clock.set(started);
        connection.enter();
        core.totals.add(Count::Requests, 1);
        core.totals.add(Count::ActiveRequests, 1);
        let http2 = request.version() == Version::HTTP_2;
        let meter = Meter::begin(connection, &core.exchanges, scan.head_size(request));
        meter.unread.set(!request.body().is_end_stream());
        Box::new(Self {
            meter,
            core: Rc::clone(core),
            connection: Rc::clone(connection),
            started,
            entry: None,
            vpc: None,
            group: None,
            target: None,
            place: None,
            listener: None,
            rule: None,
            denied_by: None,
            sender: Sender::Unasked,
            workload: None,
            gateway: None,
            said: None,
            http2,
            interim: request.version() == Version::HTTP_11,
            informed: Cell::new(false),
            scan: *scan,
            request_id: request_id(request.headers(), scan, core),
            status: 400,
            grpc_status: None,
            failure: None,
            sent: 0,
            first_byte: None,
            done: false,
        })
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// What targets under TLS are shown that ask who calls. A gateway's own certificate comes before the caller's.
    pub(crate) fn shown(&self) -> Option<ShownIdentity> {
        let gateway = self.gateway.clone().map(ShownIdentity::Gateway);
        gateway.or_else(|| self.workload.clone().map(ShownIdentity::Workload))
    }

    /// When the request's head was there.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Whether something of a response went to the client already.
    pub(crate) fn has_informed(&self) -> bool {
        self.informed.get()
    }

    /// The target that was picked last.
    pub(crate) fn target(&self) -> Option<&Arc<TargetSlot>> {
        self.target.as_ref()
    }

    pub(crate) fn meter(&self) -> &Rc<Meter> {
        &self.meter
    }

    /// The client's VPC, once it is known.
    pub(crate) fn vpc(&self) -> Option<&VpcState> {
        self.vpc.as_deref()
    }

    pub(crate) fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.http2
    }

    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Says that the connection ends with this answer, when it must: then the rest of the request's body, if
    /// there is some, is not read, and the client's next request would get lost (RFC 9112 section 9.6).
    pub(crate) fn close_if(&self, must: bool, headers: &mut HeaderMap) {
        let unread = self.meter.unread.get();
        if !self.http2 && (must || unread) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            self.connection
                .lingers
                .set(unread || self.connection.lingers.get());
        }
    }

    /// Passes the target's interim responses on (RFC 9110 section 15.2). hyper says 100 (Continue) to a client
    /// that waits for it as soon as its body is asked for. Returns whether the body may flow from now on.
    pub(crate) fn pass_on(&self, interim: Vec<Interim>) -> bool {
        let mut go = false;
        for response in interim {
            self.meter.touch();
            let seam = &self.connection.seam;
            match response.status {
                100 => go |= self.meter.let_go(),
                // The answer to an earlier request must be written before.
                _ if self.interim && !seam.is_blocked() => {
                    self.informed.set(true);
                    seam.write_ahead(&interim::for_client(&response));
                }
                _ => {}
            }
        }
        go
    }

    /// The client's VPC is known: from here on its service network may want a record.
    pub(crate) fn entered<B>(&mut self, vpc: &Arc<VpcState>, request: &Request<B>) {
        if vpc
            .network
            .as_ref()
            .is_some_and(|network| !network.destinations.is_empty())
        {
            self.listen(request);
        }
        self.vpc = Some(Arc::clone(vpc));
    }

    /// The service was found: from here on the request counts for it.
    pub(crate) fn found<B>(&mut self, entry: &Arc<Entry>, request: &Request<B>) {
        self.meter.limit.set(entry.idle_timeout);
        self.connection.set_idle_timeout(entry.idle_timeout);
        if !entry.destinations.is_empty() {
            self.listen(request);
        }
        self.entry = Some(Arc::clone(entry));
    }

    /// Somebody reads access logs: notes what they say of the request.
    fn listen<B>(&mut self, request: &Request<B>) {
        if self.said.is_none() {
            self.meter.timed.set(true);
            self.said = Some(Box::new(Said::of(request, &self.scan)));
        }
    }

    pub(crate) fn decided(&mut self, listener: &ListenerId, rule: &RuleId) {
        if self.said.is_some() {
            self.listener = Some(listener.clone());
            self.rule = Some(rule.clone());
        }
    }

    pub(crate) fn denied(&mut self, by: Level) {
        self.denied_by = Some(by);
    }

    /// A group was chosen, perhaps instead of an earlier one, where the request is no longer active: what it
    /// comes to counts for this one.
    pub(crate) fn grouped(&mut self, group: &Arc<GroupSlot>) {
        if let Some(before) = self.group.take() {
            let cells = before.counters.of(self.core.index);
            cells.subtract(Count::ActiveRequests, 1);
        }
        let cells = group.counters.of(self.core.index);
        cells.add(Count::Requests, 1);
        cells.add(Count::ActiveRequests, 1);
        self.group = Some(Arc::clone(group));
    }

    /// Takes a place among the requests of a group with a policy, if they have a limit and it has none yet.
    ///
    /// # Errors
    /// There are as many as may be.
    pub(crate) fn admit(&mut self, policy: &Policy) -> Result<(), Refusal> {
        let place = self.place.take();
        let known = place.filter(|it| it.is_of(&policy.load));
        self.place = match known {
            Some(place) => Some(place),
            None => policy.enter(Limit::Requests).map_err(Refusal::overflow)?,
        };
        Ok(())
    }

    /// The request turned to a group without a policy: its place in the one before is free.
    pub(crate) fn leave_place(&mut self) {
        self.place = None;
    }

    /// A target was picked, perhaps instead of an earlier one.
    pub(crate) fn picked(&mut self, target: &Arc<TargetSlot>) {
        self.leave_target();
        target.enter(self.core.index);
        self.meter.aim(target);
        self.target = Some(Arc::clone(target));
    }

    fn leave_target(&mut self) {
        if let Some(target) = self.target.take() {
            target.leave(self.core.index);
        }
    }

    /// The target's head is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.meter.touch();
        self.status = status.as_u16();
        if self.said.is_some() {
            self.first_byte = Some(self.started.elapsed());
        }
    }

    /// The status of a call by gRPC comes in the target's trailers, or in its head where there is no body
    /// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
    pub(crate) fn note_grpc_status(&mut self, fields: &HeaderMap) {
        let is_grpc = || {
            let version = self.group.as_ref().map(|group| group.version);
            version == Some(ProtocolVersion::Grpc)
        };
        if self.said.is_some() && is_grpc() {
            let status = fields.get("grpc-status");
            self.grpc_status = status.and_then(|status| status.to_str().ok()?.parse().ok());
        }
    }

    pub(crate) fn refused(&mut self, status: StatusCode, failure: Option<Failure>) {
        self.status = status.as_u16();
        self.failure = failure;
    }

    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// Bytes on their way to the client.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        self.meter.touch();
    }

    /// What was said to be on its way to the client is replaced.
    pub(crate) fn unsend(&mut self) {
        self.sent = 0;
    }

    /// The head is on its way to the client.
    pub(crate) fn sent_head(&mut self, headers: &HeaderMap) {
        self.sent += 17 + headers_size(headers);
    }

    /// The request is over: counts it and hands over its access log record, once.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let taken = self.started.elapsed();
        self.meter.end();
        self.core.totals.subtract(Count::ActiveRequests, 1);
        self.core.totals.status(self.status);
        self.connection.leave(self.started + taken);
        if let Some(entry) = &self.entry {
            let cells = entry.slot.counters.of(self.core.index);
            cells.add(Count::Requests, 1);
            cells.status(self.status);
            cells.time(taken);
            if self.failure == Some(Failure::TargetDataTimeout) {
                cells.add(Count::RequestTimeouts, 1);
            }
        }
        if let Some(group) = &self.group {
            let cells = group.counters.of(self.core.index);
            cells.subtract(Count::ActiveRequests, 1);
            cells.status(self.status);
            cells.time(taken);
            cells.add(Count::BytesReceived, self.meter.bytes_received());
            cells.add(Count::BytesSent, self.sent);
        }
        self.log(taken);
        self.leave_target();
        self.place = None;
    }

    fn log(&mut self, taken: Duration) {
        let (Some(said), Some(vpc)) = (self.said.take(), &self.vpc) else {
            return;
        };
        let Some(network) = &vpc.network else {
            return;
        };
        let entry = self.entry.as_deref();
        let proved = self.sender.proved();
        let secured = self.connection.secured();
        let to_target = self.meter.completed().filter(|_| self.target.is_some());
        self.core.sink.access_log(AccessLog {
            destinations: entry
                .map_or(&network.destinations, |entry| &entry.destinations)
                .clone(),
            start_time: self.core.start_of(taken),
            request_id: text(&self.request_id),
            service_network_arn: Some(network.source.arn.clone()),
            service_arn: entry.map(|entry| entry.source.arn.clone()),
            listener: self.listener.take(),
            target_group_arn: self.group.as_ref().map(|group| group.arn.clone()),
            source_vpc: vpc.id.clone(),
            source_vpc_arn: vpc.arn.clone(),
            destination_vpc: self.group.as_ref().and_then(|group| {
                let reach = group.reach.as_ref()?;
                Some(reach.vpc.clone())
            }),
            source: self.connection.remote(),
            target: self.target_address(),
            host: said.host,
            method: said.method,
            path: said.path,
            user_agent: said.user_agent,
            protocol: if self.http2 { "HTTP/2" } else { "HTTP/1.1" },
            tls_version: secured.map(|secured| secured.version),
            ssl_cipher: secured.map(|secured| secured.cipher),
            server_name: secured.and_then(|secured| secured.server_name.clone()),
            auth_denied_by: self.denied_by.map(gate::denier),
            resolved_user: self.sender.resolved(),
            caller_principal: proved.map(|caller| caller.principal.arn()),
            caller_tags: proved.map(|caller| caller.tags.clone()).unwrap_or_default(),
            response_code: self.status,
            grpc_response_code: self.grpc_status,
            failure_reason: self.failure.map(Failure::name),
            bytes_received: self.meter.bytes_received(),
            bytes_sent: self.sent,
            duration_ms: millis(taken),
            request_to_target_ms: to_target.map_or(0, millis),
            response_from_target_ms: self
                .first_byte
                .map_or(0, |first| millis(taken.saturating_sub(first))),
            rule: self.rule.take(),
        });
    }

    fn target_address(&self) -> Option<SocketAddr> {
        self.target.as_ref().map(|target| target.address)
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        if !self.done {
            let aborted = self.connection.is_aborted();
            self.failure.get_or_insert(if aborted {
                Failure::ConnectionDurationExceeded
            } else {
                Failure::ClientConnectionClosed
            });
            self.finish();
        }
    }
}

impl Said {
    fn of<B>(request: &Request<B>, scan: &HeaderScan) -> Self {
        let host = head::host(request, scan).ok();
        Self {
            host: host.map(|host| String::from_utf8_lossy(host).into_owned()),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            user_agent: request.headers().get(header::USER_AGENT).map(text),
        }
    }
}

/// A client's id is kept, cut at 512 bytes.
fn request_id(headers: &HeaderMap, scan: &HeaderScan, core: &Core) -> HeaderValue {
    if !scan.request_id {
        return core.ids.next();
    }
    match headers.get("x-amzn-requestid") {
        Some(id) if id.len() <= 512 => id.clone(),
        Some(id) => {
            HeaderValue::from_bytes(&id.as_bytes()[..512]).unwrap_or_else(|_| core.ids.next())
        }
        None => core.ids.next(),
    }
}

/// The size of headers as HTTP/1.1 would write them, with the empty line.
fn headers_size(headers: &HeaderMap) -> u64 {
    let lines: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    lines as u64 + 2
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
