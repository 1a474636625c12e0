//! How often a place may be compared with its plan because others disturb it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::plan::NamespaceRef;

/// The time between two comparisons of a place that is disturbed all the time.
const EVERY: Duration = Duration::from_secs(1);
/// So many comparisons of a place that was left alone before may follow each other at once.
const BURST: u32 = 4;

/// The generic cell rate algorithm, for each place.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When each place has its whole burst again.
    spent: BTreeMap<NamespaceRef, Instant>,
    /// Disturbed places that must wait.
    held: BTreeSet<NamespaceRef>,
}

impl Pace {
    /// Takes disturbed places; those that may be compared now, of earlier ones too.
    pub(super) fn pass(
        &mut self,
        places: BTreeSet<NamespaceRef>,
        now: Instant,
    ) -> BTreeSet<NamespaceRef> {
        self.held.extend(places);
        self.spent
            .retain(|place, until| *until > now || self.held.contains(place));
        let spent = &mut self.spent;
        let due = self.held.extract_if(.., |place| {
            let until = spent.get(place).copied().unwrap_or(now).max(now);
            let passes = until <= now + EVERY * (BURST - 1);
            if passes {
                spent.insert(place.clone(), until + EVERY);
            }
            passes
        });
        due.collect()
    }

    /// When a place that waits may be compared.
    pub(super) fn next(&self) -> Option<Instant> {
        let ends = self.held.iter().filter_map(|place| self.spent.get(place));
        let ends = ends.filter_map(|until| until.checked_sub(EVERY * (BURST - 1)));
        ends.min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_disturbed_all_the_time_is_compared_now_and_then() {
        let start = Instant::now();
        let noisy = NamespaceRef::Named("vpc-1".into());
        let quiet = NamespaceRef::Named("vpc-2".into());
        let mut pace = Pace::default();
        let mut passed = 0;
        for tick in 0..1000u64 {
            let now = start + Duration::from_millis(10 * tick);
            passed += pace.pass([noisy.clone()].into(), now).len();
        }
        assert_eq!(passed, 4 + 9, "in ten seconds");
        let now = start + Duration::from_millis(9995);
        let both = pace.pass([noisy.clone(), quiet.clone()].into(), now);
        assert!(both.contains(&quiet), "another place does not wait");
        let due = pace.next().unwrap();
        assert!(due > now && due <= now + EVERY);
        assert_eq!(pace.pass(BTreeSet::new(), due), [noisy.clone()].into());
        assert_eq!(pace.next(), None);
        let later = due + EVERY * BURST;
        for _ in 0..BURST {
            assert_eq!(pace.pass([noisy.clone()].into(), later).len(), 1);
        }
        assert!(pace.pass([noisy].into(), later).is_empty());
    }
}
