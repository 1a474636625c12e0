//! Rate limits of rules: token buckets, kept as the time when each is full again (the generic cell rate algorithm).
//!
//! All threads of a node share a bucket. One for all requests is an atomic number; buckets by key are in a table of few
//! locks, with a bound on their number: a bucket that is full again is forgotten, and one that is nearly full goes before others.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use lath_model::traffic::{RateKey, RateLimit, RateScope};

/// Locks of a limit's table.
const SHARDS: usize = 16;
/// Buckets under each lock: of a limit, 16,384 keys have one.
const MOST_IN_SHARD: usize = 1024;
/// Buckets that are looked at when one has to go.
const LOOKS: usize = 16;

/// A limit, and what came of it.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) source: RateLimit,
    /// Nanoseconds that a request takes up.
    interval: u64,
    since: Instant,
    /// Among how many it is divided.
    shares: AtomicU32,
    all: AtomicU64,
    by_key: Box<[Mutex<HashMap<u64, u64>>]>,
    hasher: RandomState,
    pub(crate) refused: AtomicU64,
}

/// A bucket of a limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BucketIndex(u64);

/// What a limit says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Requests at once after a quiet time.
    most: u32,
    left: u32,
    /// Until the bucket is full again.
    reset: Duration,
    /// How long to wait, for a request that is refused.
    pub(crate) wait: Option<Duration>,
}

impl Limiter {
    pub(crate) fn new(source: &RateLimit) -> Self {
        let nanos = source.per.as_nanos() / u128::from(source.requests.max(1));
        let shards = match source.key {
            RateKey::All => 0,
            _ => SHARDS,
        };
        Self {
            source: source.clone(),
            interval: u64::try_from(nanos).unwrap_or(u64::MAX).max(1),
            since: Instant::now(),
            shares: AtomicU32::new(1),
            all: AtomicU64::new(0),
            by_key: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            refused: AtomicU64::new(0),
        }
    }

    /// Divides a global limit among so many.
    pub(crate) fn divide(&self, among: u32) {
        if self.source.scope == RateScope::Global {
            self.shares.store(among.max(1), Relaxed);
        }
    }

    /// The bucket of a request. `key` is whose it is, where that counts.
    pub(crate) fn place(&self, key: impl Hash) -> BucketIndex {
        BucketIndex(match self.by_key.len() {
            0 => 0,
            _ => self.hasher.hash_one(key),
        })
    }

    /// Takes a request in, or refuses it.
    pub(crate) fn take(&self, place: BucketIndex, now: Instant) -> Reading {
        let now = now.saturating_duration_since(self.since).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX / 2);
        let bucket = self.bucket();
        let reading = match self.by_key.len() {
            0 => {
                let mut reading = None;
                let _ = self.all.fetch_update(Relaxed, Relaxed, |full| {
                    let (next, it) = bucket.take(full, now);
                    reading = Some(it);
                    next
                });
                reading.unwrap_or_else(|| bucket.take(0, now).1)
            }
            _ => self.take_keyed(&bucket, place.0, now),
        };
        if reading.wait.is_some() {
            self.refused.fetch_add(1, Relaxed);
        }
        reading
    }

    fn take_keyed(&self, bucket: &Bucket, hash: u64, now: u64) -> Reading {
        let mut shard = self.shard(hash);
        let (next, reading) = bucket.take(shard.get(&hash).copied().unwrap_or(0), now);
        if let Some(next) = next {
            if shard.len() >= MOST_IN_SHARD && !shard.contains_key(&hash) {
                make_room(&mut shard, now);
            }
            shard.insert(hash, next);
        }
        reading
    }

    /// Gives back what a request took, because another limit refuses it.
    pub(crate) fn give_back(&self, BucketIndex(hash): BucketIndex) {
        let interval = self.bucket().interval;
        let less = |full: u64| full.saturating_sub(interval);
        if self.by_key.is_empty() {
            let _ = self
                .all
                .fetch_update(Relaxed, Relaxed, |full| Some(less(full)));
        } else if let Some(full) = self.shard(hash).get_mut(&hash) {
            *full = less(*full);
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashMap<u64, u64>> {
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        self.by_key[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn bucket(&self) -> Bucket {
        let shares = self.shares.load(Relaxed);
        Bucket {
            interval: self.interval.saturating_mul(shares.into()),
            burst: (self.source.burst / shares).max(1),
        }
    }

    /// Keys that have a bucket now.
    #[cfg(test)]
    fn keys(&self) -> usize {
        self.by_key.iter().map(|it| it.lock().unwrap().len()).sum()
    }
}

/// Forgets what is full again; else, of a few, the one that is full soonest.
fn make_room(shard: &mut HashMap<u64, u64>, now: u64) {
    shard.retain(|_, full| *full > now);
    if shard.len() >= MOST_IN_SHARD {
        let soonest = shard.iter().take(LOOKS).min_by_key(|(_, full)| **full);
        if let Some(key) = soonest.map(|(key, _)| *key) {
            shard.remove(&key);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    interval: u64,
    burst: u32,
}

impl Bucket {
    /// When it is full after one more request, unless there is no room for that.
    fn take(self, full: u64, now: u64) -> (Option<u64>, Reading) {
        let capacity = self.interval.saturating_mul(self.burst.into());
        let used = full.saturating_sub(now);
        let after = used.saturating_add(self.interval);
        let reading = |used: u64, wait| Reading {
            most: self.burst,
            left: u32::try_from((capacity - used.min(capacity)) / self.interval).unwrap_or(0),
            reset: Duration::from_nanos(used),
            wait,
        };
        match after <= capacity {
            true => (Some(now.saturating_add(after)), reading(after, None)),
            false => {
                let wait = Duration::from_nanos(after - capacity);
                (None, reading(used, Some(wait)))
            }
        }
    }
}

impl Reading {
    /// Of two, the one that a client should heed.
    pub(crate) fn tighter(self, other: Self) -> Self {
        match (other.wait, other.left) < (self.wait, self.left) {
            true if self.wait.is_none() => other,
            _ => self,
        }
    }

    /// What answers say of it, as
    /// <https://www.ietf.org/archive/id/draft-polli-ratelimit-headers-03.html> and Envoy name it.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        let number = |count: u64| HeaderValue::from(count);
        for (name, value) in [
            ("x-ratelimit-limit", self.most.into()),
            ("x-ratelimit-remaining", self.left.into()),
            ("x-ratelimit-reset", seconds(self.reset)),
        ] {
            headers.insert(HeaderName::from_static(name), number(value));
        }
        if let Some(wait) = self.wait {
            headers.insert(RETRY_AFTER, number(seconds(wait).max(1)));
        }
    }
}

/// Whole seconds, upwards.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests: u32, burst: u32, key: RateKey) -> RateLimit {
        RateLimit {
            name: None,
            requests,
            per: Duration::from_secs(1),
            burst,
            key,
            scope: RateScope::Global,
        }
    }

    #[test]
    fn a_bucket_holds_its_burst_and_fills_with_time() {
        let limiter = Limiter::new(&limit(10, 5, RateKey::All));
        let begin = limiter.since + Duration::from_secs(100);
        let take = |at: u64| {
            let at = begin + Duration::from_millis(at);
            let taken = (0..100).filter(|_| limiter.take(limiter.place(()), at).wait.is_none());
            taken.count()
        };
        assert_eq!(take(0), 5);
        assert_eq!(take(99), 0);
        assert_eq!(take(100), 1);
        assert_eq!(take(300), 2);
        assert_eq!(take(60_000), 5, "no more than the burst");
        let refused = limiter.take(limiter.place(()), begin + Duration::from_millis(60_000));
        let mut headers = HeaderMap::new();
        refused.add_to(&mut headers);
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(text("retry-after"), "1");
        assert_eq!(text("x-ratelimit-limit"), "5");
        assert_eq!(text("x-ratelimit-remaining"), "0");
        assert_eq!(text("x-ratelimit-reset"), "1");
    }

    #[test]
    fn shares_of_a_global_limit_make_the_limit() {
        let limiter = Limiter::new(&limit(10, 10, RateKey::All));
        limiter.divide(2);
        let begin = limiter.since + Duration::from_secs(100);
        let take = |at: Duration| {
            (0..100)
                .filter(|_| limiter.take(limiter.place(()), begin + at).wait.is_none())
                .count()
        };
        assert_eq!(take(Duration::ZERO), 5);
        assert_eq!(take(Duration::from_secs(1)), 5);
        limiter.divide(1);
        assert_eq!(take(Duration::from_secs(60)), 10);
    }

    #[test]
    fn keys_have_buckets_of_their_own_and_their_number_has_a_bound() {
        let limiter = Limiter::new(&limit(1, 1, RateKey::SourceAddress));
        let now = limiter.since + Duration::from_secs(100);
        for key in 0..100_000_u32 {
            assert_eq!(limiter.take(limiter.place(key), now).wait, None);
        }
        assert!(limiter.keys() <= SHARDS * MOST_IN_SHARD);
        assert!(limiter.take(limiter.place(99_999_u32), now).wait.is_some());
        let later = now + Duration::from_secs(2);
        for key in 0..1000_u32 {
            assert_eq!(limiter.take(limiter.place(key), later).wait, None);
        }
        assert!(limiter.keys() <= SHARDS * MOST_IN_SHARD);
    }

    #[test]
    fn what_is_given_back_is_there_again() {
        for key in [RateKey::All, RateKey::Principal] {
            let limiter = Limiter::new(&limit(1, 2, key));
            let now = limiter.since + Duration::from_secs(100);
            let place = limiter.place("one");
            assert_eq!(limiter.take(place, now).left, 1);
            assert_eq!(limiter.take(place, now).left, 0);
            assert!(limiter.take(place, now).wait.is_some());
            limiter.give_back(place);
            assert_eq!(limiter.take(place, now).left, 0);
            assert!(limiter.take(place, now).wait.is_some());
            // A bucket that is full stays so.
            limiter.give_back(limiter.place("other"));
            let later = now + Duration::from_secs(60);
            limiter.give_back(place);
            assert_eq!(limiter.take(place, later).left, 1);
        }
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let limiter = Limiter::new(&limit(1, 100, RateKey::All));
        let now = limiter.since + Duration::from_secs(100);
        let taken = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let own =
                        (0..100).filter(|_| limiter.take(limiter.place(()), now).wait.is_none());
                    taken.fetch_add(u32::try_from(own.count()).unwrap(), Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 100);
    }
}
