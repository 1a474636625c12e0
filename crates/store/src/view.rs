use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use lath_model::Timestamp;

use crate::reads::{Changed, Read, Reads, changed};

use crate::record::{Erased, Record, encode_erased};

/// Records of one kind by id. A persistent map: a copy is a pointer, and a change to the copy shares all
/// but the path to what changed.
#[derive(Clone, Default)]
struct Table {
    records: OrdMap<Arc<str>, Held>,
    /// Index, key in it, id.
    keys: OrdSet<(&'static str, Arc<str>, Arc<str>)>,
    /// How many records have a key, for those that more than one has.
    shared: OrdMap<(&'static str, Arc<str>), usize>,
}

/// A record of any type. Two are the same when they are one.
#[derive(Clone)]
pub(crate) struct Held {
    record: Erased,
    keys: fn(&(dyn Any + Send + Sync)) -> Vec<(&'static str, String)>,
}

impl Held {
    pub(crate) fn new<R: Record>(record: Arc<R>) -> Self {
        Self {
            record,
            keys: |record| record.downcast_ref::<R>().map(R::keys).unwrap_or_default(),
        }
    }

    pub(crate) fn keys(&self) -> Vec<(&'static str, String)> {
        (self.keys)(&*self.record)
    }

    fn of<R: Record>(&self) -> Option<Arc<R>> {
        Arc::clone(&self.record).downcast().ok()
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }
}

impl Table {
    fn insert(&mut self, id: Arc<str>, held: Held) {
        let new = held.keys();
        let old = self.records.insert(Arc::clone(&id), held);
        let old = old.map(|old| old.keys()).unwrap_or_default();
        if old == new {
            return;
        }
        self.unlist(&id, old);
        for (index, key) in new {
            self.enlist(index, &key, &id);
        }
    }

    fn enlist(&mut self, index: &'static str, key: &str, id: &Arc<str>) {
        // Those who share a key share its text.
        let other = self.first_with(index, key).cloned();
        let key = other.as_ref().map_or_else(|| key.into(), Arc::clone);
        let listed = self.keys.insert((index, Arc::clone(&key), Arc::clone(id)));
        if listed.is_none() && other.is_some() {
            *self.shared.entry((index, key)).or_insert(1) += 1;
        }
    }

    fn first_with(&self, index: &'static str, key: &str) -> Option<&Arc<str>> {
        let (of, first, _) = self.keys.range((index, key.into(), "".into())..).next()?;
        (*of == index && **first == *key).then_some(first)
    }

    /// How many records have a key in an index.
    fn count(&self, index: &'static str, key: &str) -> usize {
        let shared = self.shared.get(&(index, Arc::from(key)));
        let one = || usize::from(self.first_with(index, key).is_some());
        shared.copied().unwrap_or_else(one)
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some((id, held)) = self.records.remove_with_key(id) else {
            return false;
        };
        self.unlist(&id, held.keys());
        true
    }

    fn unlist(&mut self, id: &Arc<str>, keys: Vec<(&'static str, String)>) {
        for (index, key) in keys {
            let key: Arc<str> = key.into();
            let listed = (index, Arc::clone(&key), Arc::clone(id));
            let shared = (index, key);
            if self.keys.remove(&listed).is_none() {
                continue;
            }
            match self.shared.get(&shared).copied() {
                None => {}
                Some(2) => drop(self.shared.remove(&shared)),
                Some(many) => drop(self.shared.insert(shared, many - 1)),
            }
        }
    }
}

/// An immutable state of the database at one revision. Cheap to clone.
#[derive(Clone, Default)]
pub struct View {
    pub(crate) revision: u64,
    tables: HashMap<&'static str, Table>,
    pub(crate) reads: Option<Arc<Reads>>,
}

impl View {
    /// The revision. It grows by one with each transaction that changes something, also across restarts.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether there is no record of any kind, as in a state that is new.
    pub fn is_empty(&self) -> bool {
        let mut tables = self.tables.values();
        tables.all(|table| table.records.is_empty())
    }

    /// The record with this id.
    pub fn get<R: Record>(&self, id: &str) -> Option<Arc<R>> {
        self.note(|| Read::Record(R::KIND, id.into()));
        self.held(R::KIND, id)?.of()
    }

    /// Whether a record with this kind and id exists, for callers that do not know the record's type.
    pub fn contains(&self, kind: &str, id: &str) -> bool {
        let Some((kind, table)) = self.tables.get_key_value(kind) else {
            return false;
        };
        self.note(|| Read::Record(kind, id.into()));
        table.records.contains_key(id)
    }

    /// All records of the kind, by ascending id.
    pub fn list<R: Record>(&self) -> impl Iterator<Item = Arc<R>> + '_ {
        self.range::<R>("")
    }

    /// The records whose ids begin with `prefix`, by ascending id.
    pub fn range<'a, R: Record>(&'a self, prefix: &'a str) -> impl Iterator<Item = Arc<R>> + 'a {
        self.note(|| Read::Range(R::KIND, prefix.into()));
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.tables
            .get(R::KIND)
            .into_iter()
            .flat_map(move |table| table.records.range::<_, str>(from))
            .take_while(move |(id, _)| id.starts_with(prefix))
            .filter_map(|(_, held)| held.of())
    }

    /// The records from an id on, by ascending id: what is before it costs nothing.
    pub fn from<'a, R: Record>(
        &'a self,
        start: Bound<&str>,
    ) -> impl Iterator<Item = Arc<R>> + use<'a, R> {
        self.note(|| Read::Range(R::KIND, "".into()));
        let from = (start, Bound::Unbounded);
        let listed = self
            .tables
            .get(R::KIND)
            .map(|table| table.records.range::<_, str>(from));
        let listed = listed.into_iter().flatten();
        listed.filter_map(|(_, held)| held.of())
    }

    /// How many records of the kind there are: counting costs nothing.
    pub fn count<R: Record>(&self) -> usize {
        self.note(|| Read::Range(R::KIND, "".into()));
        let table = self.tables.get(R::KIND);
        table.map_or(0, |table| table.records.len())
    }

    /// The records that have a key in an index, from a key on, by ascending key and id.
    pub fn keyed_from<'a, R: Record>(
        &'a self,
        index: &'static str,
        start: Bound<&str>,
    ) -> impl Iterator<Item = (Arc<str>, Arc<R>)> + use<'a, R> {
        self.note(|| Read::Range(R::KIND, "".into()));
        let (first, skip): (Arc<str>, Option<Arc<str>>) = match start {
            Bound::Unbounded => ("".into(), None),
            Bound::Included(key) => (key.into(), None),
            Bound::Excluded(key) => (key.into(), Some(key.into())),
        };
        let from = (index, first, Arc::from(""));
        self.tables.get(R::KIND).into_iter().flat_map(move |table| {
            let skip = skip.clone();
            let listed = table.keys.range(from.clone()..);
            listed
                .take_while(move |(of, _, _)| *of == index)
                .skip_while(move |(_, key, _)| skip.as_ref() == Some(key))
                .filter_map(|(_, key, id)| Some((Arc::clone(key), table.records.get(id)?.of()?)))
        })
    }

    /// The records that have this key in an index ([`Record::keys`]), by ascending id.
    pub fn by<'a, R: Record>(
        &'a self,
        index: &'static str,
        key: &str,
    ) -> impl Iterator<Item = Arc<R>> + 'a {
        let key: Arc<str> = key.into();
        self.note(|| Read::Key(R::KIND, index, Arc::clone(&key)));
        let from = (index, Arc::clone(&key), Arc::from(""));
        let table = self.tables.get(R::KIND);
        table.into_iter().flat_map(move |table| {
            let key = Arc::clone(&key);
            let listed = table.keys.range(from.clone()..);
            listed
                .take_while(move |(of, its, _)| *of == index && *its == key)
                .filter_map(|(_, _, id)| table.records.get(id)?.of())
        })
    }

    /// How many records have this key in an index: counting costs nothing.
    pub fn count_by<R: Record>(&self, index: &'static str, key: &str) -> usize {
        self.note(|| Read::Key(R::KIND, index, key.into()));
        let table = self.tables.get(R::KIND);
        table.map_or(0, |table| table.count(index, key))
    }

    /// Whether a record has this key in an index.
    pub fn has<R: Record>(&self, index: &'static str, key: &str) -> bool {
        self.count_by::<R>(index, key) > 0
    }

    /// The distinct keys of an index, for callers that do not know the kind's type.
    pub fn keys(&self, kind: &str, index: &'static str) -> Vec<Arc<str>> {
        let table = self.tables.get(kind).into_iter();
        let listed = table.flat_map(|table| table.keys.range((index, "".into(), "".into())..));
        let mut keys: Vec<Arc<str>> = listed
            .take_while(|(of, _, _)| *of == index)
            .map(|(_, key, _)| Arc::clone(key))
            .collect();
        keys.dedup();
        keys
    }

    /// The ids of a kind, for callers that do not know the kind's type.
    pub fn ids(&self, kind: &str) -> impl Iterator<Item = &Arc<str>> {
        let table = self.tables.get(kind);
        table.into_iter().flat_map(|table| table.records.keys())
    }

    /// The records in which this state differs from an earlier one: what it costs is what differs.
    pub fn changes_since(&self, before: &Self) -> Vec<Changed> {
        let nothing = Table::default();
        let mut kinds: Vec<&'static str> = self.tables.keys().copied().collect();
        let gone = before
            .tables
            .keys()
            .filter(|kind| !self.tables.contains_key(*kind));
        kinds.extend(gone);
        let mut all = Vec::new();
        for kind in kinds {
            let old = before.tables.get(kind).unwrap_or(&nothing);
            let new = self.tables.get(kind).unwrap_or(&nothing);
            all.extend(old.records.diff(&new.records).map(|item| match item {
                DiffItem::Add(id, held) => changed(kind, id, None, Some(held)),
                DiffItem::Update { old, new } => changed(kind, new.0, Some(old.1), Some(new.1)),
                DiffItem::Remove(id, held) => changed(kind, id, Some(held), None),
            }));
        }
        all
    }

    fn note(&self, read: impl FnOnce() -> Read) {
        if let Some(reads) = &self.reads {
            reads.note(read());
        }
    }

    pub(crate) fn held(&self, kind: &str, id: &str) -> Option<&Held> {
        self.tables.get(kind)?.records.get(id)
    }

    pub(crate) fn erased(&self, kind: &str, id: &str) -> Option<&Erased> {
        self.held(kind, id).map(|held| &held.record)
    }

    pub(crate) fn insert(&mut self, kind: &'static str, id: &str, record: Held) {
        let table = self.tables.entry(kind).or_default();
        table.insert(Arc::from(id), record);
    }

    fn remove(&mut self, kind: &'static str, id: &str) -> bool {
        let table = self.tables.get_mut(kind);
        table.is_some_and(|table| table.remove(id))
    }
}

/// A transaction: the view it began with, plus its own changes.
pub struct Tx {
    now: Timestamp,
    before: View,
    view: View,
    touched: BTreeMap<(&'static str, String), Encode>,
}

type Encode = fn(&(dyn std::any::Any + Send + Sync)) -> Result<Vec<u8>, String>;

/// What a transaction came to: the view after it and the stored values that differ.
pub(crate) struct Edits {
    pub(crate) view: View,
    /// The new values by kind and id; `None` for a deleted record.
    pub(crate) values: Vec<(&'static str, String, Option<Vec<u8>>)>,
}

impl Tx {
    pub(crate) fn on(before: View, now: Timestamp) -> Self {
        Self {
            now,
            view: before.clone(),
            before,
            touched: BTreeMap::new(),
        }
    }

    /// The time of this transaction: one instant, so that all that it writes carries one time.
    pub fn now(&self) -> Timestamp {
        self.now
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
        self.view
            .insert(R::KIND, &id, Held::new(Arc::clone(&record)));
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
    /// The kind, and why a record of it cannot be stored.
    pub(crate) fn finish(self) -> Result<Edits, (&'static str, String)> {
        let mut changed = Edits {
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

impl Edits {
    fn settle(
        &mut self,
        kind: &'static str,
        id: String,
        encode: Encode,
        before: &View,
    ) -> Result<(), String> {
        let old = before.held(kind, &id);
        let new = self.view.erased(kind, &id);
        let value = new.map(|new| encode(&**new)).transpose()?;
        let was = old.map(|old| encode(&*old.record)).transpose()?;
        if value != was {
            self.values.push((kind, id, value));
        } else if let Some(old) = old {
            self.view.insert(kind, &id, old.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Lamp {
        id: String,
        room: String,
    }

    impl Record for Lamp {
        const KIND: &'static str = "house.lamp";
        fn id(&self) -> String {
            self.id.clone()
        }
        fn keys(&self) -> Vec<(&'static str, String)> {
            vec![("room", self.room.clone())]
        }
    }

    fn with(view: &View, lamps: &[(&str, &str)]) -> View {
        let mut tx = Tx::on(view.clone(), Timestamp::default());
        for (id, room) in lamps {
            tx.put(Lamp {
                id: (*id).into(),
                room: (*room).into(),
            });
        }
        tx.finish().unwrap().view
    }

    fn in_room(view: &View, room: &str) -> Vec<String> {
        view.by::<Lamp>("room", room)
            .map(|lamp| lamp.id())
            .collect()
    }

    #[test]
    fn an_index_follows_its_records() {
        let one = with(
            &View::default(),
            &[("a", "hall"), ("b", "hall"), ("c", "halls")],
        );
        assert_eq!(in_room(&one, "hall"), ["a", "b"]);
        let two = with(&one, &[("a", "halls")]);
        assert_eq!(in_room(&two, "hall"), ["b"]);
        assert_eq!(in_room(&two, "halls"), ["a", "c"]);
        assert_eq!(
            in_room(&one, "hall"),
            ["a", "b"],
            "an older view is as it was"
        );
        let mut tx = Tx::on(two, Timestamp::default());
        tx.delete::<Lamp>("c");
        assert_eq!(in_room(tx.view(), "halls"), ["a"]);
    }

    #[test]
    fn a_list_goes_on_from_anywhere() {
        let view = with(
            &View::default(),
            &[("a", "hall"), ("b", "bath"), ("c", "hall"), ("d", "attic")],
        );
        assert_eq!(view.count::<Lamp>(), 4);
        for (start, records, keyed) in [
            (Bound::Unbounded, "abcd", "dbac"),
            (Bound::Included("bath"), "cd", "bac"),
            (Bound::Excluded("bath"), "cd", "ac"),
            (Bound::Included("b"), "bcd", "bac"),
            (Bound::Excluded("b"), "cd", "bac"),
            (Bound::Excluded("hall"), "", ""),
        ] {
            let ids: String = view.from::<Lamp>(start).map(|lamp| lamp.id()).collect();
            assert_eq!(ids, records, "{start:?}");
            let all = view.keyed_from::<Lamp>("room", start);
            let ids: String = all.map(|(_, lamp)| lamp.id()).collect();
            assert_eq!(ids, keyed, "{start:?}");
        }
        assert_eq!(view.keyed_from::<Lamp>("roof", Bound::Unbounded).count(), 0);
    }

    #[test]
    fn the_records_of_a_key_are_counted() {
        let mut view = View::default();
        let mut random = 3_u32;
        for _ in 0..300 {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let (id, room) = ((random >> 8) % 7, (random >> 16) % 3);
            let mut tx = Tx::on(view, Timestamp::default());
            if random >> 24 & 3 == 0 {
                tx.delete::<Lamp>(&id.to_string());
            } else {
                let (id, room) = (id.to_string(), room.to_string());
                tx.put(Lamp { id, room });
            }
            view = tx.finish().unwrap().view;
            for room in ["0", "1", "2", "3"] {
                let listed = in_room(&view, room).len();
                assert_eq!(view.count_by::<Lamp>("room", room), listed);
                assert_eq!(view.has::<Lamp>("room", room), listed > 0);
            }
        }
    }

    #[test]
    fn a_change_is_seen_by_those_who_read_it_and_by_no_other() {
        let many: Vec<String> = (0..1000).map(|n| format!("x{n:04}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|id| (id.as_str(), "attic")).collect();
        let one = with(
            &with(&View::default(), &many),
            &[("a/1", "hall"), ("b", "hall")],
        );
        for (name, look, sees) in [
            (
                "the record",
                (|v| drop(v.get::<Lamp>("a/1"))) as fn(&View),
                true,
            ),
            (
                "its range",
                |v| assert!(v.range::<Lamp>("a/").count() < 9999),
                true,
            ),
            ("all", |v| assert!(v.list::<Lamp>().count() < 9999), true),
            (
                "its old room",
                |v| assert!(v.by::<Lamp>("room", "hall").count() < 9999),
                true,
            ),
            (
                "its new room",
                |v| assert!(v.by::<Lamp>("room", "bath").count() < 9999),
                true,
            ),
            ("another record", |v| drop(v.get::<Lamp>("b")), false),
            (
                "another range",
                |v| assert!(v.range::<Lamp>("a/2").count() < 9999),
                false,
            ),
            (
                "another room",
                |v| assert!(v.by::<Lamp>("room", "attic").count() < 9999),
                false,
            ),
        ] {
            let (watched, reads) = one.watched();
            look(&watched);
            let two = with(&one, &[("a/1", "bath")]);
            let changed = two.changes_since(&one);
            assert_eq!(changed.len(), 1, "{name}");
            let affected: BTreeSet<Read> = changed[0].seen_by().collect();
            assert_eq!(!affected.is_disjoint(&reads.take()), sees, "{name}");
        }
        assert!(one.changes_since(&one).is_empty());
    }
}
