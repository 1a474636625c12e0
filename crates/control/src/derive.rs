//! What is derived of the state, kept up by deriving anew only what read something that changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lath_store::{Changed, Read, Reads, View};

use crate::Cell;

/// A pure function of the state that makes a part of `O` be what the state says.
pub enum Derive<O> {
    /// The part of each record of a kind, by its id: also called when the record is no more, to take its part away.
    /// Functions of the same kind are called one after another, in the order in which they are listed: the first one
    /// replaces the part, the next ones may add to it.
    Each {
        /// The kind, see [`lath_store::Record::KIND`].
        kind: &'static str,
        /// Makes the part of one record.
        make: fn(&Cell, &View, id: &str, &mut O),
    },
    /// The part of each key of an index ([`lath_store::Record::keys`]), also called when no record has the key any more.
    Keyed {
        /// The kind.
        kind: &'static str,
        /// The index.
        index: &'static str,
        /// Makes the part of one key.
        make: fn(&Cell, &View, key: &str, &mut O),
    },
    /// A part that belongs to no one record. What it made before is still there when it is called again.
    Whole(fn(&Cell, &View, &mut O)),
}

impl<O> Clone for Derive<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Derive<O> {}

/// What there is a part for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Records(&'static str),
    Keys(&'static str, &'static str),
    Nothing,
}

impl Root {
    /// The records or keys that there are.
    fn all(self, view: &View) -> Vec<Arc<str>> {
        match self {
            Self::Records(kind) => view.ids(kind).cloned().collect(),
            Self::Keys(kind, index) => view.keys(kind, index),
            Self::Nothing => vec![Arc::from("")],
        }
    }

    /// Those that a change is about.
    fn touched(self, changed: &Changed) -> Vec<Arc<str>> {
        match self {
            Self::Records(kind) if kind == changed.kind => vec![Arc::clone(&changed.id)],
            Self::Keys(kind, index) if kind == changed.kind => {
                let keys = changed.keys.iter().filter(|(of, _)| *of == index);
                keys.map(|(_, key)| Arc::from(key.as_str())).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Functions of one root.
struct Group<O> {
    root: Root,
    each: Vec<fn(&Cell, &View, &str, &mut O)>,
    whole: Option<fn(&Cell, &View, &mut O)>,
}

/// One part: its group, and the record's id in it.
type Part = (usize, Arc<str>);

/// Something derived, and what each part of it was derived of.
pub struct Derived<O> {
    cell: Cell,
    groups: Vec<Group<O>>,
    /// `None` before the first time.
    view: Option<View>,
    value: O,
    reads: HashMap<Part, BTreeSet<Read>>,
    readers: HashMap<Read, BTreeSet<Part>>,
}

impl<O> Derived<O> {
    /// Nothing is derived yet; `value` is what there is before.
    pub fn new(cell: &Cell, derive: &[Derive<O>], value: O) -> Self {
        Self {
            cell: cell.clone(),
            groups: groups(derive),
            view: None,
            value,
            reads: HashMap::new(),
            readers: HashMap::new(),
        }
    }

    /// What was derived last.
    pub fn value(&self) -> &O {
        &self.value
    }

    /// What was derived last, for what the caller adds to it.
    pub fn value_mut(&mut self) -> &mut O {
        &mut self.value
    }

    /// Derives of this state. What it costs is what changed since the last one, and what read that.
    pub fn follow(&mut self, view: &View) -> &O {
        let due = match &self.view {
            None => self.everything(view),
            Some(before) => self.due(view, before),
        };
        let (watched, reads) = view.watched();
        for part in due {
            self.make(part, &watched, &reads);
        }
        self.view = Some(view.clone());
        &self.value
    }

    fn everything(&self, view: &View) -> BTreeSet<Part> {
        let mut all = BTreeSet::new();
        for (number, group) in self.groups.iter().enumerate() {
            all.extend(group.root.all(view).into_iter().map(|id| (number, id)));
        }
        all
    }

    /// In the order of the groups.
    fn due(&self, view: &View, before: &View) -> BTreeSet<Part> {
        let mut due = BTreeSet::new();
        for changed in view.changes_since(before) {
            for (number, group) in self.groups.iter().enumerate() {
                let touched = group.root.touched(&changed);
                due.extend(touched.into_iter().map(|id| (number, id)));
            }
            for read in changed.seen_by() {
                due.extend(self.readers.get(&read).into_iter().flatten().cloned());
            }
        }
        due
    }

    fn make(&mut self, part: Part, view: &View, reads: &Reads) {
        let (number, id) = &part;
        let group = &self.groups[*number];
        for make in &group.each {
            make(&self.cell, view, id, &mut self.value);
        }
        if let Some(make) = group.whole {
            make(&self.cell, view, &mut self.value);
        }
        let root = group.root;
        let read = reads.take();
        // A part whose record is no more is made again when the record comes back, and not before.
        let gone = match root {
            Root::Records(kind) => !view.contains(kind, id),
            Root::Keys(..) | Root::Nothing => false,
        };
        reads.take();
        self.remember(part, if gone { BTreeSet::new() } else { read });
    }

    fn remember(&mut self, part: Part, read: BTreeSet<Read>) {
        let known = self.reads.get(&part);
        let former: Vec<Read> = known
            .into_iter()
            .flatten()
            .filter(|it| !read.contains(*it))
            .cloned()
            .collect();
        for it in former {
            if let Some(readers) = self.readers.get_mut(&it) {
                readers.remove(&part);
                if readers.is_empty() {
                    self.readers.remove(&it);
                }
            }
        }
        let new = read
            .iter()
            .filter(|it| known.is_none_or(|known| !known.contains(*it)));
        for it in new {
            let readers = self.readers.entry(it.clone()).or_default();
            readers.insert(part.clone());
        }
        if read.is_empty() {
            self.reads.remove(&part);
        } else {
            self.reads.insert(part, read);
        }
    }
}

/// Derives all of it once.
pub fn derive_all<O: Default>(cell: &Cell, derive: &[Derive<O>], view: &View) -> O {
    let mut value = O::default();
    derive_into(cell, derive, view, &mut value);
    value
}

/// Derives all of it once, over what is there.
pub fn derive_into<O>(cell: &Cell, derive: &[Derive<O>], view: &View, value: &mut O) {
    for group in groups(derive) {
        for id in group.root.all(view) {
            for make in &group.each {
                make(cell, view, &id, value);
            }
        }
        if let Some(make) = group.whole {
            make(cell, view, value);
        }
    }
}

fn groups<O>(derive: &[Derive<O>]) -> Vec<Group<O>> {
    let mut groups: Vec<Group<O>> = Vec::new();
    for one in derive {
        let (root, make) = match *one {
            Derive::Each { kind, make } => (Root::Records(kind), make),
            Derive::Keyed { kind, index, make } => (Root::Keys(kind, index), make),
            Derive::Whole(make) => {
                groups.push(Group {
                    root: Root::Nothing,
                    each: Vec::new(),
                    whole: Some(make),
                });
                continue;
            }
        };
        match groups.iter_mut().find(|group| group.root == root) {
            Some(group) => group.each.push(make),
            None => groups.push(Group {
                root,
                each: vec![make],
                whole: None,
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use lath_store::{Record, StoreError};
    use std::collections::BTreeMap;

    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Room {
        name: String,
    }

    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Lamp {
        id: u32,
        room: String,
        watts: u32,
    }

    impl Record for Room {
        const KIND: &'static str = "room";
        fn id(&self) -> String {
            self.name.clone()
        }
    }

    impl Record for Lamp {
        const KIND: &'static str = "lamp";
        fn id(&self) -> String {
            self.id.to_string()
        }
        fn keys(&self) -> Vec<(&'static str, String)> {
            vec![("room", self.room.clone())]
        }
    }

    /// What each room draws, and how often something was derived.
    #[derive(Debug, Default, PartialEq)]
    struct House {
        rooms: BTreeMap<String, u32>,
        circuits: BTreeMap<String, usize>,
        total: u32,
        work: u32,
    }

    fn room(_: &Cell, view: &View, id: &str, house: &mut House) {
        house.work += 1;
        house.rooms.remove(id);
        if view.get::<Room>(id).is_some() {
            let watts = view.by::<Lamp>("room", id).map(|lamp| lamp.watts).sum();
            house.rooms.insert(id.into(), watts);
        }
    }

    fn total(_: &Cell, view: &View, house: &mut House) {
        house.work += 1;
        house.total = view.list::<Lamp>().map(|lamp| lamp.watts).sum();
    }

    fn circuit(_: &Cell, view: &View, key: &str, house: &mut House) {
        house.work += 1;
        let lamps = view.by::<Lamp>("room", key).count();
        house.circuits.remove(key);
        if lamps > 0 {
            house.circuits.insert(key.into(), lamps);
        }
    }

    const HOUSE: [Derive<House>; 3] = [
        Derive::Keyed {
            kind: "lamp",
            index: "room",
            make: circuit,
        },
        Derive::Each {
            kind: "room",
            make: room,
        },
        Derive::Whole(total),
    ];

    async fn put<R: Record + Clone>(cell: &Cell, records: &[R]) {
        let write = cell.db.write(|tx| {
            for record in records {
                tx.put(record.clone());
            }
            Ok::<_, StoreError>(())
        });
        write.await.unwrap();
    }

    fn lamp(id: u32, room: &str, watts: u32) -> Lamp {
        let room = room.to_owned();
        Lamp { id, room, watts }
    }

    /// Random changes: what is kept up is what is derived of nothing.
    #[tokio::test]
    async fn what_is_kept_up_is_what_all_of_it_comes_to() {
        let (cell, _) = Cell::for_test();
        let mut derived = Derived::new(&cell, &HOUSE, House::default());
        let mut random = 7_u32;
        for step in 0..400 {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let (id, name) = (
                random >> 8 & 31,
                ["hall", "bath", "attic"][(random >> 16) as usize % 3],
            );
            let write = cell.db.write(|tx| {
                match random >> 24 & 7 {
                    0 => drop(tx.delete::<Room>(name)),
                    1 | 2 => drop(tx.put(Room { name: name.into() })),
                    3 => drop(tx.delete::<Lamp>(&id.to_string())),
                    _ => drop(tx.put(lamp(id, name, step))),
                }
                Ok::<_, StoreError>(())
            });
            write.await.unwrap();
            if step % 3 == 0 {
                let view = cell.db.view();
                let all = derive_all(&cell, &HOUSE, &view);
                let kept = derived.follow(&view);
                let parts = |it: &House| (it.rooms.clone(), it.circuits.clone(), it.total);
                assert_eq!(parts(kept), parts(&all), "{step}");
            }
        }
    }

    #[tokio::test]
    async fn a_change_costs_what_read_it() {
        let (cell, _) = Cell::for_test();
        let rooms: Vec<Room> = (0..1000)
            .map(|n| Room {
                name: n.to_string(),
            })
            .collect();
        let lamps: Vec<Lamp> = (0..1000).map(|n| lamp(n, &n.to_string(), 1)).collect();
        put(&cell, &rooms).await;
        put(&cell, &lamps).await;
        let mut derived = Derived::new(&cell, &HOUSE, House::default());
        assert_eq!(derived.follow(&cell.db.view()).work, 2001);
        derived.follow(&cell.db.view());
        assert_eq!(derived.value().work, 2001, "nothing changed");
        put(&cell, &[lamp(5, "6", 1)]).await;
        let house = derived.follow(&cell.db.view());
        assert_eq!(
            house.work,
            2001 + 5,
            "the old room and circuit, the new ones, the sum"
        );
        assert_eq!((house.rooms["5"], house.rooms["6"]), (0, 2));
    }
}
