//! Records what was read of a view, so that a value derived from it is derived anew only when one of those reads changes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::View;
use crate::view::Held;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// Whether there is a record of this kind and id, and what it is.
    Record(&'static str, Arc<str>),
    /// The records of a kind whose id begins so.
    Range(&'static str, Arc<str>),
    /// The records of a kind that an index has under a key.
    Key(&'static str, &'static str, Arc<str>),
}

/// Takes down what is read of a [`View`].
#[derive(Debug, Default)]
pub struct Reads(Mutex<BTreeSet<Read>>);

impl Reads {
    pub(crate) fn note(&self, read: Read) {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reads.insert(read);
    }

    /// What was read since it was asked for last.
    pub fn take(&self) -> BTreeSet<Read> {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut reads)
    }
}

/// A record that two views differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its kind.
    pub kind: &'static str,
    /// Its id.
    pub id: Arc<str>,
    /// Where indexes have it, or had it before: an index and a key.
    pub keys: BTreeSet<(&'static str, String)>,
}

impl Changed {
    /// The reads that would see another thing now.
    pub fn seen_by(&self) -> impl Iterator<Item = Read> + '_ {
        let ends = (0..=self.id.len()).filter(|end| self.id.is_char_boundary(*end));
        let ranges = ends.map(|end| Read::Range(self.kind, Arc::from(&self.id[..end])));
        let keys = self.keys.iter();
        let keys = keys.map(|(index, key)| Read::Key(self.kind, index, Arc::from(key.as_str())));
        std::iter::once(Read::Record(self.kind, Arc::clone(&self.id)))
            .chain(ranges)
            .chain(keys)
    }
}

pub(crate) fn changed(
    kind: &'static str,
    id: &Arc<str>,
    old: Option<&Held>,
    new: Option<&Held>,
) -> Changed {
    let both = old.into_iter().chain(new);
    Changed {
        kind,
        id: Arc::clone(id),
        keys: both.flat_map(Held::keys).collect(),
    }
}

impl View {
    /// The same state, which takes down what is read of it from now on, also of its copies.
    pub fn watched(&self) -> (Self, Arc<Reads>) {
        let reads = Arc::new(Reads::default());
        let mut view = self.clone();
        view.reads = Some(Arc::clone(&reads));
        (view, reads)
    }
}
