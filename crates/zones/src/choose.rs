//! Chooses the record sets of a group that answer: routing policy, health, and fail open.

use lath_feed::Routing;

use crate::Client;
use crate::regions::distance;
use crate::zone::{Group, Set};

/// The sets of a group that are examined at most; AWS allows 100.
const MOST: usize = 448;

/// The values of a multivalue answer at most.
const MULTIVALUE: usize = 8;

/// Pseudo-random numbers (SplitMix64) for weights and order; not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Equal seeds give equal numbers.
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

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.next()) * end as u128;
        (wide >> 64) as usize
    }

    /// Shuffles items.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

/// A set of indices of record sets: a bit mask on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetMask([u64; MOST / 64]);

impl SetMask {
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
    /// The sets that may answer this client, regardless of health.
    pub(crate) fn candidates(&self, client: &Client) -> SetMask {
        let mut mask = SetMask::none();
        for (at, set) in self.sets.iter().enumerate().take(MOST) {
            if set.fits(client) {
                mask.insert(at);
            }
        }
        mask
    }

    /// Whether the choice depends on the client's location.
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

    /// Chooses the sets that answer from `among`.
    pub(crate) fn pick(&self, among: SetMask, client: &Client, random: &mut Random) -> SetMask {
        let Some(first) = among.iter().next() else {
            return among;
        };
        let one = |at: Option<usize>| {
            let mut mask = SetMask::none();
            mask.insert(at.unwrap_or(first));
            mask
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

    /// Chooses in proportion to weights. Sets of weight 0 are chosen only if all weights are 0.
    fn weighted(&self, among: SetMask, random: &mut Random) -> Option<usize> {
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

fn multivalue(among: SetMask, random: &mut Random) -> SetMask {
    let mut remaining = among.iter().count();
    if remaining <= MULTIVALUE {
        return among;
    }
    let (mut wanted, mut chosen) = (MULTIVALUE, SetMask::none());
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

    /// The length of the set's longest block that contains the client's whole prefix; 0 for the default set.
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

    /// The cost of sending the client to this set; the lowest wins.
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

    /// The distance to the client. More than half the globe if either location is unknown.
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
        let mut mask = SetMask::none();
        assert!(mask.is_empty());
        for at in [0, 63, 64, MOST - 1, MOST] {
            mask.insert(at);
        }
        assert_eq!(mask.iter().collect::<Vec<_>>(), [0, 63, 64, MOST - 1]);
    }
}
