//! Response rate limiting: an answer that goes to a forged address, which is bigger than its question, is a
//! weapon. What a client network gets by UDP is limited; of what is too much, some answers are replaced by
//! small ones that say "ask again by TCP" (which cannot be forged), and others are left out.
//!
//! One table of times without locks serves all threads of an address. Networks and names that fall on the
//! same place share it: the places are many, and where a name falls is secret.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Places for networks and names; 8 bytes each.
const PLACES: usize = 1 << 16;

/// How much more than one answer a network may have of all of them together.
const ALL: u64 = 10;

/// How long a network may have saved up for, in microseconds.
const BURST: u64 = 1_000_000;

/// TC (RFC 1035, 4.1.1), in the third byte.
const TRUNCATED: u8 = 0x02;

/// How much a client network (an IPv4 /24, an IPv6 /56) is answered by UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers a second to the same question (or negative answers and refusals of the same kind), a
    /// second's worth at once; ten times as many of all kinds. At least 1.
    pub responses_per_second: u32,
    /// Of answers beyond that, one in so many is sent truncated; the others are not sent. At least 1.
    pub slip: u32,
}

/// What is done with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Send,
    /// Sent as an empty one that leads to TCP.
    Slip,
    Drop,
}

/// What all threads of an address have sent.
#[derive(Debug)]
pub(crate) struct Limiter {
    interval: u64,
    slip: u64,
    begin: Instant,
    hasher: RandomState,
    by_answer: Box<[AtomicU64]>,
    by_network: Box<[AtomicU64]>,
    limited: AtomicU64,
}

impl Limiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        let places = || (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self {
            interval: 1_000_000 / u64::from(limit.responses_per_second.clamp(1, 1_000_000)),
            slip: u64::from(limit.slip.max(1)),
            begin: Instant::now(),
            hasher: RandomState::new(),
            by_answer: places(),
            by_network: places(),
            limited: AtomicU64::new(0),
        }
    }

    /// The time, to be asked for once for many replies.
    pub(crate) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// What to do with a reply to an address. This machine's own clients are not limited: no other
    /// host can use their addresses.
    pub(crate) fn judge(&self, to: IpAddr, reply: &[u8], now: Duration) -> Outcome {
        if to.to_canonical().is_loopback() {
            return Outcome::Send;
        }
        // Never 0, which is a place that was not used yet.
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX) + BURST;
        let network = network(to);
        let fine = take(
            self.place(&self.by_answer, network, kind(reply)),
            now,
            self.interval,
        ) && take(
            self.place(&self.by_network, network, &[]),
            now,
            self.interval / ALL,
        );
        if fine {
            return Outcome::Send;
        }
        match self.limited.fetch_add(1, Relaxed) % self.slip {
            0 => Outcome::Slip,
            _ => Outcome::Drop,
        }
    }

    fn place<'a>(&self, places: &'a [AtomicU64], network: u64, kind: &[u8]) -> &'a AtomicU64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(network);
        for byte in kind {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        let at = usize::try_from(hasher.finish() % PLACES as u64).unwrap_or(0);
        &places[at]
    }
}

/// Whether one more is within the limit (GCRA): a place holds the time at which all that it gave would have
/// been due. Threads that meet at one place may let one answer more through.
fn take(place: &AtomicU64, now: u64, interval: u64) -> bool {
    let due = place.load(Relaxed).max(now);
    if due - now >= BURST {
        return false;
    }
    place.store(due + interval.max(1), Relaxed);
    true
}

/// The network of an address, as a number.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
        // No IPv4 network has so high a number.
        IpAddr::V6(v6) => (u128::from(v6) >> 72) as u64 | 1 << 63,
    }
}

/// What makes a reply the same as another: the question where there are answers; otherwise its code, so
/// that invented names do not each have a limit of their own.
fn kind(reply: &[u8]) -> &[u8] {
    let answers = reply.get(6..8).is_some_and(|count| count != [0, 0]);
    if answers {
        reply.get(12..question_end(reply)).unwrap_or_default()
    } else {
        reply.get(3..4).unwrap_or_default()
    }
}

/// Where the question ends in a reply of Lath's, whose question was copied from one that could be read.
fn question_end(reply: &[u8]) -> usize {
    if reply.get(4..6) != Some(&[0, 1]) {
        return 12;
    }
    let mut at = 12;
    while let Some(length) = reply.get(at).filter(|length| **length != 0) {
        at += usize::from(*length) + 1;
    }
    (at + 5).min(reply.len())
}

/// Makes a reply an empty one that leads to TCP.
pub(crate) fn truncate(reply: &mut Vec<u8>) {
    let end = question_end(reply);
    reply.truncate(end);
    if let Some(counts) = reply.get_mut(6..12) {
        counts.fill(0);
    }
    if let Some(flags) = reply.get_mut(2) {
        *flags |= TRUNCATED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NAME. A`, with one answer or none.
    fn reply(name: u8, answers: u8) -> Vec<u8> {
        let mut reply = vec![
            0, 7, 0x84, 0, 0, 1, 0, answers, 0, 0, 0, 0, 1, name, 0, 0, 1, 0, 1,
        ];
        reply.extend([0xc0, 12, 0, 1, 0, 1]);
        reply
    }

    fn limiter() -> Limiter {
        Limiter::new(RateLimit {
            responses_per_second: 10,
            slip: 2,
        })
    }

    /// How many of a hundred were sent, and how many slipped, at that second.
    fn hundred(
        limiter: &Limiter,
        to: &str,
        reply: impl Fn(u8) -> Vec<u8>,
        second: u64,
    ) -> [usize; 2] {
        let now = Duration::from_secs(second);
        let outcomes: Vec<Outcome> = (0..100)
            .map(|n| limiter.judge(to.parse().unwrap(), &reply(n), now))
            .collect();
        [Outcome::Send, Outcome::Slip]
            .map(|wanted| outcomes.iter().filter(|it| **it == wanted).count())
    }

    #[test]
    fn a_network_gets_its_rate_and_the_rest_slips() {
        let limiter = limiter();
        let same = |_| reply(b'a', 1);
        assert_eq!(hundred(&limiter, "192.0.2.1", same, 0), [10, 45]);
        // Its neighbour has the same network, another name another limit, another network its own.
        assert_eq!(hundred(&limiter, "192.0.2.200", same, 0), [0, 50]);
        assert_eq!(
            hundred(&limiter, "192.0.2.1", |_| reply(b'b', 1), 0),
            [10, 45]
        );
        assert_eq!(hundred(&limiter, "198.51.100.1", same, 0), [10, 45]);
        assert_eq!(hundred(&limiter, "192.0.2.1", same, 1), [10, 45]);
    }

    #[test]
    fn capitals_and_invented_names_are_no_way_around() {
        let mixed = |n| reply(if n % 2 == 0 { b'a' } else { b'A' }, 1);
        assert_eq!(hundred(&limiter(), "192.0.2.1", mixed, 0)[0], 10);
        assert_eq!(hundred(&limiter(), "192.0.2.1", |n| reply(n, 0), 0)[0], 10);
    }

    #[test]
    fn all_answers_together_are_limited() {
        let limiter = limiter();
        let sent: usize = (0..3)
            .map(|_| hundred(&limiter, "2001:db8::1", |n| reply(n.max(1), 1), 0)[0])
            .sum();
        assert_eq!(sent, 100);
    }

    #[test]
    fn this_machine_is_not_limited() {
        for address in ["127.0.0.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(
                hundred(&limiter(), address, |_| reply(b'a', 1), 0),
                [100, 0]
            );
        }
    }

    #[test]
    fn a_slipped_reply_is_its_question() {
        let mut bytes = reply(b'a', 1);
        truncate(&mut bytes);
        assert_eq!(
            bytes,
            [
                0, 7, 0x86, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1
            ]
        );
    }
}
