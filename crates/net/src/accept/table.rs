//! Who has how many connections, and who must give one up: no I/O, no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::slot::Entry;
use super::{ConnectionLimits, Source};
use crate::Place;

/// So many of the heaviest are looked at for something idle.
const LOOKED_AT: usize = 8;

/// What becomes of a newcomer.
#[derive(Debug)]
pub(super) enum Admission {
    Admitted,
    /// Admitted; this one is out of the table, and must be evicted.
    InsteadOf(Arc<Entry>),
    Refused,
}

/// All connections of an acceptor.
#[derive(Debug)]
pub(super) struct Table {
    limits: ConnectionLimits,
    count: usize,
    groups: HashMap<Place, Group>,
    by_weight: BTreeSet<(usize, Place)>,
}

/// Those of a place.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    sources: HashMap<Source, Vec<Arc<Entry>>>,
    by_weight: BTreeSet<(usize, Source)>,
}

/// Where a connection is in the table.
type Found = (Place, Source, Arc<Entry>);

impl Table {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            count: 0,
            groups: HashMap::new(),
            by_weight: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Takes a newcomer in, if need be in the place of another.
    pub(super) fn admit(
        &mut self,
        place: &Place,
        source: &Source,
        entry: &Arc<Entry>,
    ) -> Admission {
        let Some(victim) = self.victim(place, source) else {
            self.insert(place, source, entry);
            return Admission::Admitted;
        };
        let Some((its_place, its_source, victim)) = victim else {
            return Admission::Refused;
        };
        self.release(&its_place, &its_source, &victim);
        self.insert(place, source, entry);
        Admission::InsteadOf(victim)
    }

    /// Whether somebody must go for a newcomer, and who can.
    fn victim(&self, place: &Place, source: &Source) -> Option<Option<Found>> {
        let group = self.groups.get(place);
        let weight = group.map_or(0, |group| group.weight(source));
        if weight >= self.limits.per_source {
            return Some(group.and_then(|group| group.idle_of(place, source)));
        }
        let group_weight = group.map_or(0, |group| group.count);
        if group_weight >= self.limits.per_place {
            return Some(group.and_then(|group| group.victim(place, source)));
        }
        if self.count < self.limits.total {
            return None;
        }
        let others = self.victim_elsewhere(place, group_weight);
        Some(others.or_else(|| group?.victim(place, source)))
    }

    /// Something of a place with more connections than the newcomer's: idle, or else of the heaviest.
    fn victim_elsewhere(&self, place: &Place, weight: usize) -> Option<Found> {
        let heavier = || {
            let all = self.by_weight.iter().rev().take(LOOKED_AT);
            all.filter(|(its, other)| *its > weight && other != place)
        };
        let group = |place: &Place| self.groups.get(place);
        heavier()
            .find_map(|(_, place)| group(place)?.idle(place, 0))
            .or_else(|| {
                let (_, place) = heavier().find(|(its, _)| *its > weight + 1)?;
                group(place)?.heaviest(place, 0)
            })
    }

    /// Takes the connection out that has been idle for longest among those of the heaviest.
    pub(super) fn take_idle(&mut self) -> Option<Arc<Entry>> {
        let heaviest = self.by_weight.iter().rev().take(LOOKED_AT);
        let (place, source, entry) = heaviest
            .filter_map(|(_, place)| self.groups.get(place)?.idle(place, 0))
            .next()?;
        self.release(&place, &source, &entry);
        Some(entry)
    }

    fn insert(&mut self, place: &Place, source: &Source, entry: &Arc<Entry>) {
        self.weigh(place, |group| {
            group.weigh(source, |entries| entries.push(Arc::clone(entry)));
        });
    }

    /// Takes a connection out, if it is still there.
    pub(super) fn release(&mut self, place: &Place, source: &Source, entry: &Arc<Entry>) {
        self.weigh(place, |group| {
            group.weigh(source, |entries| {
                if let Some(at) = entries.iter().position(|it| Arc::ptr_eq(it, entry)) {
                    entries.swap_remove(at);
                }
            });
        });
    }

    /// Changes a group, and the counts with it.
    fn weigh(&mut self, place: &Place, change: impl FnOnce(&mut Group)) {
        let mut group = self.groups.remove(place).unwrap_or_default();
        self.by_weight.remove(&(group.count, place.clone()));
        self.count -= group.count;
        change(&mut group);
        self.count += group.count;
        if group.count > 0 {
            self.by_weight.insert((group.count, place.clone()));
            self.groups.insert(place.clone(), group);
        }
    }
}

impl Group {
    fn weight(&self, source: &Source) -> usize {
        self.sources.get(source).map_or(0, Vec::len)
    }

    /// Something of the newcomer's own source or a heavier one that is idle; or else of one that has at
    /// least two more.
    fn victim(&self, place: &Place, source: &Source) -> Option<Found> {
        let weight = self.weight(source);
        self.idle(place, weight)
            .or_else(|| self.idle_of(place, source))
            .or_else(|| self.heaviest(place, weight + 1))
    }

    /// What has been idle for longest of the heaviest sources that have more than `weight`.
    fn idle(&self, place: &Place, weight: usize) -> Option<Found> {
        let heaviest = self.by_weight.iter().rev().take(LOOKED_AT);
        let mut heavier = heaviest.take_while(|(its, _)| *its > weight);
        heavier.find_map(|(_, source)| self.idle_of(place, source))
    }

    fn idle_of(&self, place: &Place, source: &Source) -> Option<Found> {
        let entries = self.sources.get(source)?.iter();
        let idle = entries.filter_map(|entry| Some((entry.idle_since()?, entry)));
        let (_, oldest) = idle.min_by_key(|(since, _)| *since)?;
        Some((place.clone(), source.clone(), Arc::clone(oldest)))
    }

    /// The oldest, busy or not, of the heaviest source, if that has more than `weight`.
    fn heaviest(&self, place: &Place, weight: usize) -> Option<Found> {
        let (_, source) = self.by_weight.last().filter(|(its, _)| *its > weight)?;
        let oldest = self
            .sources
            .get(source)?
            .iter()
            .min_by_key(|it| it.since())?;
        Some((place.clone(), source.clone(), Arc::clone(oldest)))
    }

    /// Changes a source's connections, and the counts with it.
    fn weigh(&mut self, source: &Source, change: impl FnOnce(&mut Vec<Arc<Entry>>)) {
        let mut entries = self.sources.remove(source).unwrap_or_default();
        self.by_weight.remove(&(entries.len(), source.clone()));
        self.count -= entries.len();
        change(&mut entries);
        self.count += entries.len();
        if !entries.is_empty() {
            self.by_weight.insert((entries.len(), source.clone()));
            self.sources.insert(source.clone(), entries);
        }
    }
}
