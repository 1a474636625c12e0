//! What is known of the other cells, for whoever reads the mesh.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lath_feed::{PeerState, Topology, Values, section_of};
use lath_model::Timestamp;
use lath_net::Throttle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::carry::GIVE_UP;

/// How many topics a peer may tell.
const TOPICS: usize = 65_536;

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
    /// Makes it be so, with at most so many topics; whether anything differed.
    pub(crate) fn apply(self, values: &mut Values, most: usize) -> bool {
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
                Some(value) => put(values, topic, value, most),
                None => values.remove(&topic).is_some(),
            };
        }
        differs
    }
}

static TOO_MANY: Throttle = Throttle::new();

fn put(values: &mut Values, topic: String, value: Bytes, most: usize) -> bool {
    if values.len() < most || values.contains_key(&topic) {
        values.insert(topic, value);
        return true;
    }
    if let Some(times) = TOO_MANY.due() {
        tracing::error!(topic, times, "a peer tells too many topics");
    }
    false
}

/// The sending end of what readers of a mesh see.
#[derive(Debug, Clone)]
pub(crate) struct Peers(Arc<watch::Sender<Arc<BTreeMap<String, PeerState>>>>);

impl Peers {
    /// Nobody is connected yet.
    pub(crate) fn new(
        say: watch::Sender<Arc<BTreeMap<String, PeerState>>>,
        topology: &Topology,
    ) -> Self {
        let silent = || PeerState {
            connected: false,
            since: Timestamp::now(),
            values: Values::new(),
        };
        let all = topology
            .peers()
            .map(|(name, _)| (name.to_owned(), silent()));
        say.send_replace(Arc::new(all.collect()));
        Self(Arc::new(say))
    }

    pub(crate) fn connected(&self, name: &str, connected: bool) {
        let changed = self.change(name, |peer| {
            let differs = peer.connected != connected;
            if differs {
                peer.connected = connected;
                peer.since = Timestamp::now();
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
        let mut peers = self.0.subscribe();
        drop(peers.wait_for(is).await);
    }

    pub(crate) fn told(&self, name: &str, change: Change) {
        self.change(name, |peer| change.apply(&mut peer.values, TOPICS));
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut PeerState) -> bool) -> bool {
        self.0.send_if_modified(|peers| {
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
