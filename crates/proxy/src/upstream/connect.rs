//! New connections to targets.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lath_model::lattice::ProtocolVersion;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::Pools;
use super::link::{Link, Open, Room};
use super::pools::Usable;
use crate::counters::Count;
use crate::engine::client::Http2;
use crate::slot::{GroupSlot, TargetSlot};
use crate::stream::Stream;
use crate::target_io::TargetSocket;

/// A connection to the target, ready for a first exchange.
///
/// # Errors
/// What connecting said.
pub(super) async fn connect(
    pools: &Pools,
    group: &Arc<GroupSlot>,
    target: &Arc<TargetSlot>,
    room: Room,
) -> io::Result<Usable> {
    let cells = group.counters.of(pools.thread);
    cells.add(Count::Connections, 1);
    let socket = dial(pools, target).await.inspect_err(|error| {
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        cells.add(Count::ConnectionErrors, 1);
        cells.add(Count::ConnectionTimeouts, u64::from(timed_out));
    })?;
    let stream = Stream::connected(socket);
    match group.version {
        ProtocolVersion::Http1 => {
            let open = Open::new(group, pools.thread, Count::Http1Connections, room);
            let socket = Rc::new(TargetSocket::new(stream));
            let link = Link::over(socket, open, pools.clock.get());
            Ok(Usable::Http1(Box::new(link.ok_or(io::ErrorKind::Other)?)))
        }
        ProtocolVersion::Http2 | ProtocolVersion::Grpc => {
            let open = Open::new(group, pools.thread, Count::Http2Connections, room);
            let shared = Http2::over(stream, open).await?;
            pools.with(target, |pool| pool.shared = Some(shared.clone()));
            Ok(Usable::Http2(shared))
        }
    }
}

async fn dial(pools: &Pools, target: &TargetSlot) -> io::Result<TcpStream> {
    let config = &pools.config;
    let timeout = match target.reach.region {
        None => config.connect_timeout,
        Some(_) => config.remote_connect_timeout,
    };
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
