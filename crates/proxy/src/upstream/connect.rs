//! New connections to targets.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lath_health::tls::towards_targets;
use lath_model::lattice::ProtocolVersion;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::Pools;
use super::dialing::{Dialing, Outcome};
use super::link::{Link, Open, Room};
use super::pools::{Pool, Usable};
use crate::counters::Count;
use crate::engine::http2_client::Http2;
use crate::shown::ShownIdentity;
use crate::slot::{GroupSlot, TargetSlot};
use crate::stream::Stream;
use crate::target_io::TargetSocket;
use crate::tls::Outward;

/// A target, and in whose name it is connected, if in anybody's: connections of one caller serve no other.
pub(crate) type Aim<'a> = (&'a Arc<TargetSlot>, Option<&'a ShownIdentity>);

/// A connection to the target, ready for a first exchange.
///
/// # Errors
/// What connecting said.
pub(super) async fn connect(
    pools: &Pools,
    group: &Arc<GroupSlot>,
    (target, caller): Aim<'_>,
    room: Room,
) -> io::Result<Usable> {
    let socket = counted(pools, group, target).await?;
    let stream = secure(pools, group, (target, caller), socket).await?;
    match group.version {
        ProtocolVersion::Http1 => {
            let open = Open::new(group, pools.thread, Some(Count::Http1Connections), room);
            let socket = Rc::new(TargetSocket::new(stream));
            let link = Link::over(socket, open, pools.clock.get());
            Ok(Usable::Http1(Box::new(link.ok_or(io::ErrorKind::Other)?)))
        }
        ProtocolVersion::Http2 | ProtocolVersion::Grpc => {
            let open = Open::new(group, pools.thread, Some(Count::Http2Connections), room);
            let (now, patience) = (pools.clock.get(), patience(pools, target));
            let shared = Http2::over(stream, open, now, patience).await?;
            let seat = shared.seat().ok_or(io::ErrorKind::Other)?;
            pools.with(target, caller, |pool| {
                pool.shared.push(shared);
                pool.load = Some(Arc::clone(&group.load));
            });
            Ok(Usable::Http2(seat))
        }
    }
}

/// As [`connect`], for what is shared: of those that come while a connection is being opened, as many wait for it as it
/// is sure to carry, and not each opens one of its own.
///
/// # Errors
/// What connecting said.
pub(super) async fn join(
    pools: &Pools,
    group: &Arc<GroupSlot>,
    (target, caller): Aim<'_>,
    room: Room,
) -> io::Result<Usable> {
    let mut room = Some(room);
    loop {
        if let Some(seat) = pools.with(target, caller, Pool::seat) {
            return Ok(Usable::Http2(seat));
        }
        let begun = pools.with(target, caller, |pool| pool.dialing.clone());
        if let Some(waiting) = begun.as_ref().and_then(Dialing::wait) {
            room = None;
            match waiting.outcome().await {
                Outcome::Failed(kind, true) => return Err(kind.into()),
                Outcome::Failed(kind, false) => {
                    let text = "the connection that was waited for could not be opened";
                    return Err(io::Error::new(kind, text));
                }
                Outcome::Opened | Outcome::Abandoned => continue,
            }
        }
        let Some(room) = room.take().or_else(|| another(pools, group)) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        let dialing = Dialing::begin();
        pools.with(target, caller, |pool| pool.dialing = Some(dialing.shared()));
        let connected = connect(pools, group, (target, caller), room).await;
        dialing.end(connected.as_ref().err());
        return connected;
    }
}

/// The right to open a connection, for a request that gave its own up while it waited for another's.
fn another(pools: &Pools, group: &GroupSlot) -> Option<Room> {
    let ticket = match &group.members.load().policy {
        None => None,
        Some(policy) => policy.connection()?,
    };
    pools.room().map(|room| room.with(ticket))
}

/// A connection of one client's, whose bytes are passed on as they are. It is counted as open until what comes with it
/// is dropped.
///
/// # Errors
/// What connecting said.
pub(crate) async fn connect_for_one(
    pools: &Pools,
    group: &Arc<GroupSlot>,
    target: &TargetSlot,
    room: Room,
) -> io::Result<(TcpStream, Open)> {
    let socket = counted(pools, group, target).await?;
    Ok((socket, Open::new(group, pools.thread, None, room)))
}

async fn counted(pools: &Pools, group: &GroupSlot, target: &TargetSlot) -> io::Result<TcpStream> {
    let cells = group.counters.of(pools.thread);
    cells.add(Count::Connections, 1);
    dial(pools, target).await.inspect_err(|error| {
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        cells.add(Count::ConnectionErrors, 1);
        cells.add(Count::ConnectionTimeouts, u64::from(timed_out));
    })
}

/// Under TLS if the group's targets speak it.
async fn secure(
    pools: &Pools,
    group: &GroupSlot,
    (target, caller): (&TargetSlot, Option<&ShownIdentity>),
    socket: TcpStream,
) -> io::Result<Stream> {
    let cells = group.counters.of(pools.thread);
    let tls = match group.secure {
        true => Some(outward(group, (target, caller), &socket)?),
        false => None,
    };
    let shakes = tls.is_some();
    let connecting = Stream::connected(socket, tls);
    let connected = tokio::time::timeout(patience(pools, target), connecting).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let counted = match &stream {
        Ok(_) => Count::TlsHandshakes,
        Err(_) => Count::TlsErrors,
    };
    cells.add(counted, u64::from(shakes));
    stream
}

/// How a target is spoken to: by the name that its group says, and verified, else by its address.
fn outward(
    group: &GroupSlot,
    (target, caller): (&TargetSlot, Option<&ShownIdentity>),
    socket: &TcpStream,
) -> io::Result<Outward> {
    let verified = target.verified.as_deref();
    let config = match (caller, verified) {
        (Some(caller), _) => caller
            .towards(group.version, verified)
            .map_err(io::Error::other)?,
        (None, Some(verified)) => verified.towards(group.version),
        (None, None) => towards_targets(group.version),
    };
    let name = match verified {
        Some(verified) => verified.server_name(),
        None => Some(ServerName::from(socket.peer_addr()?.ip())),
    };
    let name = name.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Outward { config, name })
}

/// How long a step towards the target may take.
fn patience(pools: &Pools, target: &TargetSlot) -> Duration {
    match target.reach.region {
        None => pools.config.connect_timeout,
        Some(_) => pools.config.remote_connect_timeout,
    }
}

async fn dial(pools: &Pools, target: &TargetSlot) -> io::Result<TcpStream> {
    let config = &pools.config;
    let timeout = patience(pools, target);
    let dialing = pools.dial.connect(&target.reach, target.address, timeout);
    let socket = dialing.await?;
    if let Some(span) = config.unacknowledged {
        watch_silence(&socket, span)?;
    }
    Ok(socket)
}

/// A host that acknowledges nothing for this long ends the connection; keep-alive probes, after a second of
/// silence, find out where there is nothing to acknowledge.
fn watch_silence(socket: &TcpStream, span: Duration) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_user_timeout(Some(span))?;
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second);
    socket.set_tcp_keepalive(&keepalive)
}
