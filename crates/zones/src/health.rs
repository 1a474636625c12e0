use std::collections::HashMap;

use lath_model::id::{HealthCheckId, TargetGroupId};

/// What is known of health when a question is answered. Never waits.
pub trait HealthView {
    /// Whether a check is healthy. One that is not known is.
    fn check(&self, check: &HealthCheckId) -> bool;

    /// Whether a Lattice target group has a healthy target, or none at all.
    fn target_group(&self, group: &TargetGroupId) -> bool {
        let _ = group;
        true
    }
}

/// Everything is healthy.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllHealthy;

impl HealthView for AllHealthy {
    fn check(&self, _check: &HealthCheckId) -> bool {
        true
    }
}

/// The verdicts on health checks, after `inverted`, `disabled` and calculation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthVerdicts {
    /// By check. One that is absent counts as healthy.
    pub checks: HashMap<HealthCheckId, bool>,
}

impl HealthView for HealthVerdicts {
    fn check(&self, check: &HealthCheckId) -> bool {
        self.checks.get(check).copied().unwrap_or(true)
    }
}
