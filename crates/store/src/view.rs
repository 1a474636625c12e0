use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::record::{Erased, Record, encode_erased};

/// The records of one kind by id. A persistent map: a clone is a pointer, and a changed clone shares everything
/// but the path to the change.
type Table = OrdMap<Arc<str>, Erased>;

/// An immutable state of the database at one revision. Cheap to clone.
#[derive(Clone, Default)]
pub struct View {
    pub(crate) revision: u64,
    tables: HashMap<&'static str, Table>,
}

impl View {
    /// The revision. It grows by one with each transaction that changes something, also across restarts.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The record with this id.
    pub fn get<R: Record>(&self, id: &str) -> Option<Arc<R>> {
        Arc::clone(self.erased(R::KIND, id)?).downcast().ok()
    }

    /// Whether a record with this kind and id exists, for callers that do not know the record's type.
    pub fn contains(&self, kind: &str, id: &str) -> bool {
        self.erased(kind, id).is_some()
    }

    /// All records of the kind, by ascending id.
    pub fn list<R: Record>(&self) -> impl Iterator<Item = Arc<R>> + '_ {
        self.range::<R>("")
    }

    /// The records whose ids begin with `prefix`, by ascending id.
    pub fn range<'a, R: Record>(&'a self, prefix: &'a str) -> impl Iterator<Item = Arc<R>> + 'a {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.tables
            .get(R::KIND)
            .into_iter()
            .flat_map(move |table| table.range::<_, str>(from))
            .take_while(move |(id, _)| id.starts_with(prefix))
            .filter_map(|(_, any)| Arc::clone(any).downcast().ok())
    }

    pub(crate) fn erased(&self, kind: &str, id: &str) -> Option<&Erased> {
        self.tables.get(kind)?.get(id)
    }

    pub(crate) fn insert(&mut self, kind: &'static str, id: &str, record: Erased) {
        let table = self.tables.entry(kind).or_default();
        table.insert(Arc::from(id), record);
    }

    fn remove(&mut self, kind: &'static str, id: &str) -> bool {
        let table = self.tables.get_mut(kind);
        table.is_some_and(|table| table.remove(id).is_some())
    }
}

/// A transaction: the view it began with, plus its own changes.
pub struct Tx {
    before: View,
    view: View,
    touched: BTreeMap<(&'static str, String), Encode>,
}

type Encode = fn(&(dyn std::any::Any + Send + Sync)) -> Result<Vec<u8>, String>;

/// The result of a transaction: the new view and the stored values that differ.
pub(crate) struct Changed {
    pub(crate) view: View,
    /// The new values by kind and id; `None` for a deleted record.
    pub(crate) values: Vec<(&'static str, String, Option<Vec<u8>>)>,
}

impl Tx {
    pub(crate) fn on(before: View) -> Self {
        Self {
            view: before.clone(),
            before,
            touched: BTreeMap::new(),
        }
    }

    /// The state as this transaction sees it, including its own changes.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The record with this id.
    pub fn get<R: Record>(&self, id: &str) -> Option<Arc<R>> {
        self.view.get(id)
    }

    /// All records of the kind.
    pub fn list<R: Record>(&self) -> impl Iterator<Item = Arc<R>> + '_ {
        self.view.list()
    }

    /// Creates or replaces a record.
    pub fn put<R: Record>(&mut self, record: R) -> Arc<R> {
        let record = Arc::new(record);
        let id = record.id();
        self.view.insert(R::KIND, &id, Arc::clone(&record) as _);
        self.touched.insert((R::KIND, id), encode_erased::<R>);
        record
    }

    /// Changes a record; `None` when there is none.
    pub fn update<R: Record + Clone>(
        &mut self,
        id: &str,
        f: impl FnOnce(&mut R),
    ) -> Option<Arc<R>> {
        let mut copy = R::clone(&*self.get::<R>(id)?);
        f(&mut copy);
        Some(self.put(copy))
    }

    /// Deletes a record. Returns whether it existed.
    pub fn delete<R: Record>(&mut self, id: &str) -> bool {
        let there = self.view.remove(R::KIND, id);
        if there {
            let key = (R::KIND, id.to_owned());
            self.touched.insert(key, encode_erased::<R>);
        }
        there
    }

    /// The differences from the view it began with. Putting an equal record back is no change, so that a
    /// reconciler that writes what it observes does not wake itself forever.
    ///
    /// # Errors
    /// The kind, and why its record cannot be stored.
    pub(crate) fn finish(self) -> Result<Changed, (&'static str, String)> {
        let mut changed = Changed {
            view: self.view,
            values: Vec::new(),
        };
        for ((kind, id), encode) in self.touched {
            changed
                .settle(kind, id, encode, &self.before)
                .map_err(|reason| (kind, reason))?;
        }
        Ok(changed)
    }
}

impl Changed {
    fn settle(
        &mut self,
        kind: &'static str,
        id: String,
        encode: Encode,
        before: &View,
    ) -> Result<(), String> {
        let old = before.erased(kind, &id);
        let new = self.view.erased(kind, &id);
        let value = new.map(|new| encode(&**new)).transpose()?;
        let was = old.map(|old| encode(&**old)).transpose()?;
        if value != was {
            self.values.push((kind, id, value));
        } else if let Some(old) = old {
            self.view.insert(kind, &id, Arc::clone(old));
        }
        Ok(())
    }
}
