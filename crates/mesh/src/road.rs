//! One connection for each pair of cells, over the link between them. The cell with the lower address inside
//! it dials, the other one listens.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_feed::{RegionPlace, Topology};
use lath_net::accept::{Acceptor, ConnectionLimits};
use lath_net::descriptors::Purpose;
use lath_net::{Network, Place};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::listen;

/// How long dialling may take.
const DIAL: Duration = Duration::from_millis(500);
/// Before dialling again.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, after conversations that ended at once: the peer hangs up on this cell, as one of another version does.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What lasts for less has ended at once. Silence alone takes longer ([`crate::carry::GIVE_UP`]).
const AT_ONCE: Duration = Duration::from_millis(500);

/// Most connections of a road that were not looked at yet.
const CONNECTIONS: usize = 16;

/// There are two roads, each with half.
fn acceptor() -> Acceptor {
    let total = Purpose::Links.share(2 * CONNECTIONS) / 2;
    let limits = ConnectionLimits {
        total,
        per_place: total,
        per_source: total,
        idle: DIAL,
    };
    Acceptor::new("cells", limits)
}

/// What is said over a road.
pub(crate) trait Talk: Clone + Send + Sync + 'static {
    /// Speaks with a peer until the other end is silent or gone.
    fn converse(&self, peer: &str, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// Where a road leads along.
#[derive(Clone)]
pub(crate) struct Road {
    pub(crate) topology: Arc<Topology>,
    /// The same at both ends.
    pub(crate) port: u16,
    pub(crate) network: Arc<dyn Network>,
}

impl Road {
    /// Keeps a connection with every peer, until it is dropped.
    pub(crate) async fn keep(self, talk: impl Talk) {
        let mut tasks = JoinSet::new();
        let mut doors = BTreeMap::new();
        let topology = Arc::clone(&self.topology);
        for (name, place) in topology.peers() {
            let (talk, name) = (talk.clone(), name.to_owned());
            if topology.here().is_some_and(|here| here.link < place.link) {
                tasks.spawn(dial(talk, name, self.way(place)));
            } else {
                // The newest connection counts; one more may wait.
                let (door, streams) = mpsc::channel(1);
                doors.insert(name.clone(), door);
                tasks.spawn(answer(talk, name, streams));
            }
        }
        if !doors.is_empty() {
            tasks.spawn(self.open(doors));
        }
        std::future::pending().await
    }

    fn way(&self, to: &RegionPlace) -> Way {
        let from = self.topology.here().map_or(to.link, |here| here.link);
        Way {
            from: from.into(),
            to: SocketAddr::from((to.link, self.port)),
            network: Arc::clone(&self.network),
        }
    }

    /// Hands connections to those who wait for them.
    async fn open(self, doors: BTreeMap<String, mpsc::Sender<TcpStream>>) {
        let listener = listen::listener(&self.topology, self.port, &self.network).await;
        let acceptor = acceptor();
        loop {
            // The slot is given back at once: of one cell, only the newest connection is kept.
            let (stream, name, _) = listen::accept(&listener, &self.topology, &acceptor).await;
            if let Some(door) = doors.get(&name) {
                // A full one means that its newest connection is not looked at yet: this one is dialled again.
                drop(door.try_send(stream));
            }
        }
    }
}

/// How a peer is dialled.
struct Way {
    from: IpAddr,
    to: SocketAddr,
    network: Arc<dyn Network>,
}

impl Way {
    async fn dial(&self) -> io::Result<TcpStream> {
        let place = Place::Underlay;
        lath_net::connect(&self.network, &place, Some(self.from), self.to, DIAL).await
    }
}

async fn dial(talk: impl Talk, peer: String, way: Way) {
    let mut pause = PAUSE;
    loop {
        let began = match way.dial().await {
            Ok(stream) => {
                let began = Instant::now();
                talk.converse(&peer, stream).await;
                Some(began)
            }
            // The socket has no listener: try again soon.
            Err(_) => None,
        };
        let at_once = began.is_some_and(|began| began.elapsed() < AT_ONCE);
        pause = match at_once {
            true => (pause * 2).min(LONGEST_PAUSE),
            false => PAUSE,
        };
        sleep(pause).await;
    }
}

async fn answer(talk: impl Talk, peer: String, mut streams: mpsc::Receiver<TcpStream>) {
    let mut next = streams.recv().await;
    while let Some(stream) = next.take() {
        next = tokio::select! {
            // A peer that dials anew has given the old connection up.
            newer = streams.recv() => newer,
            () = talk.converse(&peer, stream) => None,
        };
        if next.is_none() {
            next = streams.recv().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering};

    use lath_net::{Kind, new_socket};
    use socket2::{Domain, Socket};
    use tokio::net::TcpListener;

    struct Host;

    #[async_trait::async_trait]
    impl Network for Host {
        async fn socket(&self, _: &Place, domain: Domain, kind: Kind) -> io::Result<Socket> {
            new_socket(domain, kind)
        }
    }

    /// Says nothing, and counts how often it could.
    #[derive(Clone)]
    struct HangsUp(Arc<AtomicUsize>);

    impl Talk for HangsUp {
        async fn converse(&self, _: &str, _: TcpStream) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_at_once_is_dialled_less_and_less_often() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Way {
            from: [127, 0, 0, 1].into(),
            to: listener.local_addr().unwrap(),
            network: Arc::new(Host),
        };
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let count = Arc::new(AtomicUsize::new(0));
        let dialling = tokio::spawn(dial(HangsUp(Arc::clone(&count)), "west".into(), way));
        sleep(Duration::from_secs(3)).await;
        dialling.abort();
        let times = count.load(Ordering::Relaxed);
        assert!((2..=6).contains(&times), "{times} times");
    }
}
