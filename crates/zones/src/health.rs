use std::collections::HashMap;

use lath_model::id::{HealthCheckId, TargetGroupId};

/// The health used to answer questions. Implementations do not block.
pub trait HealthView {
    /// Whether a check is healthy. An unknown check is.
    fn check(&self, check: &HealthCheckId) -> bool;

    /// Whether a Lattice target group has a healthy target, or no targets at all.
    fn target_group(&self, group: &TargetGroupId) -> bool {
        let _ = group;
        true
    }
}

/// A view in which everything is healthy.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllHealthy;

impl HealthView for AllHealthy {
    fn check(&self, _check: &HealthCheckId) -> bool {
        true
    }
}

/// The status of health checks, after `inverted`, `disabled` and calculation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthVerdicts {
    /// By check. An absent check counts as healthy.
    pub checks: HashMap<HealthCheckId, bool>,
}

impl HealthView for HealthVerdicts {
    fn check(&self, check: &HealthCheckId) -> bool {
        self.checks.get(check).copied().unwrap_or(true)
    }
}
