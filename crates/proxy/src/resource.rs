//! Resources: a client's TCP connection is joined to one of a resource's, which a gateway in another VPC makes
//! (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/resources-vpc-lattice.html>). Nothing of the bytes is read, and no
//! auth policy is asked.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use lath_feed::telemetry::LogLines;
use lath_feed::{RESOURCE_BLOCK, ResourceGateway, ResourceTarget};
use lath_model::Timestamp;
use lath_net::Place;
use lath_net::accept::Slot;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::connection::{Connection, Order};
use crate::core::Core;
use crate::counters::Count;
use crate::lane::Lane;
use crate::listener::Listening;
use crate::state::{ResourceKey, ResourceState, VpcState};

/// Counts a connection and has it looked after for as long as this lives.
struct Entered<'a> {
    core: &'a Core,
    key: usize,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.core.connections.remove(self.key);
        self.core.totals.subtract(Count::ActiveConnections, 1);
    }
}

/// Carries a connection that was accepted to its end.
pub(crate) async fn carry(
    core: Rc<Core>,
    listening: Rc<Listening>,
    key: ResourceKey,
    mut client: TcpStream,
    remote: SocketAddr,
    slot: Slot,
) {
    let known = core.clients.enter(listening.vpc_id(), remote.ip());
    let limits = &core.config.limits;
    let connection = Rc::new(Connection::new(limits, listening, remote, known, slot));
    connection.set_idle_timeout(core.config.resource_idle);
    connection.opened(None);
    core.totals.add(Count::Connections, 1);
    core.totals.add(Count::ActiveConnections, 1);
    let _entered = Entered {
        core: &core,
        key: core.connections.add(Rc::clone(&connection)),
    };
    let state = core.state.load().resources.get(&key).cloned();
    let mut passed = Passed::default();
    let carried = match &state {
        Some(state) => join(&core, &connection, state, &mut client, &mut passed).await,
        None => Err(io::ErrorKind::NotFound.into()),
    };
    if let Some(state) = state {
        log(&core, &connection, (&key, &state), &passed);
    }
    if let Err(error) = carried {
        core.totals.add(Count::ConnectionErrors, 1);
        tracing::debug!(client.addr = %remote, resource = ?key, %error, "a connection to a resource broke");
        reset(&client);
    }
}

/// Which way a connection went, as far as it got.
#[derive(Debug, Default)]
struct Passed {
    /// Where the client meant to go.
    meant: Option<SocketAddr>,
    gateway: Option<SocketAddr>,
    resource: Option<SocketAddr>,
}

/// Hands over the connection's access log record
/// (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/monitoring-access-logs.html>).
fn log(
    core: &Core,
    connection: &Connection,
    (key, state): (&ResourceKey, &ResourceState),
    passed: &Passed,
) {
    let association = state.association.iter();
    let logs = association.flat_map(|it| &it.access_logs);
    let mut groups: Vec<&str> = logs
        .chain(&state.resource.access_logs)
        .filter_map(|it| Some(it.destination_arn.split_once(":log-group:")?.1))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.is_empty() {
        return;
    }
    let at = core.config.clock.now();
    let line = record(
        at,
        connection,
        &connection.listening.vpc(&core.state),
        (key, state),
        passed,
    );
    let id = &state.resource.id;
    for group in groups {
        core.sink.log_lines(LogLines {
            group: group.to_owned(),
            stream: format!("VpcLatticeResourceAccessLogs_{id}"),
            at,
            lines: vec![line.clone()],
        });
    }
}

/// Nothing in it needs an escape: ids, ARNs and addresses.
fn record(
    at: Timestamp,
    connection: &Connection,
    vpc: &VpcState,
    (key, state): (&ResourceKey, &ResourceState),
    passed: &Passed,
) -> String {
    let none = || "-".to_owned();
    let association = state.association.as_ref();
    let endpoint = match key {
        ResourceKey::Association(_) => none(),
        ResourceKey::Endpoint(id, _) => id.to_string(),
    };
    let place = |at: Option<SocketAddr>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let members = [
        ("eventTimestamp", at.to_string()),
        (
            "serviceNetworkArn",
            association.map_or_else(none, |it| it.network_arn.clone()),
        ),
        (
            "serviceNetworkResourceAssociationId",
            association.map_or_else(none, |it| it.id.to_string()),
        ),
        ("vpcEndpointId", endpoint),
        ("sourceVpcArn", vpc.arn.clone()),
        ("resourceConfigurationArn", state.resource.arn.clone()),
        ("protocol", "tcp".to_owned()),
        ("sourceIpPort", connection.remote().to_string()),
        ("destinationIpPort", place(passed.meant)),
        ("gatewayIpPort", place(passed.gateway)),
        ("resourceIpPort", place(passed.resource)),
    ];
    let members = members.map(|(name, value)| format!("\"{name}\":\"{value}\""));
    format!("{{{}}}", members.join(","))
}

/// A connection that broke is not one that ended: its other side gets a reset.
fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Where a client meant to go: the VPC's router may have translated the port.
fn meant_by(client: &TcpStream) -> io::Result<SocketAddr> {
    let meant = SockRef::from(client).original_dst_v4();
    let meant = meant.ok().and_then(|it| it.as_socket());
    meant.map_or_else(|| client.local_addr(), Ok)
}

async fn join(
    core: &Core,
    connection: &Connection,
    state: &ResourceState,
    client: &mut TcpStream,
    passed: &mut Passed,
) -> io::Result<()> {
    let meant = meant_by(client)?;
    let port = meant.port();
    passed.meant = Some(meant);
    if !state.resource.has_port(port) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    client.set_nodelay(true)?;
    let _room = core.pools.room().ok_or(io::ErrorKind::QuotaExceeded)?;
    let connecting = connect(core, state, port);
    let mut target = unless_aborted(connection, connecting).await??;
    (passed.gateway, passed.resource) = (target.local_addr().ok(), target.peer_addr().ok());
    let (mut onwards, mut back) = (Lane::default(), Lane::default());
    let carried = || connection.carried();
    let joined = poll_fn(|cx| {
        if connection.order(cx) == Order::Abort {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let to_target = onwards.poll(client, &mut target, &carried, cx);
        let to_client = back.poll(&mut target, client, &carried, cx);
        match (to_target, to_client) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await;
    if joined.is_err() {
        reset(&target);
    }
    joined
}

/// What a future gives, unless the connection has the order to end before.
async fn unless_aborted<T>(
    connection: &Connection,
    waits: impl Future<Output = T>,
) -> io::Result<T> {
    let mut waits = pin!(waits);
    poll_fn(|cx| match connection.order(cx) {
        Order::Abort => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        _ => waits.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// A connection from one of the gateway's addresses to the resource; of a name's addresses the first that takes it.
async fn connect(core: &Core, state: &ResourceState, port: u16) -> io::Result<TcpStream> {
    let gateway = state.gateway.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let addresses: Vec<Ipv4Addr> = gateway.addresses().collect();
    if addresses.is_empty() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    let turn = usize::try_from(state.turns.next(core.index)).unwrap_or_default();
    let (before, from_turn) = addresses.split_at(turn % addresses.len());
    let in_turn = [from_turn, before].concat();
    let place = Place::Vpc(gateway.vpc.clone());
    let targets = targets(core, state, gateway).await?;
    let mut last = io::ErrorKind::NotFound.into();
    for target in targets.iter().take(core.config.connect_attempts.max(1)) {
        let to = SocketAddr::new(IpAddr::V4(*target), port);
        match connect_from(core, &place, &in_turn, to).await {
            Ok(target) => return Ok(target),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection from the first of these addresses that has a port for it: one has some 55,000 to a destination.
async fn connect_from(
    core: &Core,
    place: &Place,
    addresses: &[Ipv4Addr],
    to: SocketAddr,
) -> io::Result<TcpStream> {
    let timeout = core.config.connect_timeout;
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for from in addresses {
        let from = Some(IpAddr::V4(*from));
        match lath_net::connect(&core.network, place, from, to, timeout).await {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => last = error,
            connected => return connected,
        }
    }
    Err(last)
}

/// Where the resource is.
async fn targets(
    core: &Core,
    state: &ResourceState,
    gateway: &ResourceGateway,
) -> io::Result<Vec<Ipv4Addr>> {
    let (name, in_vpc) = match &state.resource.target {
        ResourceTarget::Address(address) => return Ok(vec![*address]),
        ResourceTarget::Name { name, in_vpc } => (name, *in_vpc),
    };
    let names = core
        .config
        .names
        .as_ref()
        .ok_or(io::ErrorKind::Unsupported)?;
    let vpc = in_vpc.then_some(&gateway.vpc);
    let mut found = names.0.addresses(vpc, name).await?;
    // A name must not lead to what the router itself serves to its VPC.
    found.retain(|address| may_be_connected(*address));
    Ok(found)
}

/// Whether a name may lead there: to hosts, and not to link-local services or back into service networks.
fn may_be_connected(address: Ipv4Addr) -> bool {
    let refused = address.is_unspecified()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast();
    !refused && !RESOURCE_BLOCK.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_hosts_alone() {
        for (address, want) in [
            ("10.0.1.10", true),
            ("192.0.2.1", true),
            ("169.254.169.254", false),
            ("169.254.171.10", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("129.224.3.4", false),
            ("129.224.128.4", true),
        ] {
            let got = may_be_connected(address.parse().unwrap());
            assert_eq!(got, want, "{address}");
        }
    }
}
