//! The instance metadata service: 169.254.169.254 in every VPC.
//!
//! Follows the snapshot: a listener for each VPC, made as soon as the VPC's network is there. Who asks
//! is known by the source address, which the fabric does not let an instance choose. Version 2 (session
//! tokens, whose answers take no more hops than the instance allows) and, where an instance does not demand
//! tokens, version 1:
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html>.

mod answer;
mod credentials;
mod identity;
mod token;
mod tree;
mod workload;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lath_clock::Clock;
use lath_feed::SnapshotReceiver;
use lath_model::Timestamp;
use lath_model::id::VpcId;
use lath_net::accept::{Acceptor, ConnectionLimits, Slot, Source, Watched};
use lath_net::descriptors::Purpose;
use lath_net::{Network, Place};
use lath_svid::Issuer;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::listeners::{Bound, Listeners};
use answer::{Asked, answer, find, hop_limit};
use token::Tokens;

/// Where the service is in every VPC.
pub const METADATA_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);

/// How many hops answers other than tokens may take: Linux\'s usual number.
const ANY_HOPS: u32 = 64;
/// Of all VPCs, at once.
const CONNECTIONS: usize = 8192;
/// Of one instance, at once.
const PER_INSTANCE: usize = 128;
/// A client has this long to send a request's head, and to take what is answered.
const IDLE: Duration = Duration::from_secs(10);
/// A whole request head, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// The service of all VPCs of a node.
pub struct MetadataService {
    listeners: Listeners,
    snapshots: SnapshotReceiver,
    tokens: Arc<Tokens>,
    issuer: Arc<Issuer>,
    clock: Clock,
    acceptor: Acceptor,
}

impl std::fmt::Debug for MetadataService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetadataService")
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

impl MetadataService {
    /// A service that obeys `snapshots`, and goes by the machine's clock (see [`Self::with_clock`]).
    pub fn new(network: Arc<dyn Network>, snapshots: SnapshotReceiver) -> Self {
        Self {
            listeners: Listeners::new(network, snapshots.clone(), METADATA_ADDRESS),
            snapshots,
            tokens: Arc::new(Tokens::new()),
            issuer: Arc::default(),
            clock: Clock::system(),
            acceptor: acceptor(),
        }
    }

    /// Certifies instances with what others certify with too.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Arc<Issuer>) -> Self {
        self.issuer = issuer;
        self
    }

    /// Judges by another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Listens elsewhere than on AWS.
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.listeners = self.listeners.with_address(address);
        self
    }

    /// Where it answers.
    pub fn bound(&self) -> watch::Receiver<Bound> {
        self.listeners.bound()
    }

    /// Serves until `stop`, or until the publisher of snapshots is gone.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            listeners,
            snapshots,
            tokens,
            issuer,
            clock,
            acceptor,
        } = self;
        let begin = |vpc, listener, stop: CancellationToken| {
            let door = Door {
                vpc,
                listener,
                snapshots: snapshots.clone(),
                tokens: Arc::clone(&tokens),
                issuer: Arc::clone(&issuer),
                clock: clock.clone(),
                acceptor: acceptor.clone(),
            };
            tokio::spawn(async move { stop.run_until_cancelled(door.serve(&stop)).await });
        };
        listeners.run(stop, begin).await;
    }
}

/// The listener in one VPC.
struct Door {
    vpc: VpcId,
    listener: TcpListener,
    snapshots: SnapshotReceiver,
    tokens: Arc<Tokens>,
    issuer: Arc<Issuer>,
    clock: Clock,
    acceptor: Acceptor,
}

impl Door {
    async fn serve(&self, stop: &CancellationToken) {
        let place = Place::Vpc(self.vpc.clone());
        loop {
            let source = |address| self.source(address);
            let accepted = self.acceptor.accept_from(&self.listener, &place, source);
            let (stream, peer, slot) = accepted.await;
            let conversation = self.converse(stream, peer.ip(), slot);
            let stop = stop.child_token();
            tokio::spawn(async move {
                stop.run_until_cancelled(conversation).await;
            });
        }
    }

    /// An instance has one share, however many addresses it has.
    fn source(&self, address: IpAddr) -> Source {
        let snapshot = self.snapshots.borrow();
        let instance = find(&snapshot, &self.vpc, address).map(|(_, it)| it.id.clone());
        instance.map_or_else(|| Source::of(address), |id| Source::Workload(id.into()))
    }

    fn converse(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        slot: Slot,
    ) -> impl Future<Output = ()> + use<> {
        let (vpc, snapshots) = (self.vpc.clone(), self.snapshots.clone());
        let socket = stream.as_fd().try_clone_to_owned().map(Socket::from);
        let (tokens, issuer) = (Arc::clone(&self.tokens), Arc::clone(&self.issuer));
        let clock = self.clock.clone();
        let stream = TokioIo::new(Watched::new(stream, &slot));
        let fewest = AtomicU32::new(ANY_HOPS);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let asked = Asked {
                vpc: &vpc,
                peer,
                now: clock.now(),
                method: request.method(),
                path: request.uri().path(),
                headers: request.headers(),
            };
            let snapshot = Arc::clone(&snapshots.borrow());
            let hops = hop_limit(&snapshot, &asked).map_or(ANY_HOPS, u32::from);
            // What was sent before may be sent again: a later answer must not take it further.
            let hops = fewest.fetch_min(hops, Relaxed).min(hops);
            let limited = socket
                .as_ref()
                .map_err(|error| io::Error::from(error.kind()))
                .and_then(|it| it.set_ttl_v4(hops));
            let response = answer(&snapshot, (&tokens, &issuer), &asked)
                .map(|body| Full::new(Bytes::from(body)));
            // Without the limit the connection ends, and nothing is said that may go too far.
            std::future::ready(limited.map(|()| response))
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(stream, service);
        async move {
            // Whatever ended it early is the client's affair.
            tokio::select! {
                _ = connection => {}
                () = slot.ended() => {}
            }
        }
    }
}

/// Half of all for one VPC; answers are there at once, so that few connections serve an instance.
fn acceptor() -> Acceptor {
    let total = Purpose::Metadata.share(CONNECTIONS);
    let per_place = total.div_ceil(2);
    let limits = ConnectionLimits {
        total,
        per_place,
        per_source: per_place.min(PER_INSTANCE),
        idle: IDLE,
    };
    Acceptor::new("metadata", limits)
}

/// For [`crate::fuzzing`].
pub(crate) fn answer_once(
    snapshot: &lath_feed::Snapshot,
    vpc: &VpcId,
    peer: IpAddr,
    (method, path, headers): (&hyper::http::Method, &str, &hyper::http::HeaderMap),
) -> hyper::http::Response<Vec<u8>> {
    let asked = Asked {
        vpc,
        peer,
        now: Timestamp::from_millis(0),
        method,
        path,
        headers,
    };
    answer(snapshot, (&Tokens::new(), &Issuer::default()), &asked)
}
