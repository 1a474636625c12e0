//! TLS that does not end here: a client's connection is joined to one of a target's, by the name that it asks for
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/tls-listeners.html>). TCP of a gateway's listener likewise, which has no name.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use lath_feed::telemetry::AccessLog;
use lath_model::id::RuleId;
use lath_model::lattice::ListenerProtocol;
use lath_policy::lattice::Level;
use lath_svid::Svid;
use tokio::net::TcpStream;

use crate::auth::Passage;
use crate::breaker::Limit;
use crate::callers::Sender;
use crate::connection::{Connection, Order};
use crate::core::Core;
use crate::counters::Count;
use crate::ejection;
use crate::gate;
use crate::lane::{Broken, Lane};
use crate::outlier;
use crate::picking::pick;
use crate::refusal::Failure;
use crate::slot::{GroupSlot, TargetSlot};
use crate::state::{Entry, ListenerState, Outcome, VpcState};
use crate::tls::Passed;
use crate::upstream::{Open, connect_for_one};

/// Carries a connection to its end.
pub(crate) async fn pass(core: &Rc<Core>, connection: &Rc<Connection>, passed: Passed) {
    let vpc = connection.listening.vpc(&core.state);
    let found = vpc.network.as_ref().and_then(|network| {
        let name = passed.server_name.as_deref().map(str::as_bytes);
        if let Some(gateway) = network.gateway(connection.listening.at(), name) {
            // It may have become another one since the connection came.
            if gateway.protocol != ListenerProtocol::TlsPassthrough
                || gateway.opaque != name.is_none()
            {
                return None;
            }
            let (entry, place, _) = gateway.passed(name.unwrap_or_default())?;
            return Some((Arc::clone(entry), place));
        }
        let entry = network.hosts.get(name?)?;
        let port = connection.listening.port();
        let mut listeners = entry.listeners.iter();
        let is_it =
            |it: &ListenerState| it.port == port && it.protocol == ListenerProtocol::TlsPassthrough;
        let place = listeners.position(is_it)?;
        Some((Arc::clone(entry), place))
    });
    // It was there a moment ago.
    let Some((entry, place)) = found else {
        return;
    };
    connection.set_idle_timeout(entry.idle_timeout);
    if passed.server_name.is_none() {
        connection.set_opaque();
    }
    let mut journey = Journey {
        core,
        connection,
        vpc: &vpc,
        entry: &entry,
        listener: &entry.listeners[place],
        server_name: passed.server_name,
        started: Instant::now(),
        sender: Sender::Unasked,
        denied_by: None,
        rule: None,
        group: None,
        target: None,
        failure: None,
        received: 0,
        sent: 0,
    };
    let ended = journey.carry(passed.socket, passed.came).await;
    if let Err(failure) = ended {
        journey.failure = Some(failure);
    }
    journey.finish();
}

/// A connection on its way.
struct Journey<'a> {
    core: &'a Rc<Core>,
    connection: &'a Rc<Connection>,
    vpc: &'a VpcState,
    entry: &'a Entry,
    listener: &'a ListenerState,
    server_name: Option<String>,
    started: Instant,
    sender: Sender,
    denied_by: Option<Level>,
    rule: Option<RuleId>,
    group: Option<Arc<GroupSlot>>,
    target: Option<Arc<TargetSlot>>,
    failure: Option<Failure>,
    received: u64,
    sent: u64,
}

impl Journey<'_> {
    async fn carry(&mut self, client: TcpStream, came: Vec<u8>) -> Result<(), Failure> {
        self.authorise()?;
        let (target, _open) = self.connect().await?;
        let (mut onwards, mut back) = (Lane::after(came), Lane::default());
        let (mut client, mut target) = (client, target);
        let connection = self.connection;
        let carried = || connection.carried();
        let ended = poll_fn(|cx| {
            if connection.order(cx) == Order::Abort {
                return Poll::Ready(Err(Failure::ConnectionDurationExceeded));
            }
            let to_target = onwards.poll(&mut client, &mut target, &carried, cx);
            let to_client = back.poll(&mut target, &mut client, &carried, cx);
            match (to_target, to_client) {
                (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Sink))) => {
                    Poll::Ready(Err(Failure::ClientConnectionClosed))
                }
                (Poll::Ready(Err(Broken::Sink)), _) | (_, Poll::Ready(Err(Broken::Source))) => {
                    Poll::Ready(Err(Failure::TargetConnectionClosed))
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        })
        .await;
        (self.received, self.sent) = (onwards.carried, back.carried);
        ended
    }

    fn authorise(&mut self) -> Result<(), Failure> {
        let network = self.vpc.network.as_ref();
        let workload = match self.entry.workloads_only {
            true => Some(self.identified().ok_or(Failure::ClientAccessDenied)?),
            false => None,
        };
        let passage = Passage {
            workload: workload.as_deref(),
            network_arn: network.map_or("", |network| &network.source.arn),
            vpc: self.vpc,
            entry: self.entry,
            port: self.connection.listening.port(),
            client: &self.connection.client_header().value,
            clock: &self.core.config.clock,
        };
        let (sender, judged) = passage.authorize();
        self.sender = sender;
        judged.map_err(|level| {
            self.denied_by = Some(level);
            Failure::ClientAccessDenied
        })
    }

    /// The workload that has the client's address: nothing of its TLS is seen.
    fn identified(&self) -> Option<Arc<Svid>> {
        let (core, address) = (self.core, self.connection.remote().ip());
        let workloads = core.config.workloads.as_ref()?;
        let generation = core.state.load().generation;
        core.workloads.at(
            workloads,
            generation,
            &self.vpc.id,
            address,
            &core.config.clock,
        )
    }

    /// A connection to a target of a group of the listener's rule; another target is tried where one cannot be connected.
    async fn connect(&mut self) -> Result<(TcpStream, Open), Failure> {
        const NONE: Failure = Failure::TargetConnectionError;
        let core = self.core;
        let (rule, outcome) = &self.listener.default;
        self.rule = Some(rule.clone());
        let Outcome::Forward {
            weighted: Some(weighted),
            turns,
            choices,
            ..
        } = outcome
        else {
            return Err(NONE);
        };
        let choice = choices.get(weighted.pick(turns.next(core.index)));
        let choice = choice.ok_or(NONE)?;
        let group = choice.group.as_ref().ok_or(NONE)?;
        self.group = Some(Arc::clone(group));
        let mut refusing = Vec::new();
        while refusing.len() < core.config.connect_attempts {
            let members = group.members.load_full();
            let (target, _) = pick(core, group, &members, &refusing).ok_or(NONE)?;
            self.leave_target();
            target.enter(core.index);
            self.target = Some(Arc::clone(target));
            let room = core.pools.room().ok_or(NONE)?;
            let policy = members.policy.as_ref();
            let ticket = policy.map_or(Some(None), |it| it.connection());
            let Some(ticket) = ticket else {
                group.load.overflow(Limit::Connections);
                return Err(Failure::CircuitBreakerOverflow);
            };
            let room = room.with(ticket);
            let note = |outcome| {
                if let Some(policy) = policy {
                    ejection::note(group, &members, policy, target, outcome, &core.config.clock);
                }
            };
            let connecting = connect_for_one(&core.pools, group, target, room);
            match self.unless_aborted(connecting).await? {
                Ok(connected) => {
                    note(outlier::Outcome::Good);
                    return Ok(connected);
                }
                Err(error) => {
                    tracing::debug!(target.addr = %target.address, %error, "a target cannot be connected");
                    target.eject(core.config.ejection);
                    note(outlier::Outcome::Gateway);
                    refusing.push(target.serial);
                }
            }
        }
        Err(NONE)
    }

    /// What a future gives, unless the connection has the order to end before.
    async fn unless_aborted<T>(&self, waits: impl Future<Output = T>) -> Result<T, Failure> {
        let mut waits = pin!(waits);
        poll_fn(|cx| match self.connection.order(cx) {
            Order::Abort => Poll::Ready(Err(Failure::ConnectionDurationExceeded)),
            _ => waits.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    fn leave_target(&mut self) {
        if let Some(target) = self.target.take() {
            target.leave(self.core.index);
        }
    }

    /// Counts it and hands over its access log record.
    fn finish(&mut self) {
        if let Some(group) = &self.group {
            let cells = group.counters.of(self.core.index);
            cells.add(Count::BytesReceived, self.received);
            cells.add(Count::BytesSent, self.sent);
        }
        if !self.entry.destinations.is_empty() {
            let record = self.record();
            self.core.sink.access_log(record);
        }
    }

    fn record(&self) -> AccessLog {
        let taken = self.started.elapsed();
        let network = self.vpc.network.as_ref();
        let group = self.group.as_ref();
        AccessLog {
            destinations: self.entry.destinations.clone(),
            start_time: self.core.start_of(taken),
            request_id: String::from_utf8_lossy(self.core.ids.next().as_bytes()).into_owned(),
            service_network_arn: network.map(|network| network.source.arn.clone()),
            service_arn: Some(self.entry.source.arn.clone()),
            listener: Some(self.listener.id.clone()),
            target_group_arn: group.map(|group| group.arn.clone()),
            source_vpc: self.vpc.id.clone(),
            source_vpc_arn: self.vpc.arn.clone(),
            destination_vpc: group.and_then(|group| Some(group.reach.as_ref()?.vpc.clone())),
            source: self.connection.remote(),
            target: self.target.as_ref().map(|target| target.address),
            host: None,
            method: "-".to_owned(),
            path: "-".to_owned(),
            user_agent: None,
            protocol: match self.server_name {
                Some(_) => "TLS",
                None => "TCP",
            },
            tls_version: None,
            ssl_cipher: None,
            server_name: self.server_name.clone(),
            auth_denied_by: self.denied_by.map(gate::denier),
            resolved_user: self.sender.resolved(),
            caller_principal: None,
            caller_tags: Default::default(),
            response_code: 0,
            grpc_response_code: None,
            failure_reason: self.failure.map(Failure::name),
            bytes_received: self.received,
            bytes_sent: self.sent,
            duration_ms: u64::try_from(taken.as_millis()).unwrap_or(u64::MAX),
            request_to_target_ms: 0,
            response_from_target_ms: 0,
            rule: self.rule.clone(),
        }
    }
}

impl Drop for Journey<'_> {
    fn drop(&mut self) {
        self.leave_target();
    }
}
