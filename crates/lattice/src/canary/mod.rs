//! Canaries: the weights of a rule's two groups move in steps, by time and by what the new group answers, and back when it
//! answers badly. An extension, asked for by tags of a rule, or of a listener for its default action.
//!
//! Each step is a change of the stored action, as `UpdateRule` makes it. Where a canary is stands in the rule's record,
//! so that it goes on after whatever end of the process.

mod judge;
mod reconcile;
mod watch;
mod written;

use std::time::Duration;

use lath_control::{Cell, Mode};
use lath_model::Timestamp;
use lath_model::id::TargetGroupId;
use lath_model::lattice::{Action, ListenerProtocol, WeightedTargetGroup};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::action::{self, User};
use crate::long_tag::{FEW_PARTS, LongTag};
use crate::record::{Listener, Rule, Tags, key};
use crate::rule;

#[cfg(test)]
pub(crate) use reconcile::pass;
pub(crate) use reconcile::reconciler;
pub use watch::CanaryWatch;

/// The tag.
pub(crate) const TAG: LongTag = LongTag {
    name: "lath:canary",
    what: "a canary",
    parts: FEW_PARTS,
};

/// A canary of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Canary {
    pub(crate) plan: Plan,
    /// The other group.
    pub(crate) stable: TargetGroupId,
    pub(crate) phase: Phase,
    /// When the phase began.
    pub(crate) since: Timestamp,
}

/// What a canary is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The new group.
    pub(crate) group: TargetGroupId,
    pub(crate) steps: Vec<Step>,
    pub(crate) analysis: Option<Analysis>,
}

/// A step: the new group's share in percent, and for how long at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) weight: u8,
    pub(crate) pause: Duration,
}

/// What the new group may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Analysis {
    /// In hundredths of a percent.
    pub(crate) errors: Option<u32>,
    pub(crate) latency: Option<Latency>,
    /// With fewer answers nothing is decided.
    pub(crate) minimum_requests: u32,
    /// The answers of this time are looked at.
    pub(crate) interval: Duration,
}

/// So many percent of answers take no longer than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) percentile: u8,
    pub(crate) most: Duration,
}

/// Where a canary is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// At the step of this number, from 0.
    Step(usize),
    /// All steps are done.
    Succeeded,
    /// All requests go to the other group again.
    RolledBack(String),
    /// The action was changed by somebody else, and is as that left it.
    Ended(String),
}

impl Canary {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Step(_))
    }

    fn share(&self, percent: u8) -> Action {
        let weighted = |group: &TargetGroupId, weight: u8| WeightedTargetGroup {
            target_group: group.clone(),
            weight: weight.into(),
        };
        Action::Forward(vec![
            weighted(&self.stable, 100 - percent.min(100)),
            weighted(&self.plan.group, percent.min(100)),
        ])
    }

    /// The action of the phase; `None` where it is not the canary's to say.
    fn action(&self) -> Option<Action> {
        match &self.phase {
            Phase::Step(at) => self.plan.steps.get(*at).map(|it| self.share(it.weight)),
            Phase::Succeeded => self.plan.steps.last().map(|it| self.share(it.weight)),
            Phase::RolledBack(_) => Some(self.share(0)),
            Phase::Ended(_) => None,
        }
    }
}

/// Whether the rule is as a roll-back left it. Sessions then hold to their group no longer: it is the new one that is to get
/// no requests.
pub(crate) fn is_rolled_back(rule: &Rule) -> bool {
    let canary = rule.canary.as_deref();
    canary.is_some_and(|it| {
        matches!(it.phase, Phase::RolledBack(_)) && it.action().as_ref() == Some(&rule.action)
    })
}

/// The canary that tags ask for, at its first step, and the action of that.
///
/// # Errors
/// It is malformed, or does not fit the action.
pub(crate) fn of(
    cell: &Cell,
    view: &View,
    user: User<'_>,
    tags: &Tags,
    action: &Action,
    now: Timestamp,
) -> Result<Option<(Box<Canary>, Action)>, ApiError> {
    TAG.check_mode(cell, tags)?;
    // What an earlier run in extended mode left is not obeyed.
    if cell.mode == Mode::Strict {
        return Ok(None);
    }
    let Some(text) = TAG.text(tags)? else {
        return Ok(None);
    };
    if user.protocol == ListenerProtocol::TlsPassthrough {
        return Err(TAG.wrong("a TLS_PASSTHROUGH listener's connections have no answers to judge"));
    }
    let written = written::Written::read(&text).map_err(|error| TAG.wrong(error))?;
    let group = action::usable_by(cell, view, user, written.group())?;
    let plan = written.plan(group).map_err(|error| TAG.wrong(error))?;
    let stable = match action {
        Action::Forward(groups) => match groups.as_slice() {
            [one, other] if one.target_group == plan.group => Some(other),
            [one, other] if other.target_group == plan.group => Some(one),
            _ => None,
        },
        Action::FixedResponse(_) => None,
    };
    let stable = stable.filter(|it| it.target_group != plan.group);
    let Some(stable) = stable else {
        return Err(TAG.wrong(
            "targetGroupIdentifier: the rule must forward to two groups, this one and the one that it is to replace",
        ));
    };
    let canary = Canary {
        stable: stable.target_group.clone(),
        plan,
        phase: Phase::Step(0),
        since: now,
    };
    let action = canary.action().unwrap_or_else(|| action.clone());
    Ok(Some((Box::new(canary), action)))
}

/// The rule's action is about to be `action`, by somebody else's will: a canary under way ends, unless nothing changes.
pub(crate) fn interrupt(rule: &mut Rule, action: &Action, now: Timestamp) {
    if rule.action == *action {
        return;
    }
    if let Some(canary) = rule.canary.as_mut().filter(|it| it.is_running()) {
        canary.phase = Phase::Ended("The rule's action was changed".to_owned());
        canary.since = now;
        tracing::warn!(rule.id = %rule.id, "a canary ended, because the rule's action was changed");
    }
}

/// The tags of a rule, or of the listener whose default rule it is, are about to be these.
///
/// # Errors
/// As [`of`].
pub(crate) fn retag(
    cell: &Cell,
    tx: &mut Tx,
    rule: &Rule,
    before: &Tags,
    tags: &Tags,
) -> Result<(), ApiError> {
    if TAG.is_same(before, tags) {
        return Ok(());
    }
    let listener = tx
        .view()
        .get::<Listener>(&key(&rule.service, &rule.listener));
    let user = User {
        service: &rule.service,
        protocol: listener.map_or(ListenerProtocol::Http, |it| it.protocol),
    };
    let now = tx.now();
    let made = of(cell, tx.view(), user, tags, &rule.action, now)?;
    tx.update::<Rule>(&key(&rule.listener, &rule.id), |rule| match made {
        None => rule.canary = None,
        Some((canary, action)) => {
            tracing::info!(rule.id = %rule.id, target_group.id = %canary.plan.group, "a canary began");
            rule.canary = Some(canary);
            rule.action = action;
            rule.updated_at = now;
        }
    });
    Ok(())
}

/// A canary as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryStatus {
    /// The rule's ARN.
    pub rule: String,
    /// The new group.
    pub target_group: TargetGroupId,
    /// `running`, `succeeded`, `rolled back` or `ended`.
    pub phase: &'static str,
    /// The step, from 1, and how many there are.
    pub step: Option<(usize, usize)>,
    /// Why it is where it is.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// All canaries of a region.
pub fn canaries(cell: &Cell, view: &View) -> Vec<CanaryStatus> {
    let known = [RUNNING, OVER].into_iter();
    let rules = known.flat_map(|state| view.by::<Rule>("canary", state));
    let one = |rule: std::sync::Arc<Rule>| {
        let canary = rule.canary.as_deref()?;
        let (phase, reason) = match &canary.phase {
            Phase::Step(_) => ("running", None),
            Phase::Succeeded => ("succeeded", None),
            Phase::RolledBack(reason) => ("rolled back", Some(reason.clone())),
            Phase::Ended(reason) => ("ended", Some(reason.clone())),
        };
        let step = match canary.phase {
            Phase::Step(at) => Some((at + 1, canary.plan.steps.len())),
            _ => None,
        };
        Some(CanaryStatus {
            rule: rule::arn(cell, &rule.service, &rule.listener, &rule.id),
            target_group: canary.plan.group.clone(),
            phase,
            step,
            reason,
            since: canary.since,
        })
    };
    rules.filter_map(one).collect()
}

/// The index of rules with canaries.
pub(crate) const RUNNING: &str = "running";
pub(crate) const OVER: &str = "over";

/// A door for the target in `fuzz/`.
pub(crate) fn reads(text: &str) -> bool {
    let Ok(written) = written::Written::read(text) else {
        return false;
    };
    let group = written.group().parse();
    group.is_ok_and(|group| written.plan(group).is_ok())
}

#[cfg(test)]
mod tests;
