use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;

use bytes::Bytes;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use lath_feed::{Mesh, PeerState, Values, section_of};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use tracing::Instrument as _;

use crate::{Cell, Derive, Derived};

/// What a region tells of one section, in parts that change each for itself. A section of one part calls it `""`.
pub type Parts = OrdMap<String, Bytes>;

/// A part of a region's state that other regions hold a copy of. The importer stores it in records of its
/// own kinds, so that it outlives the exporter and every reader finds it in the [`View`].
#[derive(Clone, Copy)]
pub struct Section {
    /// Unique among sections, and for ever the same. No slash in it.
    pub name: &'static str,
    /// What this region tells: the same bytes for the same state, no parts where it has none to tell.
    pub export: &'static [Derive<Parts>],
    /// Makes what is held of `region`'s part be so. Nothing is changed on an error.
    pub import: fn(&Cell, &mut Tx, region: &str, told: &Told) -> Result<(), ApiError>,
}

/// What another region exports of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Whether it is all of it. Otherwise it is what changed since what was imported last.
    pub whole: bool,
    /// The parts; `None` is one that is no more.
    pub parts: BTreeMap<String, Option<Bytes>>,
}

impl Told {
    /// The bytes of a section that has one part alone.
    pub fn only(&self) -> Option<&Bytes> {
        self.parts.get("")?.as_ref()
    }
}

/// Makes a section of one part be these bytes, or nothing.
pub fn set_only(parts: &mut Parts, bytes: Option<Vec<u8>>) {
    match bytes {
        Some(bytes) => drop(parts.insert(String::new(), bytes.into())),
        None => drop(parts.remove("")),
    }
}

/// Tells the other regions this one's sections and takes theirs, until the database is gone.
pub async fn exchange(cell: Cell, sections: Vec<Section>, mesh: Mesh) {
    let mut changes = cell.db.changes();
    let mut peers = mesh.peers();
    let mut exports: Vec<Export> = sections.iter().map(|it| Export::new(&cell, it)).collect();
    let mut imports: BTreeMap<String, Import> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        let view = cell.db.view();
        for export in &mut exports {
            export.publish(&view, &mesh);
        }
        drop(view);
        let known = peers.borrow_and_update().clone();
        for (region, peer) in known.iter() {
            let import = imports.entry(region.clone()).or_default();
            import.take(&cell, &sections, region, peer).await;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = async { if peers.changed().await.is_err() { pending::<()>().await } } => {}
        }
    }
}

/// One section on its way out.
struct Export {
    name: &'static str,
    derived: Derived<Parts>,
    published: Parts,
}

impl Export {
    fn new(cell: &Cell, section: &Section) -> Self {
        Self {
            name: section.name,
            derived: Derived::new(cell, section.export, Parts::new()),
            published: Parts::new(),
        }
    }

    fn publish(&mut self, view: &View, mesh: &Mesh) {
        let now = self.derived.follow(view).clone();
        let changes = self.published.diff(&now).map(|item| match item {
            DiffItem::Add(part, bytes) => (topic(self.name, part), Some(bytes.clone())),
            DiffItem::Update { new, .. } => (topic(self.name, new.0), Some(new.1.clone())),
            DiffItem::Remove(part, _) => (topic(self.name, part), None),
        });
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            mesh.update(changes);
        }
        self.published = now;
    }
}

/// The topic of a section's part.
fn topic(section: &str, part: &str) -> String {
    if part.is_empty() {
        return section.to_owned();
    }
    format!("{section}/{part}")
}

fn part_of(topic: &str) -> &str {
    topic.split_once('/').map_or("", |(_, part)| part)
}

/// What was taken of one region.
#[derive(Default)]
struct Import {
    values: Values,
    /// Sections of which something was taken since the start, all of it.
    followed: BTreeSet<&'static str>,
}

impl Import {
    async fn take(&mut self, cell: &Cell, sections: &[Section], region: &str, peer: &PeerState) {
        let changed = self.changed(&peer.values);
        for section in sections {
            let follows = self.followed.contains(section.name);
            let told = match changed.get(section.name) {
                Some(parts) if follows => Told {
                    whole: false,
                    parts: parts.clone(),
                },
                None if follows => continue,
                _ => whole(section.name, &peer.values),
            };
            if told.parts.is_empty() {
                continue;
            }
            if take(cell, section, region, &told).await {
                self.followed.insert(section.name);
            } else {
                // With the next change all of it is tried.
                self.followed.remove(section.name);
            }
        }
        self.values = peer.values.clone();
    }

    /// What differs from what was taken, by section.
    fn changed(&self, now: &Values) -> BTreeMap<String, BTreeMap<String, Option<Bytes>>> {
        let mut changed: BTreeMap<String, BTreeMap<String, Option<Bytes>>> = BTreeMap::new();
        for item in self.values.diff(now) {
            let (topic, bytes) = match item {
                DiffItem::Add(topic, bytes) => (topic, Some(bytes)),
                DiffItem::Update { new, .. } => (new.0, Some(new.1)),
                DiffItem::Remove(topic, _) => (topic, None),
            };
            let parts = changed.entry(section_of(topic).to_owned()).or_default();
            parts.insert(part_of(topic).to_owned(), bytes.cloned());
        }
        changed
    }
}

fn whole(section: &str, values: &Values) -> Told {
    let from = section.to_owned();
    let of_section = values.range(from..);
    let of_section = of_section.take_while(|(topic, _)| topic.starts_with(section));
    let parts = of_section.filter(|(topic, _)| section_of(topic) == section);
    Told {
        whole: true,
        parts: parts
            .map(|(topic, bytes)| (part_of(topic).to_owned(), Some(bytes.clone())))
            .collect(),
    }
}

/// Whether it was taken; what could not be is tried again with the next change.
async fn take(cell: &Cell, section: &Section, region: &str, told: &Told) -> bool {
    let span = tracing::error_span!("exchange", peer = region, section = section.name);
    let taking = async {
        let import = cell
            .db
            .write(|tx| (section.import)(cell, tx, region, told))
            .await;
        if let Err(error) = &import {
            tracing::error!(%error, cause = ?error.cause, "another region's state could not be taken");
        }
        import.is_ok()
    };
    taking.instrument(span).await
}
