//! A target's health as a machine without clock or socket.

use lath_feed::TargetHealth;

/// How many results in a row change a target's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes that make an unhealthy target healthy.
    pub healthy: u32,
    /// Failures that make a healthy target unhealthy.
    pub unhealthy: u32,
}

/// The health of one probed target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    health: TargetHealth,
    /// Results in a row that speak against the present health.
    streak: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            health: TargetHealth::Initial,
            streak: 0,
        }
    }
}

impl Machine {
    /// The health now: initial, healthy or unhealthy.
    pub fn health(&self) -> TargetHealth {
        self.health
    }

    /// Takes in one probe's result. True when the health changed.
    ///
    /// A new target becomes healthy with its first success, as in AWS; unhealthy with as many failures as
    /// make a healthy one unhealthy.
    pub fn probed(&mut self, success: bool, thresholds: Thresholds) -> bool {
        let (speaks_against, needed, next) = match self.health {
            TargetHealth::Healthy => (!success, thresholds.unhealthy, TargetHealth::Unhealthy),
            TargetHealth::Unhealthy => (success, thresholds.healthy, TargetHealth::Healthy),
            TargetHealth::Initial if success => (true, 1, TargetHealth::Healthy),
            TargetHealth::Initial => (true, thresholds.unhealthy, TargetHealth::Unhealthy),
            TargetHealth::Unavailable
            | TargetHealth::Unused
            | TargetHealth::Draining
            | TargetHealth::Drained => return false,
        };
        self.streak = if speaks_against { self.streak + 1 } else { 0 };
        let changes = self.streak >= needed.max(1);
        if changes {
            *self = Self {
                health: next,
                streak: 0,
            };
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` and `-` are results; the answer has the health's first letter after each.
    fn history(results: &str, healthy: u32, unhealthy: u32) -> String {
        let mut machine = Machine::default();
        results
            .chars()
            .map(|result| {
                machine.probed(result == '+', Thresholds { healthy, unhealthy });
                match machine.health() {
                    TargetHealth::Initial => 'i',
                    TargetHealth::Healthy => 'h',
                    _ => 'u',
                }
            })
            .collect()
    }

    #[test]
    fn thresholds_decide() {
        for (name, results, want) in [
            ("the first success suffices", "+", "h"),
            ("a success after failures suffices", "-+", "ih"),
            ("a new target that fails", "--", "iu"),
            ("failures in a row", "+--", "hhu"),
            ("a success between starts anew", "+-+--", "hhhhu"),
            ("successes in a row", "--+++", "iuuuh"),
            ("a failure between starts anew", "--++-+++", "iuuuuuuh"),
            ("flapping below both thresholds", "+-+-+-", "hhhhhh"),
        ] {
            assert_eq!(history(results, 3, 2), want, "{name}");
        }
    }
}
