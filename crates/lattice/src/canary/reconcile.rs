//! Takes canaries to their next phase.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{Group, Mode, spawn_reconciler};
use lath_model::Timestamp;
use lath_store::Tx;
use lath_wire::ApiError;

use super::{Canary, Phase, RUNNING, judge};
use crate::Lattice;
use crate::record::{Rule, key};

/// How often it is looked: nodes report once in a second.
const PERIOD: Duration = Duration::from_secs(1);

/// Starts it.
pub(crate) fn reconciler(app: &Arc<Lattice>, group: &mut Group) {
    let (cell, app) = (app.cell.clone(), Arc::clone(app));
    let pass = move || {
        let app = Arc::clone(&app);
        async move { pass(&app, app.cell.now()).await }
    };
    spawn_reconciler(group, cell, "canaries", PERIOD, pass);
}

/// Does what is to be done now.
///
/// # Errors
/// When the state cannot be written.
pub(crate) async fn pass(app: &Lattice, now: Timestamp) -> Result<(), ApiError> {
    let view = app.cell.db.view();
    let running: Vec<Arc<Rule>> = match app.cell.mode {
        Mode::Extended => view.by::<Rule>("canary", RUNNING).collect(),
        Mode::Strict => Vec::new(),
    };
    let mut wanted: BTreeMap<String, Duration> = BTreeMap::new();
    for canary in running.iter().filter_map(|it| it.canary.as_deref()) {
        if let Some(analysis) = &canary.plan.analysis {
            let keeps = wanted.entry(canary.plan.group.to_string()).or_default();
            *keeps = analysis.interval.max(*keeps);
        }
    }
    app.canaries.watch(&wanted);
    let judged = running.iter().filter_map(|rule| {
        let canary = rule.canary.as_deref()?;
        let from = judge::looks_from(canary, now);
        let seen = app.canaries.seen(canary.plan.group.as_str(), from);
        let phase = judge::next(canary, &seen, now)?;
        Some((rule, canary, phase))
    });
    let judged: Vec<_> = judged
        .map(|(rule, canary, phase)| (key(&rule.listener, &rule.id), canary.clone(), phase))
        .collect();
    if judged.is_empty() {
        return Ok(());
    }
    app.cell
        .db
        .write(|tx| {
            for (place, canary, phase) in judged {
                settle(tx, &place, &canary, phase, now);
            }
            Ok(())
        })
        .await
}

/// Goes on to a phase, unless the canary is not any more what was judged.
fn settle(tx: &mut Tx, place: &str, judged: &Canary, phase: Phase, now: Timestamp) {
    let still = |rule: &Rule| rule.canary.as_deref() == Some(judged);
    if !tx.get::<Rule>(place).is_some_and(|rule| still(&rule)) {
        return;
    }
    let next = Canary {
        phase,
        since: now,
        ..judged.clone()
    };
    tx.update::<Rule>(place, |rule| {
        log(rule, &next);
        if let Some(action) = next.action() {
            rule.action = action;
        }
        rule.canary = Some(Box::new(next));
        rule.updated_at = now;
    });
}

fn log(rule: &Rule, canary: &Canary) {
    let (rule, group) = (&rule.id, &canary.plan.group);
    match &canary.phase {
        Phase::Step(at) => {
            let weight = canary.plan.steps.get(*at).map_or(0, |it| it.weight);
            tracing::info!(rule.id = %rule, target_group.id = %group, step = at + 1, weight, "a canary went a step on");
        }
        Phase::Succeeded => {
            tracing::info!(rule.id = %rule, target_group.id = %group, "a canary succeeded");
        }
        Phase::RolledBack(reason) => {
            tracing::warn!(rule.id = %rule, target_group.id = %group, reason, "a canary was rolled back");
        }
        Phase::Ended(reason) => {
            tracing::warn!(rule.id = %rule, target_group.id = %group, reason, "a canary ended");
        }
    }
}
