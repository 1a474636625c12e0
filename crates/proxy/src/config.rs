//! The proxy's settings.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::Invoke;
use lath_health::Regions;
use lath_net::accept::ConnectionLimits;
use lath_net::descriptors::Purpose;

use crate::callers::Callers;
use crate::names::Names;
use crate::workloads::Workloads;

/// How the proxy works. The defaults are AWS's limits.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Threads, each with listeners, connections and pools of its own.
    pub threads: usize,
    /// The address from which targets are connected: it must be on `lo` of every VPC. `None`: whichever
    /// the kernel picks.
    pub lattice_source: Option<IpAddr>,
    /// The zone that metrics name, such as `us-east-1a`. `None`: the region's first.
    pub availability_zone: Option<String>,
    /// How long one attempt to connect a target may take.
    pub connect_timeout: Duration,
    /// How many targets of a group are tried when connecting fails (no byte of the request was sent).
    pub connect_attempts: usize,
    /// A client connection older than this takes no new requests.
    pub max_connection_lifetime: Duration,
    /// How long the head of an answer may wait for the rest of a body of at most 16 KiB. Targets that break off
    /// such a body mostly do so at once, and the head can still say that the connection ends (RFC 9112 9.6).
    pub short_body_wait: Duration,
    /// What requests in flight get after the lifetime has ended.
    pub lifetime_grace: Duration,
    /// What requests in flight on a removed listener get.
    pub listener_drain: Duration,
    /// What a deregistered target's requests in flight get.
    pub target_drain: Duration,
    /// How long an unused connection to a target is kept.
    pub pool_idle: Duration,
    /// How many unused connections each thread keeps to one target.
    pub pool_size: usize,
    /// How often deadlines are looked at: no timeout is more exact than this.
    pub tick: Duration,
    /// How often metrics are handed over.
    pub flush: Duration,
    /// How long a listener that cannot be bound counts as *not yet* before it counts as failed.
    pub bind_grace: Duration,
    /// How long a target that cannot be connected is left out while others can; zero: not at all, as AWS
    /// does.
    pub ejection: Duration,
    /// How long one attempt to connect a target of another region may take.
    pub remote_connect_timeout: Duration,
    /// How long a target's host may leave bytes unacknowledged before it counts as gone
    /// (`TCP_USER_TIMEOUT`); a slow program does not matter, its kernel acknowledges. `None`: as long as the
    /// kernel likes.
    pub unacknowledged: Option<Duration>,
    /// Whether a rule's groups without a healthy target are passed over for its other groups; those of weight
    /// zero are the reserve. AWS does neither.
    pub failover: bool,
    /// Whether requests of HTTP/1.1 are carried to HTTP2 groups; AWS refuses them.
    pub converts: bool,
    /// What clients may use of the process.
    pub limits: Limits,
    /// The other regions; `None` where there are none.
    pub regions: Option<Regions>,
    /// The keys that requests may be signed with, where auth policies are asked; `None`: signed requests are
    /// refused there.
    pub callers: Option<Callers>,
    /// Who knows the workloads that call; `None`: service networks that take identified ones only take none.
    pub workloads: Option<Workloads>,
    /// Who knows where resources are that have a name; `None`: these are not reached.
    pub names: Option<Names>,
    /// Who runs functions; `None`: requests for them are refused.
    pub functions: Option<Functions>,
    /// How long a connection to a resource may be idle.
    pub resource_idle: Duration,
    /// The wall clock: signatures, certificates and sessions are judged by it, and records and metrics carry its time.
    /// The default is the machine's.
    pub clock: Clock,
}

impl ProxyConfig {
    /// What AWS does not do: dead targets, groups and regions are left within a fraction of a second.
    pub fn extended() -> Self {
        Self {
            connect_timeout: Duration::from_millis(300),
            remote_connect_timeout: Duration::from_millis(400),
            ejection: Duration::from_secs(1),
            unacknowledged: Some(Duration::from_millis(500)),
            failover: true,
            converts: true,
            ..Self::default()
        }
    }
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            lattice_source: None,
            availability_zone: None,
            connect_timeout: Duration::from_secs(5),
            connect_attempts: 3,
            max_connection_lifetime: Duration::from_secs(600),
            short_body_wait: Duration::from_millis(20),
            lifetime_grace: Duration::from_secs(5),
            listener_drain: Duration::from_secs(60),
            target_drain: Duration::from_secs(300),
            pool_idle: Duration::from_secs(60),
            pool_size: 512,
            tick: Duration::from_millis(100),
            flush: Duration::from_secs(1),
            bind_grace: Duration::from_secs(15),
            ejection: Duration::ZERO,
            remote_connect_timeout: Duration::from_millis(500),
            unacknowledged: None,
            failover: false,
            converts: false,
            limits: Limits::default(),
            regions: None,
            callers: None,
            workloads: None,
            names: None,
            functions: None,
            // "Connections that are idle for 350 seconds" end, as those of VPC endpoints do
            // (https://docs.aws.amazon.com/vpc/latest/privatelink/create-endpoint-service.html).
            resource_idle: Duration::from_secs(350),
            clock: Clock::system(),
        }
    }
}

/// What clients may use of the process, so that no client takes it from the others. AWS publishes no such
/// limits; a client that reads its answers meets none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a client may leave an answer unread before it is ended: a stream of HTTP/2 where the others
    /// go on, else the connection.
    pub stall: Duration,
    /// The same while the memory of its client or of all is used up.
    pub pressed_stall: Duration,
    /// Bytes of bodies that one connection may have waiting; above it, one piece for each stream.
    pub connection_buffer: usize,
    /// Bytes of heads and bodies that one client (an address in a VPC) may have waiting. Above it nothing
    /// more is taken from its targets, and new requests are answered with 503.
    pub client_buffer: usize,
    /// The same for all clients together.
    pub total_buffer: usize,
    /// Client connections in all, of a VPC and of a client; `None`: as many as the process may have
    /// descriptors for, half of the proxy's for clients and half for targets.
    pub connections: Option<ConnectionLimits>,
    /// Connections to targets; `None` as above. Above it, idle ones are closed, and requests that find none
    /// are answered with 503.
    pub target_connections: Option<usize>,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    /// Clients' connections whose TLS handshake is not over, in all: three quarters of them may be of one VPC, and a
    /// quarter of one client. A newcomer above that takes the place of the oldest of the client or the VPC that has
    /// the most. Each holds 84 KiB at most.
    pub handshakes: usize,
    /// How long a client may take from its connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// After how much idleness an HTTP/1.1 connection gives its buffers back; a tick more is possible.
    pub park_after: Duration,
}

impl Limits {
    pub(crate) fn connections(&self) -> ConnectionLimits {
        self.connections.unwrap_or_else(|| {
            let total = half_of_descriptors();
            ConnectionLimits {
                total,
                per_place: total - total / 4,
                per_source: total / 2,
                idle: Duration::from_secs(60),
            }
        })
    }

    pub(crate) fn handshakes(&self) -> ConnectionLimits {
        let total = self.handshakes.max(4);
        ConnectionLimits {
            total,
            per_place: total - total / 4,
            per_source: total / 4,
            idle: self.handshake,
        }
    }

    pub(crate) fn target_connections(&self) -> usize {
        self.target_connections.unwrap_or_else(half_of_descriptors)
    }
}

fn half_of_descriptors() -> usize {
    Purpose::Proxy.share(usize::MAX) / 2
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            pressed_stall: Duration::from_secs(1),
            connection_buffer: 256 * 1024,
            client_buffer: 64 * 1024 * 1024,
            total_buffer: 256 * 1024 * 1024,
            connections: None,
            target_connections: None,
            streams: 128,
            handshakes: 4096,
            handshake: Duration::from_secs(10),
            park_after: Duration::from_millis(50),
        }
    }
}

/// Who runs functions.
#[derive(Clone)]
pub struct Functions(pub Arc<dyn Invoke>);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Functions(..)")
    }
}
