//! Questions that the host's resolvers answer.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Query as Question, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
use lath_net::{Kind, Network, Place, Throttle};
use tokio::time::{Instant, timeout, timeout_at};

use crate::query::Query;
use crate::reply::{failure, question, upstream_question};
use crate::tcp::{read_message, write_message};
use crate::upstreams::Upstreams;

/// For one attempt at one upstream: packets get lost, and clients give up after five seconds.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// For all attempts together.
const PATIENCE: Duration = Duration::from_millis(4500);

/// How often the whole list of upstreams is tried.
const ROUNDS: usize = 2;

/// The largest reply that is read by UDP: more than we offer, as some do not look.
const LONGEST: usize = 4096;

static LOOPS: Throttle = Throttle::new();

/// Asks the host's resolvers, from the host's network.
pub(crate) struct Forwarder {
    network: Arc<dyn Network>,
    upstreams: Upstreams,
    asked: Asked,
}

/// The questions that are out, with the numbers we gave them. One that comes in is our own: an upstream
/// leads back to us.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<HashSet<(u16, Question)>>>);

impl Forwarder {
    pub(crate) fn new(network: Arc<dyn Network>, upstreams: Upstreams) -> Self {
        Self {
            network,
            upstreams,
            asked: Asked::default(),
        }
    }

    /// The reply of the first upstream that has one, with any number in it; a failure when none has.
    pub(crate) async fn ask(&self, query: &Query) -> Vec<u8> {
        if self.asked.is_out(query) {
            if let Some(times) = LOOPS.due() {
                tracing::warn!(name = %query.name, times, "a resolver of the host leads back to us");
            }
            return failure(query, ResponseCode::ServFail);
        }
        let mut best = None;
        let _ = timeout(PATIENCE, self.ask_all(query, &mut best)).await;
        best.unwrap_or_else(|| failure(query, ResponseCode::ServFail))
    }

    /// Leaves in `best` the first good reply, or else the last bad one.
    async fn ask_all(&self, query: &Query, best: &mut Option<Vec<u8>>) {
        let upstreams = self.upstreams.now();
        for upstream in std::iter::repeat_n(&upstreams, ROUNDS).flatten() {
            match self.ask_one(query, *upstream).await {
                Ok(reply) => {
                    let good = is_good(&reply);
                    *best = Some(reply);
                    if good {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%upstream, %error, name = %query.name, "no reply");
                }
            }
        }
    }

    async fn ask_one(&self, query: &Query, upstream: SocketAddr) -> io::Result<Vec<u8>> {
        let out = self.asked.register(query);
        let bytes = upstream_question(query, out.id());
        let deadline = Instant::now() + ATTEMPT;
        let reply = timeout_at(deadline, self.by_udp(&bytes, &out, upstream)).await??;
        if !is_truncated(&reply) {
            return Ok(reply);
        }
        timeout(ATTEMPT, self.by_tcp(&bytes, &out, upstream)).await?
    }

    async fn by_udp(&self, bytes: &[u8], out: &Out, upstream: SocketAddr) -> io::Result<Vec<u8>> {
        let domain = socket2::Domain::for_address(upstream);
        let socket = self.network.socket(&Place::Host, domain, Kind::Udp).await?;
        let socket = tokio::net::UdpSocket::from_std(socket.into())?;
        // A fresh port for each question and a peer that the kernel checks: hard to answer for others.
        socket.connect(upstream).await?;
        socket.send(bytes).await?;
        let mut reply = vec![0; LONGEST];
        loop {
            let length = socket.recv(&mut reply).await?;
            if out.is_answered_by(&reply[..length]) {
                reply.truncate(length);
                return Ok(reply);
            }
        }
    }

    async fn by_tcp(&self, bytes: &[u8], out: &Out, upstream: SocketAddr) -> io::Result<Vec<u8>> {
        let mut stream =
            lath_net::connect(&self.network, &Place::Host, None, upstream, ATTEMPT).await?;
        write_message(&mut stream, bytes).await?;
        let reply = read_message(&mut stream, usize::from(u16::MAX)).await?;
        let ours = out.is_answered_by(&reply);
        ours.then_some(reply)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

impl Asked {
    fn set(&self) -> MutexGuard<'_, HashSet<(u16, Question)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_out(&self, query: &Query) -> bool {
        self.set().contains(&(query.id, question(query)))
    }

    fn register(&self, query: &Query) -> Out {
        let key = (rand::random(), question(query));
        self.set().insert(key.clone());
        let all = self.clone();
        Out { key, all }
    }
}

/// A question that is out, until this is dropped.
struct Out {
    key: (u16, Question),
    all: Asked,
}

impl Drop for Out {
    fn drop(&mut self) {
        self.all.set().remove(&self.key);
    }
}

impl Out {
    fn id(&self) -> u16 {
        self.key.0
    }

    fn is_answered_by(&self, reply: &[u8]) -> bool {
        answers(reply, self.key.0, &self.key.1)
    }
}

/// Whether these bytes answer the question: the same number and the same question. Some servers leave
/// the question out of a refusal.
pub(crate) fn answers(reply: &[u8], id: u16, question: &Question) -> bool {
    let Some((head, rest)) = reply.split_first_chunk::<12>() else {
        return false;
    };
    let ours = head[..2] == id.to_be_bytes() && head[2] & 0x80 != 0;
    let same = match [head[4], head[5]] {
        [0, 0] => !is_good(reply),
        [0, 1] => {
            let mut decoder = BinDecoder::new(rest);
            Question::read(&mut decoder).is_ok_and(|found| found == *question)
        }
        _ => false,
    };
    ours && same
}

/// TC: there is more by TCP.
fn is_truncated(reply: &[u8]) -> bool {
    reply.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Whether the upstream had an answer, be it "no such name": others would say the same.
fn is_good(reply: &[u8]) -> bool {
    let code = reply.get(3).map_or(0, |flags| flags & 0x0f);
    code == ResponseCode::NoError.low() || code == ResponseCode::NXDomain.low()
}
