//! The state of the other cells, for readers of the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lath_clock::Clock;
use lath_feed::{PeerState, Topology, Values, section_of};
use lath_net::Throttle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::carry::GIVE_UP;

/// How many topics a peer may tell.
pub(crate) const TOPICS: usize = 1 << 20;

/// What a peer told of one section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) section: String,
    /// Whether it is all of the section, and not only what changed.
    pub(crate) whole: bool,
    /// `None` is a topic that is no more.
    pub(crate) topics: BTreeMap<String, Option<Bytes>>,
}

impl Change {
    /// Makes it be so, unless there were more topics than so many then; whether anything differed.
    pub(crate) fn apply(self, values: &mut Values, most: usize) -> bool {
        let section = self.section.clone();
        let mut next = values.clone();
        let differs = self.put(&mut next);
        if next.len() > most {
            if let Some(times) = TOO_MANY.due() {
                tracing::error!(section, times, "a peer tells too many topics");
            }
            return false;
        }
        *values = next;
        differs
    }

    fn put(self, values: &mut Values) -> bool {
        let mut differs = false;
        if self.whole {
            let of_section = values.range(self.section.clone()..).map(|(topic, _)| topic);
            let gone: Vec<String> = of_section
                .take_while(|topic| topic.starts_with(&self.section))
                .filter(|topic| section_of(topic) == self.section)
                .filter(|topic| !self.topics.contains_key(*topic))
                .cloned()
                .collect();
            differs = !gone.is_empty();
            for topic in gone {
                values.remove(&topic);
            }
        }
        for (topic, value) in self.topics {
            differs |= match value {
                Some(value) if values.get(&topic) == Some(&value) => false,
                Some(value) => {
                    values.insert(topic, value);
                    true
                }
                None => values.remove(&topic).is_some(),
            };
        }
        differs
    }
}

/// Whether any topic was of another section.
fn keep_sections(values: &mut Values, sections: &BTreeSet<String>) -> bool {
    let topics = values.keys();
    let gone: Vec<String> = topics
        .filter(|topic| !sections.contains(section_of(topic)))
        .cloned()
        .collect();
    for topic in &gone {
        values.remove(topic);
    }
    !gone.is_empty()
}

static TOO_MANY: Throttle = Throttle::new();

/// The sending end of what readers of a mesh see.
///
/// A peer that was lost counts as connected once its heartbeats are there and it has sent values since: what it sent
/// before may be long past.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    peers_tx: Arc<watch::Sender<Arc<BTreeMap<String, PeerState>>>>,
    roads: Arc<Mutex<BTreeMap<String, Roads>>>,
    clock: Clock,
}

/// What is known of the two roads to a peer.
#[derive(Debug, Clone, Copy, Default)]
struct Roads {
    /// Heartbeats arrive.
    beats: bool,
    /// Something was received over the present connection.
    received: bool,
}

impl Peers {
    /// Starts with no peer connected.
    pub(crate) fn new(
        peers_tx: watch::Sender<Arc<BTreeMap<String, PeerState>>>,
        topology: &Topology,
        clock: Clock,
    ) -> Self {
        let silent = || PeerState {
            connected: false,
            since: clock.now(),
            values: Values::new(),
        };
        let all = topology
            .peers()
            .map(|(name, _)| (name.to_owned(), silent()));
        peers_tx.send_replace(Arc::new(all.collect()));
        Self {
            peers_tx: Arc::new(peers_tx),
            roads: Arc::default(),
            clock,
        }
    }

    /// Notes whether heartbeats arrive.
    pub(crate) fn connected(&self, name: &str, connected: bool) {
        let roads = self.note(name, |roads| roads.beats = connected);
        if !connected || roads.received {
            self.show(name, connected);
        }
    }

    /// Notes that a connection for values begins: nothing was told over it yet. A peer whose heartbeats did not stop stays
    /// connected.
    pub(crate) fn begins(&self, name: &str) {
        self.note(name, |roads| roads.received = false);
    }

    fn note_received(&self, name: &str) {
        if self.note(name, |roads| roads.received = true).beats {
            self.show(name, true);
        }
    }

    fn note(&self, name: &str, change: impl FnOnce(&mut Roads)) -> Roads {
        let mut roads = self.roads.lock().unwrap_or_else(PoisonError::into_inner);
        let roads = roads.entry(name.to_owned()).or_default();
        change(roads);
        *roads
    }

    fn show(&self, name: &str, connected: bool) {
        let changed = self.change(name, |peer| {
            let differs = peer.connected != connected;
            if differs {
                peer.connected = connected;
                peer.since = self.clock.now();
            }
            differs
        });
        if changed {
            tracing::info!(peer = name, connected, "another cell");
        }
    }

    /// Returns once a peer that was connected is not for [`GIVE_UP`].
    pub(crate) async fn lost(&self, name: &str) {
        self.until(name, true).await;
        loop {
            self.until(name, false).await;
            if timeout(GIVE_UP, self.until(name, true)).await.is_err() {
                return;
            }
        }
    }

    async fn until(&self, name: &str, connected: bool) {
        let is = |peers: &Arc<BTreeMap<String, PeerState>>| {
            peers
                .get(name)
                .is_some_and(|peer| peer.connected == connected)
        };
        // The sender is here: waiting ends with the condition alone.
        let mut peers = self.peers_tx.subscribe();
        drop(peers.wait_for(is).await);
    }

    /// Takes a section that a peer has committed.
    pub(crate) fn apply(&self, name: &str, change: Change) {
        self.change(name, |peer| change.apply(&mut peer.values, TOPICS));
        self.note_received(name);
    }

    /// Drops the sections that are not among these, which are all that the peer has.
    pub(crate) fn retain_sections(&self, name: &str, sections: &BTreeSet<String>) {
        self.change(name, |peer| keep_sections(&mut peer.values, sections));
        self.note_received(name);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut PeerState) -> bool) -> bool {
        self.peers_tx.send_if_modified(|peers| {
            let Some(mut peer) = peers.get(name).cloned() else {
                return false;
            };
            let changed = change(&mut peer);
            if changed {
                Arc::make_mut(peers).insert(name.to_owned(), peer);
            }
            changed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(section: &str, topics: &[&str]) -> Change {
        let topic = |topic: &&str| ((*topic).to_owned(), Some(Bytes::from_static(b"x")));
        Change {
            section: section.to_owned(),
            whole: true,
            topics: topics.iter().map(topic).collect(),
        }
    }

    #[test]
    fn a_section_is_applied_wholly_or_not_at_all() {
        let mut values = Values::new();
        assert!(change("a", &["a/1", "a/2"]).apply(&mut values, 3));
        let before = values.clone();
        assert!(!change("b", &["b/1", "b/2"]).apply(&mut values, 3));
        assert_eq!(values, before);
        assert!(change("b", &["b"]).apply(&mut values, 3));
        assert!(keep_sections(&mut values, &["b".to_owned()].into()));
        assert_eq!(values.len(), 1);
    }

    #[test]
    fn a_lost_peer_is_connected_when_it_has_told_something_since() {
        let (peers_tx, seen) = watch::channel(Arc::default());
        let topology: Topology = Topology::single("here");
        let peers = Peers::new(peers_tx, &topology, Clock::system());
        let silent = PeerState {
            connected: false,
            since: Clock::system().now(),
            values: Values::new(),
        };
        let west = BTreeMap::from([("west".to_owned(), silent)]);
        peers.peers_tx.send_replace(Arc::new(west));
        let connected = || seen.borrow()["west"].connected;
        peers.begins("west");
        peers.connected("west", true);
        assert!(!connected(), "it told nothing");
        peers.apply("west", change("a", &["a"]));
        assert!(connected());
        peers.begins("west");
        assert!(connected(), "only the connection is a new one");
        peers.connected("west", false);
        assert!(!connected());
        peers.connected("west", true);
        assert!(!connected(), "what is known is old");
        peers.retain_sections("west", &BTreeSet::new());
        assert!(connected());
        assert!(seen.borrow()["west"].values.is_empty());
    }
}
