//! One VPC's resolver: its sockets, and what is said through them.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use lath_feed::SnapshotReceiver;
use lath_model::id::VpcId;
use lath_net::accept::Source;
use lath_net::{Network, Place};
use lath_zones::Random;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::forward::Forwarder;
use crate::query::{MAX_QUERY, Query};
use crate::resolve::{Resolution, resolve};
use crate::shares::{self, Shares};
use crate::zone_state::ZoneState;
use crate::{decode_query, reply, tcp};

/// How many questions that came to one socket are worked on at once. The shares of VPCs and instances
/// are smaller; this is for those that are being refused.
const IN_FLIGHT: usize = 4096;

/// A pause after a failed read, so that it does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// The sockets of one VPC's resolver, served until this is stopped or dropped.
pub(crate) struct Listening {
    pub(crate) addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Listening {
    /// Binds every address, by UDP and TCP, and serves them.
    ///
    /// # Errors
    /// Which address could not be bound, and why; then none is.
    pub(crate) async fn start(
        network: &Arc<dyn Network>,
        addresses: Vec<SocketAddr>,
        resolver: Arc<Resolver>,
    ) -> Result<Self, String> {
        let place = Place::Vpc(resolver.vpc.clone());
        let mut tasks = JoinSet::new();
        for at in &addresses {
            let udp = lath_net::bind_udp(network, &place, *at).await;
            let udp = udp.map_err(|error| format!("{at} (UDP): {error}"))?;
            let tcp = lath_net::listen(network, &place, *at).await;
            let tcp = tcp
                .and_then(tokio::net::TcpListener::from_std)
                .map_err(|error| format!("{at} (TCP): {error}"))?;
            tasks.spawn(serve_udp(Arc::new(udp), Arc::clone(&resolver)));
            tasks.spawn(tcp::serve(tcp, Arc::clone(&resolver)));
        }
        Ok(Self { addresses, tasks })
    }

    /// Whether it is still there: no task ended, and the VPC's network is the one that the sockets were
    /// made in. Where it was made anew, the address is free to be bound; an address that is in use there
    /// is in use by us.
    pub(crate) async fn is_in_place(&mut self, network: &Arc<dyn Network>, vpc: &VpcId) -> bool {
        if self.tasks.try_join_next().is_some() {
            return false;
        }
        let Some(at) = self.addresses.first() else {
            return true;
        };
        let taken = lath_net::bind_udp(network, &Place::Vpc(vpc.clone()), *at).await;
        // Any other failure (too many open files, say) tells nothing about the sockets we have.
        let gone = [ErrorKind::NotFound, ErrorKind::AddrNotAvailable];
        taken.is_err_and(|error| !gone.contains(&error.kind()))
    }

    /// Closes the sockets. They hold the VPC's network in existence: it cannot go before this is done.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Answers the questions of one VPC.
pub(crate) struct Resolver {
    pub(crate) vpc: VpcId,
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) zone_state: ZoneState,
    pub(crate) shares: Arc<Shares>,
}

/// What to do with bytes that came in.
enum Next {
    Reply(Vec<u8>),
    Silence,
    Ask(Box<(Query, Resolution)>),
}

impl Resolver {
    /// The reply to bytes that came in, of at most `limit` bytes; `None` when none is due.
    pub(crate) async fn reply(&self, bytes: &[u8], from: IpAddr, limit: usize) -> Option<Vec<u8>> {
        match self.next(bytes, |_| limit) {
            Next::Reply(reply) => Some(reply),
            Next::Silence => None,
            Next::Ask(asked) => Some(self.ask(&asked.0, asked.1, from, limit).await),
        }
    }

    fn next(&self, bytes: &[u8], limit: impl Fn(&Query) -> usize) -> Next {
        let query = match decode_query(bytes) {
            Ok(query) => query,
            Err(reason) => return reply::refusal(&reason).map_or(Next::Silence, Next::Reply),
        };
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let (zones, health) = (self.zone_state.zones(), self.zone_state.health());
        let mut random = Random::new(rand::random());
        let found = resolve(&snapshot, &zones, &health, &self.vpc, &query, &mut random);
        match found.ask {
            None => Next::Reply(reply::resolved(&query, found, limit(&query))),
            Some(_) => Next::Ask(Box::new((query, found))),
        }
    }

    /// Who asks: an instance has one share, however many addresses it has.
    pub(crate) fn source(&self, address: IpAddr) -> Source {
        shares::source(&self.snapshots.borrow(), &self.vpc, address)
    }

    /// Asks the host's resolvers for what is missing, if the VPC and the instance have room for it.
    async fn ask(&self, query: &Query, found: Resolution, from: IpAddr, limit: usize) -> Vec<u8> {
        let (place, source) = (Place::Vpc(self.vpc.clone()), self.source(from));
        let Some(slot) = self.shares.questions.admit(&place, source).await else {
            return reply::failure(query, ResponseCode::ServFail);
        };
        let _waiting = slot.busy();
        tokio::select! {
            reply = self.forward(query, found, limit) => reply,
            () = slot.ended() => reply::failure(query, ResponseCode::ServFail),
        }
    }

    async fn forward(&self, query: &Query, found: Resolution, limit: usize) -> Vec<u8> {
        match &found.ask {
            Some(name) if !found.answers.is_empty() || *name != query.name => {
                let further = Query {
                    name: name.clone(),
                    ..query.clone()
                };
                let rest = self.forwarder.ask(&further).await;
                reply::joined(query, found, &rest, limit)
            }
            _ => {
                let reply = self.forwarder.ask(query).await;
                reply::forwarded(query, reply, limit)
            }
        }
    }
}

/// Answers datagrams for ever. What the snapshot knows is answered in turn; what upstreams know is
/// answered when they did, and delays no other answer.
async fn serve_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let mut buffer = vec![0; MAX_QUERY + 1];
    let mut asking = JoinSet::new();
    loop {
        let (length, client) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "a datagram was not read");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            Some(_) = asking.join_next() => continue,
        };
        match resolver.next(&buffer[..length], Query::udp_limit) {
            Next::Silence => {}
            Next::Reply(reply) => send(&socket, client, &reply).await,
            Next::Ask(asked) if asking.len() >= IN_FLIGHT => {
                let busy = reply::failure(&asked.0, ResponseCode::ServFail);
                send(&socket, client, &busy).await;
            }
            Next::Ask(asked) => {
                let (socket, resolver) = (Arc::clone(&socket), Arc::clone(&resolver));
                asking.spawn(async move {
                    let (query, found) = *asked;
                    let reply = resolver
                        .ask(&query, found, client.ip(), query.udp_limit())
                        .await;
                    send(&socket, client, &reply).await;
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, client: SocketAddr, reply: &[u8]) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(client.addr = %client, %error, "a reply was not sent");
    }
}
