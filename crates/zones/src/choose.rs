//! Which record sets of a group answer: prefer, leave out what is unhealthy, and fail open.

use lath_feed::Routing;

use crate::Client;
use crate::regions::distance;
use crate::zone::{Group, Set};

/// The most sets of a group that are looked at; AWS allows 100.
const MOST: usize = 448;

/// How many multivalue answers are given.
const MULTIVALUE: usize = 8;

/// Numbers that look random, for shares and order; not for secrets (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.next()) * end as u128;
        (wide >> 64) as usize
    }

    /// Puts items in any order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

/// A set of small numbers, on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Few([u64; MOST / 64]);

impl Few {
    pub(crate) fn none() -> Self {
        Self([0; MOST / 64])
    }

    pub(crate) fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(crate) fn contains(&self, at: usize) -> bool {
        self.0
            .get(at / 64)
            .is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..MOST).filter(move |at| self.contains(*at))
    }
}

impl Group {
    /// The sets that may answer this client at all, whatever their health.
    pub(crate) fn candidates(&self, client: &Client) -> Few {
        let mut few = Few::none();
        for (at, set) in self.sets.iter().enumerate().take(MOST) {
            if set.fits(client) {
                few.insert(at);
            }
        }
        few
    }

    /// Whether what is chosen depends on where the client is.
    pub(crate) fn depends_on_client(&self) -> bool {
        self.sets.iter().any(|set| {
            matches!(
                set.routing,
                Routing::Latency(_)
                    | Routing::Geolocation(_)
                    | Routing::Geoproximity { .. }
                    | Routing::Cidr { .. }
            )
        })
    }

    /// Which of the sets in `among` answer.
    pub(crate) fn pick(&self, among: Few, client: &Client, random: &mut Random) -> Few {
        let Some(first) = among.iter().next() else {
            return among;
        };
        let one = |at: Option<usize>| {
            let mut few = Few::none();
            few.insert(at.unwrap_or(first));
            few
        };
        match &self.sets[first].routing {
            Routing::Simple => one(Some(first)),
            Routing::Multivalue => multivalue(among, random),
            Routing::Weighted(_) => one(self.weighted(among, random)),
            Routing::FailoverPrimary | Routing::FailoverSecondary => {
                let primary =
                    |at: &usize| matches!(self.sets[*at].routing, Routing::FailoverPrimary);
                one(among.iter().find(primary))
            }
            Routing::Latency(_)
            | Routing::Geolocation(_)
            | Routing::Geoproximity { .. }
            | Routing::Cidr { .. } => {
                let cost = |at: &usize| self.sets[*at].cost(client);
                one(among.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))))
            }
        }
    }

    /// In proportion to weights; those of weight 0 only among themselves.
    fn weighted(&self, among: Few, random: &mut Random) -> Option<usize> {
        let weight = |at: usize| match self.sets[at].routing {
            Routing::Weighted(weight) => usize::from(weight),
            _ => 0,
        };
        let sum: usize = among.iter().map(weight).sum();
        if sum == 0 {
            let count = among.iter().count();
            return among.iter().nth(random.below(count.max(1)));
        }
        let mut ticket = random.below(sum);
        among.iter().find(|at| {
            let mine = weight(*at);
            let won = ticket < mine;
            ticket = ticket.saturating_sub(mine);
            won
        })
    }
}

fn multivalue(among: Few, random: &mut Random) -> Few {
    let mut remaining = among.iter().count();
    if remaining <= MULTIVALUE {
        return among;
    }
    let (mut wanted, mut chosen) = (MULTIVALUE, Few::none());
    for at in among.iter() {
        if random.below(remaining) < wanted {
            chosen.insert(at);
            wanted -= 1;
        }
        remaining -= 1;
    }
    chosen
}

impl Set {
    fn fits(&self, client: &Client) -> bool {
        match &self.routing {
            Routing::Geolocation(location) => client.fits(location).is_some(),
            Routing::Cidr { .. } => self.block(client).is_some(),
            _ => true,
        }
    }

    /// The longest of the set's blocks that holds the whole prefix of the client; 0 for the default.
    pub(crate) fn block(&self, client: &Client) -> Option<u8> {
        let Routing::Cidr { location, blocks } = &self.routing else {
            return None;
        };
        let longest = blocks
            .iter()
            .filter(|block| block.contains(&client.prefix))
            .map(|block| block.prefix_len())
            .max();
        longest.or_else(|| (location == "*").then_some(0))
    }

    /// The smaller, the better.
    fn cost(&self, client: &Client) -> f64 {
        match &self.routing {
            Routing::Latency(_) => self.kilometres(client),
            Routing::Geoproximity { bias, .. } => {
                let bias = f64::from(*bias) / 100.0;
                let far = self.kilometres(client);
                if bias > 0.0 {
                    far * (1.0 - bias)
                } else {
                    far / (1.0 + bias).max(0.01)
                }
            }
            Routing::Geolocation(location) => -f64::from(client.fits(location).unwrap_or(0)),
            Routing::Cidr { .. } => -f64::from(self.block(client).unwrap_or(0)),
            _ => 0.0,
        }
    }

    /// Half around the globe and more where either place is not known.
    fn kilometres(&self, client: &Client) -> f64 {
        match (self.point, &client.region) {
            (Some(point), Some(here)) => distance(here.point(), point),
            _ => f64::from(u16::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_generator_evenly() {
        let mut random = Random::new(7);
        let mut counts = [0; 5];
        for _ in 0..50_000 {
            counts[random.below(5)] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_few_numbers_are_kept() {
        let mut few = Few::none();
        assert!(few.is_empty());
        for at in [0, 63, 64, MOST - 1, MOST] {
            few.insert(at);
        }
        assert_eq!(few.iter().collect::<Vec<_>>(), [0, 63, 64, MOST - 1]);
    }
}
