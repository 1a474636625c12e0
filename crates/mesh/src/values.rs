//! Values, on a road of their own: what is new is sent section by section, the small ones first and before the rest of a
//! large one, and counts at the other end once a section is complete. Over a fresh connection everything is sent again, and then
//! that this was all: a section that is not among it is dropped.
//!
//! A section is sent and applied wholly or not at all. One that the other end would not take is withheld.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use imbl::ordmap::DiffItem;
use lath_feed::{LONGEST_VALUE, Values, section_of};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::beats::invalid;
use crate::frame::{Frame, LONGEST_PART, LONGEST_TOPIC};
use crate::peers::{Change, Peers, TOPICS};
use crate::road::Talk;

/// How often an end that has nothing to say says so: a connection whose other end is gone without a word is found.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// A connection is given up after this long without a byte, were there heartbeats or not.
const STALE: Duration = Duration::from_secs(10);
/// The most bytes of a section that is not complete.
const MOST_STAGED: usize = 1 << 30;
/// The most topics of sections that are not complete, and the most sections.
const MOST_TOPICS: usize = 2 * TOPICS;
const BUFFER: usize = 64 * 1024;

/// What one cell tells.
#[derive(Clone)]
pub(crate) struct Publisher {
    pub(crate) own: String,
    pub(crate) peers: Peers,
    pub(crate) values_rx: watch::Receiver<Values>,
}

impl Talk for Publisher {
    async fn converse(&self, peer: &str, stream: TcpStream) {
        self.peers.begins(peer);
        keep_little_waiting(&stream);
        let (read, write) = stream.into_split();
        let ended = tokio::select! {
            ended = self.listen(peer, read) => ended,
            ended = self.speak(write) => ended,
            // A new connection is sooner there than TCP's next repetition.
            () = self.peers.lost(peer) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = ended {
            tracing::debug!(peer, %error, "a mesh connection ended");
        }
    }
}

/// What the kernel has taken cannot be overtaken: without this it takes megabytes of a large section, and a small one waits for
/// them on a slow link.
fn keep_little_waiting(stream: &TcpStream) {
    let most = u32::try_from(LONGEST_PART).unwrap_or(u32::MAX);
    // Without it small ones only come later.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(most);
}

impl Publisher {
    async fn listen(&self, peer: &str, mut read: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        let (mut greeted, mut incoming) = (false, Incoming::default());
        loop {
            while let Some(frame) = Frame::take(&mut buffer).map_err(invalid)? {
                match frame {
                    Frame::Hello(name) if name == peer => greeted = true,
                    Frame::AllTold if greeted => {
                        self.peers.retain_sections(peer, incoming.all()?);
                    }
                    frame if greeted => {
                        if let Some(change) = incoming.hear(frame)? {
                            self.peers.apply(peer, change);
                        }
                    }
                    _ => return Err(invalid("another cell, or none, speaks")),
                }
            }
            buffer.reserve(BUFFER);
            if timeout(STALE, read.read_buf(&mut buffer)).await?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn speak(&self, mut write: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut values_rx = self.values_rx.clone();
        let (mut outgoing, mut sent_all) = (Outgoing::default(), false);
        let mut alive = interval(KEEPALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hello = Frame::Hello(self.own.clone()).head();
        write.write_all(&hello).await?;
        let mut changed = true;
        loop {
            // What changed meanwhile does not wait for what is on its way.
            changed |= values_rx.has_changed().unwrap_or(false);
            if std::mem::take(&mut changed) || outgoing.waits {
                let values = values_rx.borrow_and_update().clone();
                outgoing.take(&values);
            }
            if outgoing.send_next(&mut write).await? {
                continue;
            }
            if !std::mem::replace(&mut sent_all, true) {
                write.write_all(&Frame::AllTold.head()).await?;
            }
            tokio::select! {
                // When the sender of values is gone, the peer may still send.
                Ok(()) = values_rx.changed() => changed = true,
                _ = alive.tick() => write.write_all(&Frame::Beat.head()).await?,
            }
        }
    }
}

/// What a peer tells, until a section of it is complete. Frames of several sections may alternate.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    staged: BTreeMap<String, Staged>,
    /// Bytes and topics of all of them.
    size: usize,
    topics: usize,
    /// Sections that were complete once over this connection.
    complete: BTreeSet<String>,
}

/// What arrived of a section since its last commit.
#[derive(Debug, Default)]
struct Staged {
    topics: BTreeMap<String, Option<Bytes>>,
    size: usize,
    /// A value that is not whole.
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    topic: String,
    /// How long the value will be.
    total: usize,
    bytes: BytesMut,
}

impl Incoming {
    /// Takes a frame; what a section became, when it completes one.
    pub(crate) fn hear(&mut self, frame: Frame) -> io::Result<Option<Change>> {
        match frame {
            Frame::Beat => {}
            Frame::Part {
                topic,
                total,
                bytes,
            } => self.part(topic, usize::try_from(total).unwrap_or(usize::MAX), &bytes)?,
            Frame::AllTold => {
                self.all()?;
            }
            Frame::Gone(topic) => self.gone(topic)?,
            Frame::Commit(section) => return self.commit(section).map(Some),
            Frame::Hello(_) => return Err(invalid("a frame where none of its kind may be")),
        }
        Ok(None)
    }

    /// The sections that were complete once over this connection, where the peer says that these are all.
    pub(crate) fn all(&self) -> io::Result<&BTreeSet<String>> {
        if !self.staged.is_empty() {
            return Err(invalid("a section that is not complete at the end of all"));
        }
        Ok(&self.complete)
    }

    fn part(&mut self, topic: String, total: usize, bytes: &[u8]) -> io::Result<()> {
        if total > LONGEST_VALUE {
            return Err(invalid("a value that is too long"));
        }
        let begins = match self.staged.get(section_of(&topic)) {
            Some(staged) => staged.partial.is_none(),
            None => true,
        };
        // The topic of a value counts once, its bytes as they arrive and not as they are announced.
        let counted = if begins { topic.len() } else { 0 };
        let staged = self.room(&topic, counted + bytes.len())?;
        let mut partial = staged.partial.take().unwrap_or_else(|| Partial {
            topic: topic.clone(),
            total,
            bytes: BytesMut::new(),
        });
        if partial.topic != topic
            || partial.total != total
            || partial.bytes.len() + bytes.len() > total
        {
            return Err(invalid("parts of different values"));
        }
        partial.bytes.extend_from_slice(bytes);
        if partial.bytes.len() < total {
            staged.partial = Some(partial);
        } else {
            let whole = Some(partial.bytes.freeze());
            if staged.topics.insert(topic, whole).is_none() {
                self.topics += 1;
            }
        }
        Ok(())
    }

    fn gone(&mut self, topic: String) -> io::Result<()> {
        let staged = self.room(&topic, topic.len())?;
        if staged.partial.is_some() {
            return Err(invalid("a topic ends within a value"));
        }
        if staged.topics.insert(topic, None).is_none() {
            self.topics += 1;
        }
        Ok(())
    }

    /// The section of a topic, where so many more bytes are taken.
    fn room(&mut self, topic: &str, bytes: usize) -> io::Result<&mut Staged> {
        self.size += bytes;
        if self.size > MOST_STAGED || self.topics >= MOST_TOPICS || self.staged.len() >= MOST_TOPICS
        {
            return Err(invalid("a section that is too large"));
        }
        let staged = self.staged.entry(section_of(topic).to_owned()).or_default();
        staged.size += bytes;
        Ok(staged)
    }

    fn commit(&mut self, section: String) -> io::Result<Change> {
        if self.complete.len() >= MOST_TOPICS {
            return Err(invalid("too many sections"));
        }
        let staged = self.staged.remove(&section).unwrap_or_default();
        if staged.partial.is_some() {
            return Err(invalid("a section is complete within a value"));
        }
        self.size -= staged.size;
        self.topics -= staged.topics.len();
        Ok(Change {
            // What vanished while there was no connection is not told.
            whole: self.complete.insert(section.clone()),
            section,
            topics: staged.topics,
        })
    }
}

/// Topics of a section that differ; `None` is one that is no more.
type Changes = Vec<(String, Option<Bytes>)>;

/// What is sent to a peer over one connection: part by part, and always of the section that is soonest complete, so that a
/// small one does not wait for a large one. One overtakes another only while it is smaller than what is left of that: all that
/// the other end keeps of sections that are not complete is no more than the largest one.
#[derive(Debug, Default)]
struct Outgoing {
    /// What was told, what is on its way included.
    sent: Values,
    /// What is on its way, by the bytes that are left of it and the section.
    queue: BTreeMap<(usize, String), VecDeque<Piece>>,
    /// The sections on their way.
    queued: BTreeSet<String>,
    /// Whether a section is complete that changed while it was on its way.
    waits: bool,
    /// Sections that changed while they were on their way.
    late: BTreeSet<String>,
    /// Sections that the other end would not take; each is logged once.
    withheld: BTreeSet<String>,
}

/// What is left to be told of a topic.
#[derive(Debug)]
enum Piece {
    Value {
        topic: String,
        total: u32,
        rest: Bytes,
    },
    Gone(String),
}

impl Outgoing {
    /// Puts what differs from what was sent on its way. A section that is there already comes to it when it is complete:
    /// what counts together must arrive together.
    fn take(&mut self, now: &Values) {
        self.waits = false;
        let mut all = true;
        for (section, topics) in self.sections(now) {
            if self.queued.contains(&section) {
                all = false;
                self.late.insert(section);
                continue;
            }
            if !self.has_room_for(&section, &topics) {
                all = false;
                continue;
            }
            let size = size_of(&topics);
            let mut pieces = VecDeque::new();
            for (topic, value) in topics {
                match value {
                    Some(value) => {
                        self.sent.insert(topic.clone(), value.clone());
                        let total = u32::try_from(value.len()).unwrap_or(u32::MAX);
                        let rest = value;
                        pieces.push_back(Piece::Value { topic, total, rest });
                    }
                    None => {
                        self.sent.remove(&topic);
                        pieces.push_back(Piece::Gone(topic));
                    }
                }
            }
            self.queued.insert(section.clone());
            self.queue.insert((size, section), pieces);
        }
        if all {
            // What is the same by pointer is not looked at when the next change is looked for.
            self.sent = now.clone();
        }
    }

    /// Sends the next part; false when nothing is left to be sent.
    async fn send_next(&mut self, write: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
        let Some(((left, section), mut pieces)) = self.queue.pop_first() else {
            return Ok(false);
        };
        let sent = match pieces.pop_front() {
            None => {
                self.queued.remove(&section);
                self.waits |= self.late.remove(&section);
                write.write_all(&Frame::Commit(section).head()).await?;
                return Ok(true);
            }
            Some(Piece::Gone(topic)) => {
                let length = topic.len();
                write.write_all(&Frame::Gone(topic).head()).await?;
                length
            }
            Some(Piece::Value {
                topic,
                total,
                mut rest,
            }) => {
                let bytes = rest.split_to(rest.len().min(LONGEST_PART));
                let frame = Frame::Part {
                    topic: topic.clone(),
                    total,
                    bytes: bytes.clone(),
                };
                write.write_all(&frame.head()).await?;
                write.write_all(&bytes).await?;
                let mut length = bytes.len();
                if rest.is_empty() {
                    length += topic.len();
                } else {
                    pieces.push_front(Piece::Value { topic, total, rest });
                }
                length
            }
        };
        self.queue
            .insert((left.saturating_sub(sent), section), pieces);
        Ok(true)
    }

    /// What differs, by section, the smallest first.
    fn sections(&self, now: &Values) -> Vec<(String, Changes)> {
        let mut sections: BTreeMap<String, Changes> = BTreeMap::new();
        for item in self.sent.clone().diff(now) {
            let (topic, value) = match item {
                DiffItem::Add(topic, value) => (topic, Some(value)),
                DiffItem::Update { new, .. } => (new.0, Some(new.1)),
                DiffItem::Remove(topic, _) => (topic, None),
            };
            let section = sections.entry(section_of(topic).to_owned()).or_default();
            section.push((topic.clone(), value.cloned()));
        }
        let mut sections: Vec<_> = sections.into_iter().collect();
        sections.sort_by_key(|(_, topics)| size_of(topics));
        sections
    }

    /// Whether the other end takes what changes of a section, with what it has of all sections.
    fn has_room_for(&mut self, section: &str, changes: &[(String, Option<Bytes>)]) -> bool {
        let added = changes
            .iter()
            .filter(|(topic, value)| value.is_some() && !self.sent.contains_key(topic));
        let topics = self.sent.len() + added.count();
        let size = size_of(changes);
        let fits = |(topic, value): &(String, Option<Bytes>)| {
            let size = value.as_ref().map_or(0, Bytes::len);
            (1..=LONGEST_TOPIC).contains(&topic.len()) && size <= LONGEST_VALUE
        };
        let gone = changes.iter().filter(|(_, value)| value.is_none()).count();
        // A section without a name cannot be committed: the other end would end the connection, each time anew.
        let is_named = !section.is_empty();
        let fits =
            is_named && size <= MOST_STAGED && topics - gone <= TOPICS && changes.iter().all(fits);
        if fits {
            self.withheld.remove(section);
        } else if self.withheld.insert(section.to_owned()) {
            tracing::error!(
                section,
                size,
                topics,
                "too large to be told to other cells, or without a name"
            );
        }
        fits
    }
}

/// As the other end counts it.
fn size_of(changes: &[(String, Option<Bytes>)]) -> usize {
    let sizes = changes
        .iter()
        .map(|(topic, value)| topic.len() + value.as_ref().map_or(0, Bytes::len));
    sizes.sum()
}

#[cfg(test)]
mod tests;
