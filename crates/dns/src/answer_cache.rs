//! What other resolvers said of names that the data plane itself asks for again and again: it holds for as long as they said,
//! and for longer while none of them answers (RFC 8767).

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::rr::Name;

/// The most names. Those that were asked for the longest ago make room.
const MOST: usize = 1024;

/// The longest that an answer holds, whatever it says: what a target's owner changes is seen within this time.
const LONGEST: Duration = Duration::from_secs(300);

/// How old an answer may be that stands in for one that does not come: "1 to 3 days" (RFC 8767, 5).
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Addresses by name.
#[derive(Default)]
pub(crate) struct AnswerCache(Mutex<HashMap<Name, Answer>>);

struct Answer {
    addresses: Vec<Ipv4Addr>,
    at: Instant,
    holds: Duration,
}

impl AnswerCache {
    fn all(&self) -> MutexGuard<'_, HashMap<Name, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer, if it has addresses.
    pub(crate) fn keep(&self, name: &Name, addresses: &[Ipv4Addr], ttl: u32, now: Instant) {
        let mut all = self.all();
        let name = name.to_lowercase();
        if addresses.is_empty() {
            all.remove(&name);
            return;
        }
        if all.len() >= MOST && !all.contains_key(&name) {
            let oldest = all.iter().min_by_key(|(_, it)| it.at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                all.remove(&oldest);
            }
        }
        let answer = Answer {
            addresses: addresses.to_vec(),
            at: now,
            holds: Duration::from_secs(ttl.into()).min(LONGEST),
        };
        all.insert(name, answer);
    }

    /// What holds. Each time another of several addresses is the first, as resolvers do it.
    pub(crate) fn fresh(&self, name: &Name, now: Instant) -> Option<Vec<Ipv4Addr>> {
        self.younger(name, now, |it| it.holds)
    }

    /// Earlier answers, for when no resolver answers.
    pub(crate) fn stale(&self, name: &Name, now: Instant) -> Option<Vec<Ipv4Addr>> {
        self.younger(name, now, |_| STALE)
    }

    fn younger(
        &self,
        name: &Name,
        now: Instant,
        than: impl Fn(&Answer) -> Duration,
    ) -> Option<Vec<Ipv4Addr>> {
        let mut all = self.all();
        let answer = all.get_mut(&name.to_lowercase())?;
        let age = now.saturating_duration_since(answer.at);
        if age >= than(answer) {
            return None;
        }
        answer.addresses.rotate_left(1);
        Some(answer.addresses.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn an_answer_holds_for_as_long_as_it_says_and_longer_where_none_comes() {
        let (cache, now) = (AnswerCache::default(), Instant::now());
        let address = [Ipv4Addr::new(10, 0, 0, 1)];
        cache.keep(&name("db.test."), &address, 30, now);
        cache.keep(&name("long.test."), &address, 1_000_000, now);
        cache.keep(&name("zero.test."), &address, 0, now);
        for (asked, after, fresh, stale) in [
            ("db.test.", 29, true, true),
            ("DB.Test.", 29, true, true),
            ("db.test.", 30, false, true),
            ("long.test.", 299, true, true),
            ("long.test.", 300, false, true),
            ("zero.test.", 0, false, true),
            ("db.test.", 24 * 3600, false, false),
            ("other.test.", 0, false, false),
        ] {
            let (asked, then) = (name(asked), now + Duration::from_secs(after));
            let got = (cache.fresh(&asked, then), cache.stale(&asked, then));
            let got = (got.0.is_some(), got.1.is_some());
            assert_eq!(got, (fresh, stale), "{asked} after {after} s");
        }
        cache.keep(&name("db.test."), &[], 30, now);
        assert_eq!(cache.stale(&name("db.test."), now), None, "it has no more");
    }

    #[test]
    fn several_addresses_take_turns() {
        let (cache, now) = (AnswerCache::default(), Instant::now());
        let all = [1, 2, 3].map(|last| Ipv4Addr::new(10, 0, 0, last));
        cache.keep(&name("db.test."), &all, 30, now);
        let first = |_| cache.fresh(&name("db.test."), now).unwrap()[0];
        let mut seen: Vec<_> = (0..3).map(first).collect();
        seen.sort();
        assert_eq!(seen, all);
    }

    #[test]
    fn names_have_a_bound() {
        let (cache, now) = (AnswerCache::default(), Instant::now());
        let address = [Ipv4Addr::new(10, 0, 0, 1)];
        for index in 0..MOST + 10 {
            let at = now + Duration::from_millis(index as u64);
            cache.keep(&name(&format!("n{index}.test.")), &address, 30, at);
        }
        assert_eq!(cache.all().len(), MOST);
        assert_eq!(cache.stale(&name("n9.test."), now), None);
        assert!(cache.stale(&name("n10.test."), now).is_some());
    }
}
