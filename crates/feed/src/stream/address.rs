//! Where control takes its nodes' connections.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use super::{FeedKey, FeedPublicKey, KnownNodes};
use crate::NodeId;

/// A connection of either kind.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}
pub(super) type Wire = Box<dyn Bytes>;

/// Where a node finds its control plane.
#[derive(Debug, Clone)]
pub enum Address {
    /// On this machine: a socket that this user alone can open.
    Socket(PathBuf),
    /// On another machine: both ends prove their keys, and nothing travels in clear.
    Tcp {
        /// Host and port.
        at: String,
        /// The node's own.
        key: FeedKey,
        /// Control's.
        control: FeedPublicKey,
    },
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp { at, .. } => at.fmt(f),
        }
    }
}

impl Address {
    pub(super) async fn connect(&self) -> io::Result<Wire> {
        match self {
            Self::Socket(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { at, key, control } => {
                let stream = TcpStream::connect(at.as_str()).await?;
                key.connect(stream, *control).await
            }
        }
    }
}

/// Where a control plane takes connections, see [`super::listen`] and [`Listener::tcp`].
#[derive(Debug)]
pub enum Listener {
    /// From this machine.
    Socket(UnixListener),
    /// From others.
    Tcp {
        /// The port.
        listener: TcpListener,
        /// Control's own.
        key: FeedKey,
        /// The nodes' keys.
        nodes: watch::Receiver<KnownNodes>,
    },
}

/// A connection that has not proven anything yet.
pub(super) enum Caller {
    Socket(UnixStream),
    Tcp(TcpStream, FeedKey, watch::Receiver<KnownNodes>),
}

/// Who the other end is, as far as it has proven that.
pub(super) struct Proof {
    /// The node of the key.
    pub(super) node: NodeId,
    key: FeedPublicKey,
    nodes: watch::Receiver<KnownNodes>,
}

impl Proof {
    /// Ends when the key is the node's no more.
    pub(super) async fn revoked(&mut self) {
        let is_other = |nodes: &KnownNodes| nodes.get(&self.key) != Some(&self.node);
        if self.nodes.wait_for(is_other).await.is_err() {
            // The list is what it is for good.
            std::future::pending().await
        }
    }
}

impl Listener {
    /// Takes connections of the nodes of these keys, as control of this one.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn tcp(
        at: SocketAddr,
        key: FeedKey,
        nodes: watch::Receiver<KnownNodes>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        Ok(Self::Tcp {
            listener,
            key,
            nodes,
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Caller> {
        match self {
            Self::Socket(listener) => Ok(Caller::Socket(listener.accept().await?.0)),
            Self::Tcp {
                listener,
                key,
                nodes,
            } => {
                let (stream, _) = listener.accept().await?;
                Ok(Caller::Tcp(stream, key.clone(), nodes.clone()))
            }
        }
    }
}

impl Caller {
    /// Where it came from, as far as that tells one host from another; `None` on this machine.
    pub(super) fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Socket(_) => None,
            Self::Tcp(stream, ..) => stream.peer_addr().ok().map(|peer| host(peer.ip())),
        }
    }

    /// The connection, once the other end has proven what it must.
    pub(super) async fn proven(self) -> io::Result<(Wire, Option<Proof>)> {
        match self {
            Self::Socket(stream) => Ok((Box::new(stream), None)),
            Self::Tcp(stream, own, nodes) => {
                let known = nodes.borrow().clone();
                let (stream, key) = own.accept(stream, &known).await?;
                let node = known.get(&key).cloned();
                let node = node.ok_or(io::ErrorKind::PermissionDenied)?;
                Ok((stream, Some(Proof { node, key, nodes })))
            }
        }
    }
}

/// One IPv6 host may have all addresses of a /64.
fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    }
}
