use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Relative error of percentiles: neighbouring bins differ by 2 %.
const GAMMA: f64 = 1.02;
/// Bins kept; beyond it the lowest two are merged.
const MAX_BINS: usize = 1024;

/// What is known of one period: exact count, sum and extremes, and a sketch for percentiles.
///
/// The sketch counts values in logarithmic bins (DDSketch): merging is addition and a percentile is within
/// 1 % of the true value. It is absent once a value came in that has no logarithm (negative), or a
/// statistic set that hides its values, as in CloudWatch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) unit: String,
    bins: Option<BTreeMap<i32, f64>>,
}

/// The bin of zero, below every other.
const ZERO: i32 = i32::MIN;

impl Bucket {
    /// Nothing yet.
    pub(crate) fn empty(unit: &str) -> Self {
        Self {
            count: 0.0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            unit: unit.to_owned(),
            bins: Some(BTreeMap::new()),
        }
    }

    /// Adds `count` observations of `value`.
    pub(crate) fn add(&mut self, value: f64, count: f64) {
        self.add_set(count, value * count, value, value);
    }

    /// Adds a statistic set. Its values are known only when all of them are equal.
    pub(crate) fn add_set(&mut self, count: f64, sum: f64, min: f64, max: f64) {
        self.count += count;
        self.sum += sum;
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        match (&mut self.bins, bin(min)) {
            (Some(bins), Some(index)) if min == max => add_bin(bins, index, count),
            _ => self.bins = None,
        }
    }

    /// Adds a statistic set together with its values and how often each occurred.
    pub(crate) fn add_values(&mut self, set: (f64, f64, f64, f64), values: &[(f64, f64)]) {
        let (count, sum, min, max) = set;
        self.count += count;
        self.sum += sum;
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        for (value, count) in values {
            match (&mut self.bins, bin(*value)) {
                (Some(bins), Some(index)) => add_bin(bins, index, *count),
                _ => self.bins = None,
            }
        }
    }

    /// Adds all of another period.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        match (&mut self.bins, &other.bins) {
            (Some(mine), Some(theirs)) => {
                theirs
                    .iter()
                    .for_each(|(index, count)| add_bin(mine, *index, *count));
            }
            _ => self.bins = None,
        }
    }

    /// The observations as ascending (value, count); `None` when they are not known. The ends are exact.
    pub(crate) fn distribution(&self) -> Option<Vec<(f64, f64)>> {
        let bins = self.bins.as_ref().filter(|bins| !bins.is_empty())?;
        let value = |index: &i32| value_of(*index).clamp(self.min, self.max);
        Some(
            bins.iter()
                .map(|(index, count)| (value(index), *count))
                .collect(),
        )
    }
}

fn bin(value: f64) -> Option<i32> {
    if value == 0.0 {
        return Some(ZERO);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "logarithms of finite doubles are small"
    )]
    (value > 0.0).then(|| (value.ln() / GAMMA.ln()).ceil() as i32)
}

fn value_of(index: i32) -> f64 {
    if index == ZERO {
        0.0
    } else {
        2.0 * GAMMA.powi(index) / (GAMMA + 1.0)
    }
}

fn add_bin(bins: &mut BTreeMap<i32, f64>, index: i32, count: f64) {
    *bins.entry(index).or_default() += count;
    if bins.len() > MAX_BINS
        && let Some((_, lowest)) = bins.pop_first()
        && let Some(mut next) = bins.first_entry()
    {
        *next.get_mut() += lowest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_the_same_as_adding_all() {
        let (mut whole, mut left, mut right) = (
            Bucket::empty("None"),
            Bucket::empty("None"),
            Bucket::empty("None"),
        );
        for n in 0..1000 {
            let value = f64::from(n);
            whole.add(value, 1.0);
            if n % 2 == 0 {
                left.add(value, 1.0)
            } else {
                right.add(value, 1.0)
            }
        }
        left.merge(&right);
        assert_eq!(left, whole);
    }

    #[test]
    fn bins_are_within_one_per_cent() {
        for value in [0.001, 1.0, 37.5, 1e9] {
            let near = value_of(bin(value).unwrap());
            assert!(
                (near - value).abs() / value <= 0.0101,
                "{value} became {near}"
            );
        }
    }

    #[test]
    fn a_hidden_or_negative_value_ends_the_sketch() {
        let mut bucket = Bucket::empty("None");
        bucket.add(1.0, 1.0);
        assert!(bucket.distribution().is_some());
        bucket.add_set(2.0, 5.0, 1.0, 4.0);
        assert!(bucket.distribution().is_none());
        let mut negative = Bucket::empty("None");
        negative.add(-1.0, 1.0);
        assert!(negative.distribution().is_none());
    }
}
