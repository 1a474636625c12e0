//! Sockets in places: the host's own network, or the network of a VPC.
//!
//! A socket remembers the network namespace it was made in, so one process serves all VPCs. A caller
//! asks a [`Network`] for a socket and then binds, listens or connects on its own runtime.

pub mod accept;
pub mod descriptors;
mod namespace;
mod throttle;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lath_model::WorkloadId;
use lath_model::id::VpcId;
use socket2::{Domain, Protocol, Socket, Type};

pub use namespace::namespace;
pub use throttle::Throttle;

/// The address, on every VPC router, that requests and health probes to targets come from. It is in the
/// `com.amazonaws.REGION.vpc-lattice` prefix list, so that targets' security groups can let it in; no
/// service is ever given it.
pub const LATTICE_SOURCE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 171, 1);

/// Where the AWS APIs are, on every VPC router.
pub const API_ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 170, 24);

/// Where the agent of pod identities is, on every node that runs it
/// (<https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>).
pub const POD_IDENTITY_ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 170, 23);

/// Where a socket lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The network that Lath's own process is in.
    Host,
    /// A VPC's router: it reaches every address of the VPC.
    Vpc(VpcId),
    /// A workload's own network namespace: its loopback is there too.
    Workload(WorkloadId),
    /// The cell's own end of the WAN and of the encrypted links to other regions. `NotFound` where there is
    /// only one region.
    Underlay,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stream socket.
    Tcp,
    /// A datagram socket.
    Udp,
}

/// Makes sockets in places.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// A new socket, close-on-exec and non-blocking, neither bound nor connected.
    ///
    /// # Errors
    /// `NotFound` when the place does not exist (yet, or any more); otherwise what `socket(2)` said.
    async fn socket(&self, place: &Place, domain: Domain, kind: Kind) -> io::Result<Socket>;
}

/// Every place is the host: for tests and for nodes that join networks which exist.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostNetwork;

#[async_trait]
impl Network for HostNetwork {
    async fn socket(&self, _place: &Place, domain: Domain, kind: Kind) -> io::Result<Socket> {
        new_socket(domain, kind)
    }
}

/// A socket in the calling thread's namespace, close-on-exec and non-blocking.
///
/// # Errors
/// What `socket(2)` said.
pub fn new_socket(domain: Domain, kind: Kind) -> io::Result<Socket> {
    let (ty, protocol) = match kind {
        Kind::Tcp => (Type::STREAM, Protocol::TCP),
        Kind::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(domain, ty, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Connects by TCP from `place` to `to`, from the local address `from` where one is given.
///
/// # Errors
/// `TimedOut` after `timeout`; otherwise what making, binding or connecting the socket said.
pub async fn connect(
    network: &Arc<dyn Network>,
    place: &Place,
    from: Option<IpAddr>,
    to: SocketAddr,
    timeout: Duration,
) -> io::Result<tokio::net::TcpStream> {
    let socket = network
        .socket(place, Domain::for_address(to), Kind::Tcp)
        .await?;
    if let Some(from) = from {
        // The port is chosen at connect, so that a source address is not limited to one port range.
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::IpBindAddressNoPort,
            &true,
        )?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
    tokio::time::timeout(timeout, socket.connect(to))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A listening TCP socket in `place`, with `SO_REUSEADDR` and `SO_REUSEPORT` (one per core may share
/// the address).
///
/// # Errors
/// What making, binding or listening said.
pub async fn listen(
    network: &Arc<dyn Network>,
    place: &Place,
    at: SocketAddr,
) -> io::Result<std::net::TcpListener> {
    let socket = network
        .socket(place, Domain::for_address(at), Kind::Tcp)
        .await?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&at.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// A bound UDP socket in `place`, registered with the calling runtime.
///
/// # Errors
/// What making or binding said.
pub async fn bind_udp(
    network: &Arc<dyn Network>,
    place: &Place,
    at: SocketAddr,
) -> io::Result<tokio::net::UdpSocket> {
    let socket = network
        .socket(place, Domain::for_address(at), Kind::Udp)
        .await?;
    socket.bind(&at.into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_reached() {
        let network: Arc<dyn Network> = Arc::new(HostNetwork);
        let listener = listen(&network, &Place::Host, "127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let at = listener.local_addr().unwrap();
        let from = Some("127.0.0.2".parse().unwrap());
        let stream = connect(&network, &Place::Host, from, at, Duration::from_secs(30))
            .await
            .unwrap();
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), "127.0.0.2");
    }
}
