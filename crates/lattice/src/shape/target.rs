use lath_service::Checked;
use lath_wire::Problems;
use serde::{Deserialize, Serialize};

use super::target_group::group;
use crate::constraint;

/// A target as callers name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) port: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisterTargets {
    pub(crate) target_group_identifier: String,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeregisterTargets {
    pub(crate) target_group_identifier: String,
    pub(crate) targets: Vec<Target>,
}

/// What RegisterTargets and DeregisterTargets answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetsOutput {
    pub(crate) successful: Option<Vec<Target>>,
    pub(crate) unsuccessful: Option<Vec<TargetFailure>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetFailure {
    pub(crate) id: Option<String>,
    pub(crate) port: Option<i64>,
    pub(crate) failure_code: Option<String>,
    pub(crate) failure_message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTargets {
    pub(crate) target_group_identifier: String,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
    pub(crate) targets: Option<Vec<Target>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListTargetsOutput {
    pub(crate) items: Vec<TargetSummary>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TargetStatus {
    Draining,
    Unavailable,
    Healthy,
    Unhealthy,
    Initial,
    Unused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetSummary {
    pub(crate) id: Option<String>,
    pub(crate) port: Option<i64>,
    pub(crate) status: Option<TargetStatus>,
    pub(crate) reason_code: Option<String>,
}

fn targets(p: &mut Problems, targets: &[Target], min: usize, max: usize) {
    constraint::count(p, "targets", targets.len(), min, max);
    for (index, target) in targets.iter().enumerate().take(max) {
        constraint::length(p, &format!("targets.{index}.id"), &target.id, 1, 200);
        if let Some(port) = target.port {
            constraint::range(p, &format!("targets.{index}.port"), port, 1, 65535);
        }
    }
}

impl Checked for RegisterTargets {
    fn check(&self, p: &mut Problems) {
        group(p, &self.target_group_identifier);
        targets(p, &self.targets, 1, 100);
    }
}

impl Checked for DeregisterTargets {
    fn check(&self, p: &mut Problems) {
        group(p, &self.target_group_identifier);
        targets(p, &self.targets, 1, 100);
    }
}

impl Checked for ListTargets {
    fn check(&self, p: &mut Problems) {
        group(p, &self.target_group_identifier);
        constraint::page(p, self.max_results, self.next_token.as_deref());
        targets(p, self.targets.as_deref().unwrap_or_default(), 0, 20);
    }
}
