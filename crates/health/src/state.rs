//! A target's health as a state machine without clock or socket.

use lath_feed::TargetHealth;

/// The number of consecutive results that change a target's health.
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
    /// Consecutive results that contradict the current health.
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
    /// The current health: initial, healthy or unhealthy.
    pub fn health(&self) -> TargetHealth {
        self.health
    }

    /// Applies one probe's result. Returns whether the health changed.
    ///
    /// A new target becomes healthy with its first success, as in AWS, and unhealthy after the same number of
    /// failures as a healthy one.
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

    /// Applies results (`+` and `-`) and returns the first letter of the health after each.
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
