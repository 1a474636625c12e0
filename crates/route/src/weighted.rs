//! Smooth weighted choice.

/// A repeating sequence of choices with the given shares, in which equal choices are spread out.
///
/// The whole period is computed in advance, so that a choice is one lookup by a turn counter. Each core may have its
/// own counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighted {
    period: Box<[u8]>,
}

impl Weighted {
    /// Computes the sequence for these weights; `None` when all are zero. Uses only the first 256 weights (AWS allows
    /// ten), and caps weights at AWS's maximum of 999, which bounds the period.
    pub fn new(weights: &[u32]) -> Option<Self> {
        let weights: Vec<i64> = weights
            .iter()
            .take(256)
            .map(|weight| i64::from((*weight).min(999)))
            .collect();
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
        if divisor == 0 {
            return None;
        }
        Some(Self {
            period: smooth(&weights.iter().map(|w| w / divisor).collect::<Vec<_>>()),
        })
    }

    /// The choice for this turn.
    pub fn pick(&self, turn: u64) -> usize {
        let length = self.period.len() as u64;
        let at = usize::try_from(turn % length).unwrap_or(0);
        usize::from(self.period[at])
    }

    /// The number of turns after which the sequence repeats.
    pub fn period(&self) -> usize {
        self.period.len()
    }
}

/// In each turn every choice earns its weight; the highest balance is chosen and pays the total.
fn smooth(weights: &[i64]) -> Box<[u8]> {
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0_i64; weights.len()];
    (0..total)
        .map(|_| {
            let mut best = 0;
            for (index, weight) in weights.iter().enumerate() {
                credit[index] += weight;
                if credit[index] > credit[best] {
                    best = index;
                }
            }
            credit[best] -= total;
            u8::try_from(best).unwrap_or(u8::MAX)
        })
        .collect()
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(weights: &[u32]) -> String {
        let weighted = Weighted::new(weights).unwrap();
        (0..weighted.period() as u64)
            .map(|turn| weighted.pick(turn).to_string())
            .collect()
    }

    #[test]
    fn heavy_choices_are_spread_out() {
        for (name, weights, want) in [
            ("one", &[7][..], "0"),
            ("equal", &[100, 100], "01"),
            ("nine to one", &[90, 10], "0000010000"),
            ("five, one, one", &[5, 1, 1], "0010200"),
            ("zero gets nothing", &[0, 3], "1"),
        ] {
            assert_eq!(sequence(weights), want, "{name}");
        }
    }

    #[test]
    fn all_zero_is_no_choice() {
        assert_eq!(Weighted::new(&[0, 0]), None);
        assert_eq!(Weighted::new(&[]), None);
    }
}
