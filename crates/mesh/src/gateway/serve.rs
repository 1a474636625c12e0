//! The serving end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_feed::{GATEWAY_PORT, SnapshotReceiver, Topology};
use lath_model::id::VpcId;
use lath_net::accept::{Acceptor, ConnectionLimits, Slot};
use lath_net::descriptors::Purpose;
use lath_net::{LATTICE_SOURCE, Network, Place};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::head::{HeadError, phrase};
use super::pump::pump;
use super::{LARGEST_HEAD, authority_of, resolve};
use crate::listen;

/// Connections at a time, over all cells.
const CONNECTIONS: usize = 16 * 1024;
/// For a head to arrive, and for a refusal to leave.
const HEAD: Duration = Duration::from_secs(5);
/// For connecting a target; callers with less patience hang up.
const CONNECT: Duration = Duration::from_secs(5);

/// Serves the other cells of the topology until `stop`; at once returns where there are none. `network`
/// gives sockets in the underlay and in VPCs; targets are connected from [`LATTICE_SOURCE`].
pub async fn serve(
    topology: Arc<Topology>,
    network: Arc<dyn Network>,
    snapshots: SnapshotReceiver,
    stop: CancellationToken,
) {
    if topology.peers().next().is_none() {
        return;
    }
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept(topology, network, snapshots) => {}
    }
}

async fn accept(topology: Arc<Topology>, network: Arc<dyn Network>, snapshots: SnapshotReceiver) {
    let listener = listen::listener(&topology, GATEWAY_PORT, &network).await;
    let (acceptor, mut connections) = (acceptor(), JoinSet::new());
    loop {
        let (stream, cell, slot) = listen::accept(&listener, &topology, &acceptor).await;
        while connections.try_join_next().is_some() {}
        let gateway = Gateway {
            network: Arc::clone(&network),
            snapshots: snapshots.clone(),
        };
        connections.spawn(async move {
            tokio::select! {
                outcome = gateway.converse(stream, &slot) => if let Err(error) = outcome {
                    tracing::debug!(peer = cell, %error, "a connection through the gateway ended");
                },
                () = slot.ended() => tracing::debug!(peer = cell, "a connection through the gateway was ended"),
            }
        });
    }
}

/// Something is left for the others, whatever one cell does.
fn acceptor() -> Acceptor {
    let total = Purpose::Gateway.share(2 * CONNECTIONS) / 2;
    let limits = ConnectionLimits {
        total,
        per_place: total,
        per_source: total - total / 8,
        idle: HEAD,
    };
    Acceptor::new("gateway", limits)
}

struct Gateway {
    network: Arc<dyn Network>,
    snapshots: SnapshotReceiver,
}

impl Gateway {
    async fn converse(&self, mut stream: TcpStream, slot: &Slot) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut bytes = Vec::with_capacity(512);
        slot.set_grace(HEAD);
        let asked = tokio::time::timeout(HEAD, read_head(&mut stream, &mut bytes)).await;
        let opened = match asked {
            Ok(asked) => match asked? {
                Ok((authority, length)) => self.open(&authority).await.map(|inner| (inner, length)),
                Err(refusal) => Err(refusal),
            },
            Err(_) => Err((408, "the head did not arrive in time")),
        };
        let _until_it_ends = slot.busy();
        match opened {
            Ok((inner, length)) => {
                stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
                pump(stream, inner, &bytes[length..]).await
            }
            Err(refusal) => refuse(stream, refusal).await,
        }
    }

    async fn open(&self, authority: &str) -> Result<TcpStream, HeadError> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let destination = resolve(&snapshot, authority).map_err(|reason| (404, reason))?;
        drop(snapshot);
        let mut refusal = (502, "the target cannot be connected");
        for (vpc, at) in destination.ways {
            match self.connect(vpc, at).await {
                Ok(stream) => return Ok(stream),
                Err(error) => refusal = refused(&error),
            }
        }
        Err(refusal)
    }

    async fn connect(&self, vpc: VpcId, at: SocketAddr) -> io::Result<TcpStream> {
        let from = at.is_ipv4().then_some(IpAddr::V4(LATTICE_SOURCE));
        lath_net::connect(&self.network, &Place::Vpc(vpc), from, at, CONNECT).await
    }
}

fn refused(error: &io::Error) -> HeadError {
    match error.kind() {
        io::ErrorKind::TimedOut => (504, "the target did not answer in time"),
        io::ErrorKind::ConnectionRefused => (502, "the target refused the connection"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (502, "the target cannot be reached")
        }
        _ => (502, "the target cannot be connected"),
    }
}

type Asked = Result<(String, usize), HeadError>;

/// Reads until the head is whole; what comes behind it stays in `bytes`.
async fn read_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Asked> {
    loop {
        match authority_of(bytes) {
            Ok(Some((authority, length))) => return Ok(Ok((authority.to_owned(), length))),
            Ok(None) => {}
            Err(refusal) => return Ok(Err(refusal)),
        }
        let mut more = (&mut *stream).take(LARGEST_HEAD as u64);
        if more.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn refuse(mut stream: TcpStream, (status, reason): HeadError) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{reason}",
        phrase(status),
        reason.len()
    );
    tokio::time::timeout(HEAD, stream.write_all(answer.as_bytes())).await?
}
