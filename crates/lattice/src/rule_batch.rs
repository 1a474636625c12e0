//! Several rules changed at once.

use lath_control::Cell;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::record::{Listener, Rule};
use crate::resource_types::*;
use crate::rule::{changed, clashes, find_in, output, priority_taken};
use crate::shape::{BatchUpdateRule, BatchUpdateRuleOutput, RuleUpdate, RuleUpdateFailure};
use crate::{Lattice, action, fault, listener};

operations! {
    for Lattice as "vpc-lattice";
    // AWS knows no action of this name: it wants that of one rule for each.
    change BatchUpdateRule as "UpdateRule": patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> BatchUpdateRuleOutput = update_batch, checked
        => on_each(&RULE, &[TARGET_GROUPS], rules_of);
}

fn failure(identifier: &str, error: &ApiError) -> RuleUpdateFailure {
    RuleUpdateFailure {
        rule_identifier: Some(identifier.to_owned()),
        failure_code: Some(error.code.to_string()),
        failure_message: Some(error.message.clone()),
    }
}

/// Changes several rules at once: what counts is whether the rules fit together afterwards, so that two
/// can swap their priorities. Those that cannot be changed are told, the others are changed.
fn update_batch(
    app: &Lattice,
    tx: &mut Tx,
    op: BatchUpdateRule,
) -> Result<BatchUpdateRuleOutput, ApiError> {
    let cell = &app.cell;
    let place = (&op.service_identifier, &op.listener_identifier);
    let (service, listener) = listener::find(cell, tx.view(), place.0, place.1)?;
    let mut failed = Vec::new();
    let mut good: Vec<Rule> = Vec::new();
    for given in &op.rules {
        match planned(cell, tx, &listener, given, &good) {
            Ok(rule) => good.push(rule),
            Err(error) => failed.push(failure(&given.rule_identifier, &error)),
        }
    }
    drop_clashing(tx.view(), &listener, &mut good, &mut failed);
    let rules: Vec<_> = good.into_iter().map(|rule| tx.put(rule)).collect();
    action::check_quota(cell, tx.view(), &service.id)?;
    Ok(BatchUpdateRuleOutput {
        successful: Some(
            rules
                .iter()
                .map(|rule| output(cell, tx.view(), rule))
                .collect(),
        ),
        unsuccessful: Some(failed),
    })
}

fn planned(
    cell: &Cell,
    tx: &Tx,
    listener: &Listener,
    given: &RuleUpdate,
    earlier: &[Rule],
) -> Result<Rule, ApiError> {
    let rule = find_in(cell, tx.view(), listener, &given.rule_identifier)?;
    if earlier.iter().any(|known| known.id == rule.id) {
        return Err(fault::refused(
            "The rule occurs more than once in the request",
        ));
    }
    changed(cell, tx.view(), &rule, given, tx.now())
}

/// A rule that is left as it was may be in the way of another: look again until the rest fits.
fn drop_clashing(
    view: &View,
    listener: &Listener,
    good: &mut Vec<Rule>,
    failed: &mut Vec<RuleUpdateFailure>,
) {
    let prefix = format!("{}/", listener.id);
    loop {
        let clashes = clashes(view, &prefix, good);
        if clashes.is_empty() {
            return;
        }
        good.retain(|rule| {
            let Some(other) = clashes.get(&rule.id) else {
                return true;
            };
            let error = priority_taken(other.as_str(), rule.priority.unwrap_or_default());
            failed.push(failure(rule.id.as_str(), &error));
            false
        });
    }
}
