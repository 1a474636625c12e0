//! Values, on a road of their own: what is new is sent section by section, the small ones first, and counts at the
//! other end once a section is complete. A fresh connection is told everything again, and then that this was all: a
//! section that is not among it is dropped.
//!
//! A section is told and applied wholly or not at all. One that the other end would not take is withheld.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use imbl::ordmap::DiffItem;
use lath_feed::{LONGEST_VALUE, Values, section_of};
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
pub(crate) struct Teller {
    pub(crate) own: String,
    pub(crate) peers: Peers,
    pub(crate) told: watch::Receiver<Values>,
}

impl Talk for Teller {
    async fn converse(&self, peer: &str, stream: TcpStream) {
        self.peers.begins(peer);
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

impl Teller {
    async fn listen(&self, peer: &str, mut read: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        let (mut greeted, mut incoming) = (false, Incoming::default());
        loop {
            while let Some(frame) = Frame::take(&mut buffer).map_err(invalid)? {
                match frame {
                    Frame::Hello(name) if name == peer => greeted = true,
                    Frame::AllTold if greeted => {
                        self.peers.told_all(peer, incoming.all()?);
                    }
                    frame if greeted => {
                        if let Some(change) = incoming.hear(frame)? {
                            self.peers.told(peer, change);
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
        let mut told = self.told.clone();
        told.mark_changed();
        let (mut outgoing, mut all_told) = (Outgoing::default(), false);
        let mut alive = interval(KEEPALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hello = Frame::Hello(self.own.clone()).head();
        write.write_all(&hello).await?;
        loop {
            tokio::select! {
                // When the sender of values is gone, the peer may still send.
                Ok(()) = told.changed() => {
                    let values = told.borrow_and_update().clone();
                    outgoing.tell(&mut write, &values).await?;
                    if !std::mem::replace(&mut all_told, true) {
                        write.write_all(&Frame::AllTold.head()).await?;
                    }
                }
                _ = alive.tick() => write.write_all(&Frame::Beat.head()).await?,
            }
        }
    }
}

/// What a peer tells, until a section of it is complete.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    staged: BTreeMap<String, Option<Bytes>>,
    size: usize,
    /// A value that is not whole: its topic, how long it will be, what is there.
    partial: Option<(String, usize, BytesMut)>,
    /// Sections that were complete once over this connection.
    complete: BTreeSet<String>,
}

impl Incoming {
    /// Takes a frame; what a section became, when it completes one.
    pub(crate) fn hear(&mut self, frame: Frame) -> io::Result<Option<Change>> {
        match frame {
            Frame::Beat if self.partial.is_none() => {}
            Frame::Part {
                topic,
                total,
                bytes,
            } => self.part(topic, usize::try_from(total).unwrap_or(usize::MAX), &bytes)?,
            Frame::AllTold => {
                self.all()?;
            }
            Frame::Gone(topic) if self.partial.is_none() => self.stage(topic, None)?,
            Frame::Commit(section) if self.partial.is_none() => {
                if self.complete.len() >= MOST_TOPICS {
                    return Err(invalid("too many sections"));
                }
                return Ok(Some(self.commit(section)));
            }
            _ => return Err(invalid("a frame where none of its kind may be")),
        }
        Ok(None)
    }

    /// The sections that were complete once over this connection, where the peer says that these are all.
    pub(crate) fn all(&self) -> io::Result<&BTreeSet<String>> {
        if self.partial.is_some() || !self.staged.is_empty() {
            return Err(invalid("a section that is not complete at the end of all"));
        }
        Ok(&self.complete)
    }

    fn part(&mut self, topic: String, total: usize, bytes: &[u8]) -> io::Result<()> {
        if total > LONGEST_VALUE {
            return Err(invalid("a value that is too long"));
        }
        let (known, length, mut whole) = match self.partial.take() {
            Some(partial) => partial,
            None => (topic.clone(), total, BytesMut::new()),
        };
        if known != topic || length != total || whole.len() + bytes.len() > total {
            return Err(invalid("parts of different values"));
        }
        // Memory is taken as bytes arrive, not as they are announced.
        whole.extend_from_slice(bytes);
        if whole.len() < total {
            self.partial = Some((topic, total, whole));
            return Ok(());
        }
        self.stage(topic, Some(whole.freeze()))
    }

    fn stage(&mut self, topic: String, value: Option<Bytes>) -> io::Result<()> {
        self.size += topic.len() + value.as_ref().map_or(0, Bytes::len);
        if self.size > MOST_STAGED || self.staged.len() >= MOST_TOPICS {
            return Err(invalid("a section that is too large"));
        }
        self.staged.insert(topic, value);
        Ok(())
    }

    fn commit(&mut self, section: String) -> Change {
        let is_its = |topic: &String| section_of(topic) == section;
        let (its, others): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.staged)
            .into_iter()
            .partition(|(topic, _)| is_its(topic));
        self.staged = others;
        let sizes = self
            .staged
            .iter()
            .map(|(topic, value)| topic.len() + value.as_ref().map_or(0, Bytes::len));
        self.size = sizes.sum();
        Change {
            // What vanished while there was no connection is not told.
            whole: self.complete.insert(section.clone()),
            section,
            topics: its,
        }
    }
}

/// Topics of a section that differ; `None` is one that is no more.
type Changes = Vec<(String, Option<Bytes>)>;

/// What a peer was told over one connection.
#[derive(Debug, Default)]
struct Outgoing {
    sent: Values,
    /// Sections that the other end would not take; each is logged once.
    withheld: BTreeSet<String>,
}

impl Outgoing {
    /// Sends what differs from what was sent.
    async fn tell(
        &mut self,
        write: &mut (impl AsyncWrite + Unpin),
        now: &Values,
    ) -> io::Result<()> {
        for (section, topics) in self.sections(now) {
            if !self.may_be_told(&section, &topics) {
                continue;
            }
            for (topic, value) in &topics {
                match value {
                    Some(value) => send(write, topic, value).await?,
                    None => write.write_all(&Frame::Gone(topic.clone()).head()).await?,
                }
            }
            for (topic, value) in topics {
                match value {
                    Some(value) => drop(self.sent.insert(topic, value)),
                    None => drop(self.sent.remove(&topic)),
                }
            }
            write.write_all(&Frame::Commit(section).head()).await?;
        }
        Ok(())
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
    fn may_be_told(&mut self, section: &str, changes: &[(String, Option<Bytes>)]) -> bool {
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
        let fits = size <= MOST_STAGED && topics - gone <= TOPICS && changes.iter().all(fits);
        if fits {
            self.withheld.remove(section);
        } else if self.withheld.insert(section.to_owned()) {
            tracing::error!(section, size, topics, "too large to be told to other cells");
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

async fn send(write: &mut (impl AsyncWrite + Unpin), topic: &str, value: &Bytes) -> io::Result<()> {
    let total = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let mut rest = value.clone();
    loop {
        let bytes = rest.split_to(rest.len().min(LONGEST_PART));
        let frame = Frame::Part {
            topic: topic.to_owned(),
            total,
            bytes: bytes.clone(),
        };
        write.write_all(&frame.head()).await?;
        write.write_all(&bytes).await?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(topic: &str, total: u32, bytes: &'static [u8]) -> Frame {
        Frame::Part {
            topic: topic.into(),
            total,
            bytes: Bytes::from_static(bytes),
        }
    }

    #[test]
    fn a_section_counts_when_it_is_complete_and_the_first_time_whole() {
        let mut incoming = Incoming::default();
        for frame in [
            part("a/1", 4, b"on"),
            part("a/1", 4, b"e!"),
            part("b", 0, b""),
            Frame::Gone("a/2".into()),
        ] {
            assert_eq!(incoming.hear(frame).unwrap(), None);
        }
        let first = incoming.hear(Frame::Commit("a".into())).unwrap().unwrap();
        let topics = [
            ("a/1".to_owned(), Some(Bytes::from_static(b"one!"))),
            ("a/2".to_owned(), None),
        ];
        let want = Change {
            section: "a".into(),
            whole: true,
            topics: topics.into(),
        };
        assert_eq!(first, want);
        incoming.hear(part("a/1", 1, b"x")).unwrap();
        let next = incoming.hear(Frame::Commit("a".into())).unwrap().unwrap();
        assert!(!next.whole && next.topics.len() == 1);
        let other = incoming.hear(Frame::Commit("b".into())).unwrap().unwrap();
        assert!(other.whole && other.topics.contains_key("b"));
        assert_eq!(incoming.size, 0);
    }

    #[test]
    fn parts_that_do_not_fit_together_are_refused() {
        for (name, second) in [
            ("another topic", part("b", 4, b"22")),
            ("another length", part("a", 5, b"22")),
            ("too long", part("a", 4, b"333")),
            ("a commit between", Frame::Commit("a".into())),
            ("a beat between", Frame::Beat),
        ] {
            let mut incoming = Incoming::default();
            incoming.hear(part("a", 4, b"11")).unwrap();
            assert!(incoming.hear(second).is_err(), "{name}");
        }
        let huge = part("a", u32::MAX, b"");
        assert!(Incoming::default().hear(huge).is_err());
    }

    #[tokio::test]
    async fn what_is_told_is_what_changed() {
        let (mut outgoing, mut incoming) = (Outgoing::default(), Incoming::default());
        let mut heard = Values::new();
        let mut values = Values::new();
        let long = Bytes::from(vec![7; LONGEST_PART * 2 + 1]);
        for (name, changes) in [
            (
                "two",
                vec![("s/a", Some(long.clone())), ("t", Some(long.clone()))],
            ),
            ("one gone", vec![("s/a", None), ("s/b", Some(Bytes::new()))]),
            ("nothing", vec![]),
        ] {
            for (topic, value) in &changes {
                match value {
                    Some(value) => drop(values.insert((*topic).into(), value.clone())),
                    None => drop(values.remove(*topic)),
                }
            }
            let mut wire = Vec::new();
            outgoing.tell(&mut wire, &values).await.unwrap();
            assert_eq!(wire.is_empty(), changes.is_empty(), "{name}");
            let mut wire = BytesMut::from(&wire[..]);
            while let Some(frame) = Frame::take(&mut wire).unwrap() {
                if let Some(change) = incoming.hear(frame).unwrap() {
                    change.apply(&mut heard, usize::MAX);
                }
            }
            assert_eq!(heard, values, "{name}");
        }
    }

    #[tokio::test]
    async fn a_section_that_the_other_end_would_not_take_is_withheld_whole() {
        let (mut outgoing, mut values) = (Outgoing::default(), Values::new());
        values.insert("small".into(), Bytes::new());
        values.insert("large/1".into(), Bytes::new());
        values.insert(format!("large/{}", "x".repeat(LONGEST_TOPIC)), Bytes::new());
        let mut wire = Vec::new();
        outgoing.tell(&mut wire, &values).await.unwrap();
        let mut heard = Values::new();
        let mut incoming = Incoming::default();
        hear(&mut incoming, &mut heard, &wire);
        assert_eq!(heard.keys().collect::<Vec<_>>(), ["small"]);
        // When it fits again, all of it is told.
        values.remove(&format!("large/{}", "x".repeat(LONGEST_TOPIC)));
        let mut wire = Vec::new();
        outgoing.tell(&mut wire, &values).await.unwrap();
        hear(&mut incoming, &mut heard, &wire);
        assert_eq!(heard, values);
        for number in 0..TOPICS {
            values.insert(format!("many/{number}"), Bytes::new());
        }
        let mut wire = Vec::new();
        outgoing.tell(&mut wire, &values).await.unwrap();
        assert!(wire.is_empty(), "they are too many");
    }

    #[test]
    fn all_is_told_only_between_sections() {
        let mut incoming = Incoming::default();
        assert!(incoming.all().unwrap().is_empty());
        incoming.hear(part("a", 1, b"x")).unwrap();
        assert!(incoming.hear(Frame::AllTold).is_err());
        incoming.hear(Frame::Commit("a".into())).unwrap();
        assert_eq!(*incoming.all().unwrap(), ["a".to_owned()].into());
    }

    fn hear(incoming: &mut Incoming, heard: &mut Values, wire: &[u8]) {
        let mut wire = BytesMut::from(wire);
        while let Some(frame) = Frame::take(&mut wire).unwrap() {
            if let Some(change) = incoming.hear(frame).unwrap() {
                change.apply(heard, usize::MAX);
            }
        }
    }
}
