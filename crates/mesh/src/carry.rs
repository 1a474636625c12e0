//! Carries a mesh: one connection per pair of cells, over the link between them.
//!
//! The cell with the lower index dials, the other one listens. Both send what is new and a heartbeat, and
//! both doubt the other after a silence; a connection that stays silent is given up for a fresh one, which
//! is told everything again. Values that a peer does not tell any more are kept until this process ends.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use lath_feed::{Carrier, RegionPlace, Topology, Values};
use lath_net::accept::{Acceptor, ConnectionLimits};
use lath_net::{Network, Place};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::frame::{Frame, can_be_told};
use crate::listen;
use crate::peers::Peers;

/// Between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// A peer counts as not connected after this long without a byte.
pub const SILENCE: Duration = Duration::from_millis(400);
/// A connection is given up after this long without a byte: a new one is sooner there than TCP's next
/// repetition.
pub const GIVE_UP: Duration = Duration::from_millis(1000);
/// How long dialling, and the other end's first word, may take.
const DIAL: Duration = Duration::from_millis(500);
/// Before dialling again.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries what `carrier` is told to all peers of the topology, and what they tell to it, until `stop`.
/// `port` is [`lath_feed::CONTROL_PORT`] or [`lath_feed::NODE_PORT`].
pub async fn carry(
    topology: Arc<Topology>,
    port: u16,
    network: Arc<dyn Network>,
    carrier: Carrier,
    stop: CancellationToken,
) {
    let peers = Peers::new(carrier.peers, &topology);
    let mut tasks = JoinSet::new();
    let mut doors = BTreeMap::new();
    for (name, place) in topology.peers() {
        let peer = Peer {
            own: topology.region.clone(),
            name: name.to_owned(),
            peers: peers.clone(),
            told: carrier.told.clone(),
        };
        if topology.here().is_some_and(|here| here.index < place.index) {
            let way = Way::new(&topology, place, port, &network);
            tasks.spawn(peer.dial(way));
        } else {
            // The newest connection counts; one more may wait.
            let (door, streams) = mpsc::channel(1);
            doors.insert(name.to_owned(), door);
            tasks.spawn(peer.answer(streams));
        }
    }
    if !doors.is_empty() {
        tasks.spawn(open(Arc::clone(&topology), port, network, doors));
    }
    stop.cancelled().await;
}

/// Those that were not looked at yet.
const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    total: 16,
    per_place: 16,
    per_source: 16,
    idle: DIAL,
};

/// Hands connections to those who wait for them.
async fn open(
    topology: Arc<Topology>,
    port: u16,
    network: Arc<dyn Network>,
    doors: BTreeMap<String, mpsc::Sender<TcpStream>>,
) {
    let listener = listen::listener(&topology, port, &network).await;
    let acceptor = Acceptor::new("cells", CONNECTIONS);
    loop {
        // The slot is given back at once: of one cell, only the newest connection is kept.
        let (stream, name, _) = listen::accept(&listener, &topology, &acceptor).await;
        if let Some(door) = doors.get(&name) {
            // A full one means that its newest connection is not looked at yet: this one is dialled again.
            drop(door.try_send(stream));
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
    fn new(topology: &Topology, to: &RegionPlace, port: u16, network: &Arc<dyn Network>) -> Self {
        let from = topology.here().map_or(to.link, |here| here.link);
        Self {
            from: from.into(),
            to: SocketAddr::from((to.link, port)),
            network: Arc::clone(network),
        }
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let place = Place::Underlay;
        lath_net::connect(&self.network, &place, Some(self.from), self.to, DIAL).await
    }
}

/// One other cell.
struct Peer {
    own: String,
    name: String,
    peers: Peers,
    told: watch::Receiver<Values>,
}

impl Peer {
    async fn dial(self, way: Way) {
        loop {
            if let Ok(stream) = way.dial().await {
                self.converse(stream).await;
            }
            sleep(PAUSE).await;
        }
    }

    async fn answer(self, mut streams: mpsc::Receiver<TcpStream>) {
        let mut next = streams.recv().await;
        while let Some(stream) = next.take() {
            next = tokio::select! {
                // Whoever dials anew has given the old connection up.
                newer = streams.recv() => newer,
                () = self.converse(stream) => None,
            };
            if next.is_none() {
                next = streams.recv().await;
            }
        }
    }

    /// Speaks until the other end is silent or gone.
    async fn converse(&self, stream: TcpStream) {
        // It only delays heartbeats.
        let _slower = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let ended = tokio::select! {
            ended = self.listen(read) => ended,
            ended = self.speak(write) => ended,
        };
        self.peers.connected(&self.name, false);
        if let Err(error) = ended {
            tracing::debug!(peer = self.name, %error, "a mesh connection ended");
        }
    }

    async fn listen(&self, mut read: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(64 * 1024);
        let (mut greeted, mut heard) = (false, Instant::now());
        loop {
            while let Some(frame) = Frame::take(&mut buffer).map_err(invalid)? {
                greeted = self.hear(frame, greeted)?;
            }
            buffer.reserve(64 * 1024);
            let patience = if heard.elapsed() < SILENCE {
                SILENCE
            } else {
                GIVE_UP
            };
            match timeout(
                patience.saturating_sub(heard.elapsed()),
                read.read_buf(&mut buffer),
            )
            .await
            {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    read?;
                    heard = Instant::now();
                    if greeted {
                        self.peers.connected(&self.name, true);
                    }
                }
                Err(_) if heard.elapsed() >= GIVE_UP => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => self.peers.connected(&self.name, false),
            }
        }
    }

    /// Whether the greeting was said.
    fn hear(&self, frame: Frame, greeted: bool) -> io::Result<bool> {
        match frame {
            Frame::Hello(name) if name == self.name => {
                self.peers.connected(&self.name, true);
                return Ok(true);
            }
            Frame::Value(topic, value) if greeted => self.peers.told(&self.name, topic, value),
            Frame::Beat if greeted => {}
            _ => return Err(invalid("another cell, or none, speaks")),
        }
        Ok(greeted)
    }

    async fn speak(&self, mut write: impl AsyncWrite + Unpin) -> io::Result<()> {
        let (mut told, mut sent) = (self.told.clone(), Values::new());
        told.mark_changed();
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        write
            .write_all(&Frame::Hello(self.own.clone()).head())
            .await?;
        loop {
            tokio::select! {
                biased;
                _ = beat.tick() => write.write_all(&Frame::Beat.head()).await?,
                changed = told.changed() => match changed {
                    Ok(()) => {
                        let values = told.borrow_and_update().clone();
                        tell(&mut write, values, &mut sent).await?;
                    }
                    // Nobody tells any more; the peer may still.
                    Err(_) => {
                        beat.tick().await;
                        write.write_all(&Frame::Beat.head()).await?;
                    }
                },
            }
        }
    }
}

/// Sends what differs from what was sent.
async fn tell(
    write: &mut (impl AsyncWrite + Unpin),
    values: Values,
    sent: &mut Values,
) -> io::Result<()> {
    for (topic, value) in values {
        if sent.get(&topic) == Some(&value) {
            continue;
        }
        if !can_be_told(&topic, &value) {
            tracing::error!(
                topic,
                size = value.len(),
                "too large to be told to other cells"
            );
            continue;
        }
        let frame = Frame::Value(topic.clone(), value.clone());
        write.write_all(&frame.head()).await?;
        write.write_all(&value).await?;
        sent.insert(topic, value);
    }
    Ok(())
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
