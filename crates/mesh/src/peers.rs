//! What is known of the other cells, for whoever reads the mesh.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lath_feed::{PeerState, Topology};
use lath_model::Timestamp;
use tokio::sync::watch;

/// How many topics a peer may tell.
const TOPICS: usize = 4096;

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
            values: BTreeMap::new(),
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

    pub(crate) fn told(&self, name: &str, topic: String, value: Bytes) {
        self.change(name, |peer| {
            let is_known = peer.values.contains_key(&topic);
            let differs = peer.values.get(&topic) != Some(&value);
            let fits = is_known || peer.values.len() < TOPICS;
            if differs && fits {
                peer.values.insert(topic, value);
            }
            differs && fits
        });
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
