//! The newest values that cells tell one another, by topic. Levels, not events: what was missed while a
//! link was down does not matter, the newest value arrives when it is up again.
//!
//! Topics of one section (the text before the first `/`) that change together arrive together.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use lath_model::Timestamp;
use tokio::sync::watch;

/// The values of one teller. A copy is a pointer, and what differs between two of them is found without looking at
/// what does not.
pub type Values = OrdMap<String, Bytes>;

/// The longest value of a topic, in bytes. What is larger goes under several topics of a section.
pub const LONGEST_VALUE: usize = 256 << 20;

/// The section of a topic: the text before its first `/`, or all of it.
pub fn section_of(topic: &str) -> &str {
    topic.split_once('/').map_or(topic, |(section, _)| section)
}

/// A cell's end of the exchange. What carries it is not known here.
#[derive(Debug, Clone)]
pub struct Mesh {
    values_tx: Arc<watch::Sender<Values>>,
    peers: watch::Receiver<Arc<BTreeMap<String, PeerState>>>,
}

/// Another region (or the witness) as it is seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Whether it answers: false after a few missed heartbeats.
    pub connected: bool,
    /// Since when it does, or does not.
    pub since: Timestamp,
    /// What it told last, kept while it does not answer.
    pub values: Values,
}

/// The other end of a [`Mesh`]: what carries values.
#[derive(Debug)]
pub struct Carrier {
    /// What is to be told to every peer, whole.
    pub told: watch::Receiver<Values>,
    /// What peers told.
    pub peers: watch::Sender<Arc<BTreeMap<String, PeerState>>>,
}

impl Mesh {
    /// A mesh and what must carry it.
    pub fn new() -> (Self, Carrier) {
        let (values_tx, told) = watch::channel(Values::new());
        let (peers_tx, peers) = watch::channel(Arc::default());
        let mesh = Self {
            values_tx: Arc::new(values_tx),
            peers,
        };
        (
            mesh,
            Carrier {
                told,
                peers: peers_tx,
            },
        )
    }

    /// Sends every peer the newest value of a topic (at most [`LONGEST_VALUE`]), now and when it connects again. The
    /// same value again is nothing new.
    pub fn publish(&self, topic: &str, value: Bytes) {
        self.update([(topic.to_owned(), Some(value))]);
    }

    /// Tells several topics at once; `None` is a topic that is no more. Those of one section arrive together.
    pub fn update(&self, changes: impl IntoIterator<Item = (String, Option<Bytes>)>) {
        self.values_tx.send_if_modified(|values| {
            let mut differs = false;
            for (topic, value) in changes {
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
        });
    }

    /// What the peers told, and whether they answer.
    pub fn peers(&self) -> watch::Receiver<Arc<BTreeMap<String, PeerState>>> {
        self.peers.clone()
    }
}
