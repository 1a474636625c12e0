use std::str::FromStr;

use super::Bucket;

/// A statistic that can be asked of a period
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Statistic {
    SampleCount,
    Sum,
    Average,
    Minimum,
    Maximum,
    /// `p99`: the value below which 99 % of the observations are.
    Percentile(f64),
    /// `tm`, `wm`, `tc`, `ts` and `PR` over a part of the observations.
    Trimmed(Trim, Range),
}

/// What is computed of the part that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trim {
    Mean,
    WinsorizedMean,
    Count,
    Sum,
    Rank,
}

/// Which observations are left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Range {
    /// Between two shares of the sorted observations, 0 to 1.
    Shares(f64, f64),
    /// Between two values.
    Values(f64, f64),
}

impl FromStr for Statistic {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "SampleCount" => return Ok(Self::SampleCount),
            "Sum" => return Ok(Self::Sum),
            "Average" => return Ok(Self::Average),
            "Minimum" => return Ok(Self::Minimum),
            "Maximum" => return Ok(Self::Maximum),
            "IQM" | "iqm" => return Ok(Self::Trimmed(Trim::Mean, Range::Shares(0.25, 0.75))),
            _ => {}
        }
        let lower = text.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("pr(") {
            return Ok(Self::Trimmed(
                Trim::Rank,
                range(rest.strip_suffix(')').ok_or(())?)?,
            ));
        }
        for (prefix, trim) in [
            ("tm", Trim::Mean),
            ("wm", Trim::WinsorizedMean),
            ("tc", Trim::Count),
            ("ts", Trim::Sum),
        ] {
            if let Some(rest) = lower.strip_prefix(prefix) {
                return Ok(Self::Trimmed(trim, trim_range(rest)?));
            }
        }
        lower
            .strip_prefix('p')
            .ok_or(())
            .and_then(share)
            .map(Self::Percentile)
    }
}

/// `99` (keep the lowest 99 %) or `(10%:90%)`.
fn trim_range(text: &str) -> Result<Range, ()> {
    match text.strip_prefix('(') {
        Some(rest) => range(rest.strip_suffix(')').ok_or(())?),
        None => share(text).map(|upper| Range::Shares(0.0, upper)),
    }
}

/// `10%:90%`, `:90%`, `100:500`, `100:`.
fn range(text: &str) -> Result<Range, ()> {
    let (low, high) = text.split_once(':').ok_or(())?;
    if low.ends_with('%') || high.ends_with('%') {
        let side = |text: &str, open: f64| match text.strip_suffix('%') {
            Some(number) => share(number),
            None if text.is_empty() => Ok(open),
            None => Err(()),
        };
        return Ok(Range::Shares(side(low, 0.0)?, side(high, 1.0)?));
    }
    let side = |text: &str, open: f64| {
        if text.is_empty() {
            Ok(open)
        } else {
            text.parse().map_err(|_| ())
        }
    };
    Ok(Range::Values(
        side(low, f64::NEG_INFINITY)?,
        side(high, f64::INFINITY)?,
    ))
}

/// 0 to 100 with at most ten decimals, as a share of one.
fn share(text: &str) -> Result<f64, ()> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let decimals = text
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let number: f64 = if plain && decimals <= 10 {
        text.parse().map_err(|_| ())?
    } else {
        return Err(());
    };
    if (0.0..=100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err(())
    }
}

impl Statistic {
    /// Whether it is one of the five simple statistics.
    pub(crate) fn is_simple(self) -> bool {
        !matches!(self, Self::Percentile(_) | Self::Trimmed(..))
    }

    /// Its value over a period; `None` when the period's observations do not tell it.
    pub(crate) fn of(self, bucket: &Bucket) -> Option<f64> {
        match self {
            Self::SampleCount => Some(bucket.count),
            Self::Sum => Some(bucket.sum),
            Self::Average => (bucket.count > 0.0).then(|| bucket.sum / bucket.count),
            Self::Minimum => Some(bucket.min),
            Self::Maximum => Some(bucket.max),
            Self::Percentile(share) => percentile(&bucket.distribution()?, share),
            Self::Trimmed(trim, range) => trimmed(&bucket.distribution()?, trim, range),
        }
    }
}

fn total(values: &[(f64, f64)]) -> f64 {
    values.iter().map(|(_, count)| count).sum()
}

fn percentile(values: &[(f64, f64)], share: f64) -> Option<f64> {
    let wanted = share * total(values);
    let mut seen = 0.0;
    values
        .iter()
        .find(|(_, count)| {
            seen += count;
            seen >= wanted
        })
        .or_else(|| values.last())
        .map(|(value, _)| *value)
}

fn trimmed(values: &[(f64, f64)], trim: Trim, range: Range) -> Option<f64> {
    let all = total(values);
    let kept = keep(values, range, all);
    let count = total(&kept);
    let sum: f64 = kept.iter().map(|(value, count)| value * count).sum();
    match trim {
        Trim::Count => Some(count),
        Trim::Sum => Some(sum),
        Trim::Rank => (all > 0.0).then(|| count / all),
        Trim::Mean => (count > 0.0).then(|| sum / count),
        Trim::WinsorizedMean => {
            let (low, high) = (kept.first()?.0, kept.last()?.0);
            let sum: f64 = values
                .iter()
                .map(|(value, count)| value.clamp(low, high) * count)
                .sum();
            (all > 0.0).then(|| sum / all)
        }
    }
}

/// The observations inside the range; at the edges a part of a value's count.
fn keep(values: &[(f64, f64)], range: Range, all: f64) -> Vec<(f64, f64)> {
    let mut seen = 0.0;
    values
        .iter()
        .filter_map(|&(value, count)| {
            let (from, to) = (seen, seen + count);
            seen = to;
            let kept = match range {
                Range::Values(low, high) => {
                    if (low..=high).contains(&value) {
                        count
                    } else {
                        0.0
                    }
                }
                Range::Shares(low, high) => (to.min(high * all) - from.max(low * all)).max(0.0),
            };
            (kept > 0.0).then_some((value, kept))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hundred() -> Bucket {
        let mut bucket = Bucket::empty("None");
        (1..=100).for_each(|n| bucket.add(f64::from(n), 1.0));
        bucket
    }

    #[test]
    fn statistics_of_one_to_a_hundred() {
        for (name, want) in [
            ("SampleCount", 100.0),
            ("Sum", 5050.0),
            ("Average", 50.5),
            ("Minimum", 1.0),
            ("Maximum", 100.0),
            ("p50", 50.0),
            ("p99", 99.0),
            ("p100", 100.0),
            ("p0", 1.0),
            ("tm90", 45.5),
            ("TM(10%:90%)", 50.5),
            ("iqm", 50.5),
            ("tc90", 90.0),
            ("ts(:50%)", 1275.0),
            ("PR(:50)", 0.5),
            ("wm(10%:90%)", 50.5),
        ] {
            let got = name.parse::<Statistic>().unwrap().of(&hundred()).unwrap();
            assert!(
                (got - want).abs() <= want * 0.02,
                "{name}: wanted {want}, got {got}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for name in [
            "",
            "p",
            "p101",
            "p-1",
            "pnan",
            "tm",
            "tm(1%:2",
            "Median",
            "PR(1)",
            "p1.12345678901",
        ] {
            assert!(name.parse::<Statistic>().is_err(), "{name:?}");
        }
    }
}
