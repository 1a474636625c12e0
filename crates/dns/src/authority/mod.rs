//! The authoritative server: answers for public hosted zones to any client, by UDP and TCP.

pub(crate) mod question;
mod rate;
mod respond;
mod tcp;
mod udp;
mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lath_net::{Network, Place};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use rate::RateLimit;
pub(crate) use rate::truncate;
pub(crate) use respond::{Responder, respond};

use crate::zone_state::ZoneState;

/// Where the server listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorityConfig {
    /// By UDP and TCP, each of them.
    pub listen: Vec<(Place, SocketAddr)>,
    /// How many threads answer datagrams at each address; 0 is one per core, four at most.
    pub threads: usize,
    /// How much is answered by UDP to a client network; anything where there is none. Loopback is never
    /// limited.
    pub rate_limit: Option<RateLimit>,
}

/// Where the server listens, with the reason where it does not (yet).
pub type Served = BTreeMap<(Place, SocketAddr), Result<(), String>>;

/// The server at one address, until this is dropped.
struct Server {
    _udp: udp::Threads,
    _tcp: tokio::task::JoinSet<()>,
}

impl Server {
    async fn start(
        network: &Arc<dyn Network>,
        place: &Place,
        at: SocketAddr,
        config: &AuthorityConfig,
        zone_state: &ZoneState,
    ) -> Result<Self, String> {
        let tcp = lath_net::listen(network, place, at).await;
        let tcp = tcp
            .and_then(tokio::net::TcpListener::from_std)
            .map_err(|error| format!("{at} (TCP): {error}"))?;
        let udp = udp::Threads::start(network, place, at, config, zone_state)
            .await
            .map_err(|error| format!("{at} (UDP): {error}"))?;
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(tcp::serve(tcp, place.clone(), zone_state.clone()));
        Ok(Self {
            _udp: udp,
            _tcp: tasks,
        })
    }
}

/// Listens until `stop`; what cannot be bound is tried again and again.
pub(crate) async fn run(
    network: Arc<dyn Network>,
    config: AuthorityConfig,
    zone_state: ZoneState,
    served_tx: watch::Sender<Served>,
    stop: CancellationToken,
) {
    let mut running: BTreeMap<(Place, SocketAddr), Server> = BTreeMap::new();
    loop {
        let mut served = Served::new();
        for key in &config.listen {
            let result = match running.contains_key(key) {
                true => Ok(()),
                false => Server::start(&network, &key.0, key.1, &config, &zone_state)
                    .await
                    .map(|server| drop(running.insert(key.clone(), server))),
            };
            served.insert(key.clone(), result);
        }
        let complete = served.values().all(Result::is_ok);
        served_tx.send_if_modified(|old| {
            let differs = *old != served;
            if differs {
                report(&served);
                *old = served;
            }
            differs
        });
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(crate::dns::RETRY), if !complete => {}
        }
    }
    served_tx.send_replace(Served::new());
}

fn report(served: &Served) {
    for ((place, at), result) in served {
        match result {
            Ok(()) => {
                tracing::info!(?place, listener.addr = %at, "the authoritative server listens")
            }
            Err(reason) => {
                tracing::warn!(?place, listener.addr = %at, %reason, "the authoritative server does not listen");
            }
        }
    }
}
