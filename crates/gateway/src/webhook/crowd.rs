//! A bounded number of places that many peers want: when all are taken, the peer that has the most gives up its oldest one. So one
//! peer, however many it takes, leaves room for the others.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a guest does with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Does {
    /// Nothing: the first to be asked to leave.
    Waits,
    /// It says something, which may take its time.
    Speaks,
    /// It gets an answer, which takes no time: it is let finish.
    Hears,
}

struct Entry {
    peer: IpAddr,
    does: Does,
    /// Since when, as a number that grows.
    since: u64,
    leave: Arc<Notify>,
}

#[derive(Default)]
struct Entries {
    all: BTreeMap<u64, Entry>,
    clock: u64,
}

impl Entries {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Who has to leave for another.
    fn chosen(&self) -> Option<u64> {
        let movable = || self.all.iter().filter(|(_, it)| it.does != Does::Hears);
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (_, entry) in movable() {
            *counts.entry(entry.peer).or_default() += 1;
        }
        let (peer, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let of_peer = movable().filter(|(_, it)| it.peer == peer);
        let oldest = of_peer.min_by_key(|(_, it)| (it.does, it.since));
        oldest.map(|(number, _)| *number)
    }
}

/// The places.
pub(crate) struct Crowd {
    limit: usize,
    entries: Mutex<Entries>,
}

impl Crowd {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            entries: Mutex::default(),
        })
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. It may be one too many only while all others get answers.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr, does: Does) -> Guest {
        let mut entries = self.entries();
        if entries.all.len() >= self.limit
            && let Some(number) = entries.chosen()
            && let Some(entry) = entries.all.remove(&number)
        {
            entry.leave.notify_one();
        }
        let number = entries.tick();
        let leave = Arc::<Notify>::default();
        let entry = Entry {
            peer,
            does,
            since: number,
            leave: Arc::clone(&leave),
        };
        entries.all.insert(number, entry);
        drop(entries);
        Guest {
            crowd: Arc::clone(self),
            number,
            leave,
        }
    }
}

/// A place that is taken, as long as this lives.
pub(crate) struct Guest {
    crowd: Arc<Crowd>,
    number: u64,
    leave: Arc<Notify>,
}

impl Guest {
    /// Says what is done with the place from now on.
    pub(crate) fn does(&self, does: Does) {
        let mut entries = self.crowd.entries();
        let since = entries.tick();
        if let Some(entry) = entries.all.get_mut(&self.number) {
            (entry.does, entry.since) = (does, since);
        }
    }

    /// Is done when another gets the place.
    pub(crate) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.crowd.entries().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn left(guest: &Guest) -> bool {
        guest.has_to_leave().now_or_never().is_some()
    }

    #[test]
    fn who_has_the_most_places_gives_up_the_oldest_that_waits() {
        let [greedy, modest] = ["10.0.0.1", "10.0.0.2"].map(|it| it.parse().unwrap());
        let crowd = Crowd::new(4);
        let one = crowd.enter(modest, Does::Waits);
        let first = crowd.enter(greedy, Does::Speaks);
        let second = crowd.enter(greedy, Does::Waits);
        let third = crowd.enter(greedy, Does::Waits);
        let two = crowd.enter(modest, Does::Waits);
        assert_eq!(
            [&first, &second, &third, &one].map(left),
            [false, true, false, false]
        );
        // What is answered stays, also when there is nothing else.
        for it in [&one, &first, &third, &two] {
            it.does(Does::Hears);
        }
        let more = crowd.enter(greedy, Does::Waits);
        assert_eq!([&one, &first, &third, &two].map(left), [false; 4]);
        drop([one, first, third, two, second]);
        assert_eq!(crowd.entries().all.len(), 1);
        assert!(!left(&more));
    }
}
