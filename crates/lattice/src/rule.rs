//! Rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::{Cell, Mode};
use lath_model::Timestamp;
use lath_model::id::{ListenerId, RuleId, ServiceId};
use lath_model::lattice::ListenerProtocol;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use crate::ident::{Kind, resolve};
use crate::record::{Listener, Rule, key};
use crate::resource_types::*;
use crate::shape::*;
use crate::{
    Lattice, action, balancing, canary, condition, fault, gateway, gateway_routes, listener,
    matching, mutual_tls, page, quota, target_tls, token, traffic,
};

operations! {
    for Lattice as "vpc-lattice";
    change CreateRule: post "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 201 -> CreateRuleOutput = create, checked, caller
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, "*"))
            .with(TARGET_GROUPS, |op, at| groups_of_new(at, &op.action, &op.tags))
            .with_tags(|op| &op.tags)
            .tagging(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, "*"), |op| &op.tags);
    read GetRule: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> GetRuleOutput = get
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, &op.rule_identifier));
    read ListRules: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules" 200 -> ListRulesOutput = list
        => any();
    change UpdateRule: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 200 -> RuleOutput = update, checked
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, &op.rule_identifier))
            .with(TARGET_GROUPS, |op, at| op.action.as_ref().map(|action| groups(at, action)));
    change DeleteRule: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}/rules/{ruleIdentifier}" 204 -> Empty = delete
        => on(&RULE, |op, at| rule_arn(at, &op.service_identifier, &op.listener_identifier, &op.rule_identifier));
}

/// A rule's ARN.
pub(crate) fn arn(cell: &Cell, service: &ServiceId, listener: &ListenerId, id: &RuleId) -> String {
    format!("{}/rule/{id}", listener::arn(cell, service, listener))
}

fn arn_of(cell: &Cell, rule: &Rule) -> String {
    arn(cell, &rule.service, &rule.listener, &rule.id)
}

fn find(
    cell: &Cell,
    view: &View,
    service: &str,
    listener: &str,
    rule: &str,
) -> Result<Arc<Rule>, ApiError> {
    let (_, listener) = listener::find(cell, view, service, listener)?;
    find_in(cell, view, &listener, rule)
}

pub(crate) fn find_in(
    cell: &Cell,
    view: &View,
    listener: &Listener,
    rule: &str,
) -> Result<Arc<Rule>, ApiError> {
    let parents = [listener.service.as_str(), listener.id.as_str()];
    let id = resolve(cell, Kind::Rule, rule, &parents)?;
    view.get(&key(&listener.id, &id))
        .ok_or_else(|| fault::not_found(Kind::Rule, &id))
}

/// The model allows priorities to 2000; AWS, and so strict mode, takes them to 100.
fn priority_of(cell: &Cell, given: i64) -> Result<u32, ApiError> {
    let most = match cell.mode {
        Mode::Strict => 100,
        Mode::Extended => 2000,
    };
    u32::try_from(given)
        .ok()
        .filter(|priority| (1..=most).contains(priority))
        .ok_or_else(|| fault::invalid("priority", format!("Priorities are from 1 to {most}")))
}

fn created(cell: &Cell, view: &View, rule: &Rule) -> CreateRuleOutput {
    CreateRuleOutput {
        arn: Some(arn_of(cell, rule)),
        id: Some(rule.id.to_string()),
        name: Some(rule.name.clone()),
        conditions: condition::show(rule),
        priority: rule.priority.map(i64::from),
        action: Some(action::show(view, &rule.action)),
    }
}

pub(crate) fn output(cell: &Cell, view: &View, rule: &Rule) -> RuleOutput {
    RuleOutput {
        arn: Some(arn_of(cell, rule)),
        id: Some(rule.id.to_string()),
        name: Some(rule.name.clone()),
        is_default: Some(rule.priority.is_none()),
        conditions: condition::show(rule),
        priority: rule.priority.map(i64::from),
        action: Some(action::show(view, &rule.action)),
    }
}

fn summary(cell: &Cell, rule: &Rule) -> RuleSummary {
    RuleSummary {
        arn: Some(arn_of(cell, rule)),
        id: Some(rule.id.to_string()),
        name: Some(rule.name.clone()),
        is_default: Some(rule.priority.is_none()),
        priority: rule.priority.map(i64::from),
        created_at: Some(rule.created_at),
        last_updated_at: Some(rule.updated_at),
    }
}

fn rules_of<'a>(view: &'a View, prefix: &'a str) -> impl Iterator<Item = Arc<Rule>> + 'a {
    view.range::<Rule>(prefix)
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateRule,
) -> Result<CreateRuleOutput, ApiError> {
    let cell = &app.cell;
    const KIND: Kind = Kind::Rule;
    let client_token = op.client_token.take();
    let place = (&op.service_identifier, &op.listener_identifier);
    let (service, listener) = listener::find(cell, tx.view(), place.0, place.1)?;
    let id = RuleId::random();
    let token = client_token.as_deref();
    if let Some(id) = token::claim(tx, "CreateRule", token, &op, KIND, id.as_str())? {
        let known = find_in(cell, tx.view(), &listener, &id)?;
        return Ok(created(cell, tx.view(), &known));
    }
    let prefix = format!("{}/", listener.id);
    let priority = priority_of(cell, op.priority)?;
    refuse_twin(caller, tx.view(), &prefix, &op.name, priority)?;
    if listener.protocol == ListenerProtocol::TlsPassthrough {
        return Err(fault::refused(format!(
            "Listener {} is a TLS_PASSTHROUGH listener, which has no rule but its default one",
            listener.id
        )));
    }
    let user = action::User {
        service: &service.id,
        protocol: listener.protocol,
    };
    balancing::check_given(KIND, &op.tags)?;
    target_tls::check_given(KIND, &op.tags)?;
    let action = action::resolve(cell, tx.view(), user, &op.action, "action")?;
    mutual_tls::check_given(KIND, &op.tags)?;
    gateway::check_given(KIND, &op.tags)?;
    gateway_routes::check_given(KIND, &op.tags)?;
    let more = matching::of(cell, &op.tags)?;
    let traffic = traffic::of(cell, tx.view(), user, &op.tags, &action, None)?;
    let canary = canary::of(cell, tx.view(), user, &op.tags, &action, tx.now())?;
    let (canary, action) = match canary {
        Some((canary, action)) => (Some(canary), action),
        None => (None, action),
    };
    let now = tx.now();
    let rule = tx.put(Rule {
        id,
        service: service.id.clone(),
        listener: listener.id.clone(),
        name: op.name,
        priority: Some(priority),
        conditions: condition::read(&op.conditions),
        more,
        action,
        traffic,
        canary,
        tags: op.tags,
        created_at: now,
        updated_at: now,
    });
    // The default rule does not count.
    let count = rules_of(tx.view(), &prefix).count().saturating_sub(1);
    quota::check(quota::RULES_PER_LISTENER, cell, count)?;
    action::check_quota(cell, tx.view(), &service.id)?;
    Ok(created(cell, tx.view(), &rule))
}

/// Names and priorities are unique in a listener.
fn refuse_twin(
    caller: &Caller,
    view: &View,
    prefix: &str,
    name: &str,
    priority: u32,
) -> Result<(), ApiError> {
    for known in rules_of(view, prefix) {
        let id = known.id.as_str();
        if known.priority.is_some() && known.name == name {
            return Err(fault::name_taken(Kind::Rule, id, name, &caller.account));
        }
        if known.priority == Some(priority) {
            return Err(priority_taken(id, priority));
        }
    }
    Ok(())
}

pub(crate) fn priority_taken(id: &str, priority: u32) -> ApiError {
    fault::conflict(
        Kind::Rule,
        id,
        format!("Priority {priority} is in use by rule {id}"),
    )
}

/// A rule as an update now would leave it.
pub(crate) fn changed(
    cell: &Cell,
    view: &View,
    rule: &Rule,
    update: &RuleUpdate,
    now: Timestamp,
) -> Result<Rule, ApiError> {
    if rule.priority.is_none() {
        return Err(fault::refused(
            "The default rule can be changed with UpdateListener only",
        ));
    }
    let mut rule = rule.clone();
    if let Some(given) = &update.conditions {
        rule.conditions = condition::read(given);
    }
    if let Some(priority) = update.priority {
        rule.priority = Some(priority_of(cell, priority)?);
    }
    if let Some(given) = &update.action {
        let listener = view.get::<Listener>(&key(&rule.service, &rule.listener));
        let user = action::User {
            service: &rule.service,
            protocol: listener.map_or(ListenerProtocol::Http, |it| it.protocol),
        };
        let action = action::resolve(cell, view, user, given, "action")?;
        canary::interrupt(&mut rule, &action, now);
        rule.action = action;
        traffic::fits(cell, rule.traffic.as_deref(), &rule.action)?;
    }
    rule.updated_at = now;
    Ok(rule)
}

/// For each of the changed rules that now has another rule's priority: that rule.
pub(crate) fn clashes(view: &View, prefix: &str, changed: &[Rule]) -> BTreeMap<RuleId, RuleId> {
    let untouched = rules_of(view, prefix).filter(|rule| changed.iter().all(|c| c.id != rule.id));
    let mut taken: BTreeMap<u32, RuleId> = untouched
        .filter_map(|rule| Some((rule.priority?, rule.id.clone())))
        .collect();
    let mut clashes = BTreeMap::new();
    for rule in changed {
        let Some(priority) = rule.priority else {
            continue;
        };
        match taken.get(&priority) {
            Some(other) => {
                clashes.insert(rule.id.clone(), other.clone());
            }
            None => {
                taken.insert(priority, rule.id.clone());
            }
        }
    }
    clashes
}

fn update(app: &Lattice, tx: &mut Tx, op: UpdateRule) -> Result<RuleOutput, ApiError> {
    let cell = &app.cell;
    let place = (&op.service_identifier, &op.listener_identifier);
    let rule = find(cell, tx.view(), place.0, place.1, &op.rule_identifier)?;
    let update = RuleUpdate {
        rule_identifier: op.rule_identifier,
        conditions: op.conditions,
        priority: op.priority,
        action: op.action,
    };
    let rule = changed(cell, tx.view(), &rule, &update, tx.now())?;
    let prefix = format!("{}/", rule.listener);
    let clash = clashes(tx.view(), &prefix, std::slice::from_ref(&rule));
    if let Some(other) = clash.get(&rule.id) {
        return Err(priority_taken(
            other.as_str(),
            rule.priority.unwrap_or_default(),
        ));
    }
    let rule = tx.put(rule);
    action::check_quota(cell, tx.view(), &rule.service)?;
    Ok(output(cell, tx.view(), &rule))
}

fn get(app: &Lattice, view: &View, op: &GetRule) -> Result<GetRuleOutput, ApiError> {
    let cell = &app.cell;
    let place = (&op.service_identifier, &op.listener_identifier);
    let rule = find(cell, view, place.0, place.1, &op.rule_identifier)?;
    Ok(GetRuleOutput {
        arn: Some(arn_of(cell, &rule)),
        id: Some(rule.id.to_string()),
        name: Some(rule.name.clone()),
        is_default: Some(rule.priority.is_none()),
        conditions: condition::show(&rule),
        priority: rule.priority.map(i64::from),
        action: Some(action::show(view, &rule.action)),
        created_at: Some(rule.created_at),
        last_updated_at: Some(rule.updated_at),
    })
}

fn list(app: &Lattice, view: &View, op: &ListRules) -> Result<ListRulesOutput, ApiError> {
    let cell = &app.cell;
    let place = (&op.service_identifier, &op.listener_identifier);
    let (_, listener) = listener::find(cell, view, place.0, place.1)?;
    let page = page(
        rules_of(view, &format!("{}/", listener.id)),
        |rule| rule.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(ListRulesOutput {
        items: page.items.iter().map(|rule| summary(cell, rule)).collect(),
        next_token: page.next_token,
    })
}

fn delete(app: &Lattice, tx: &mut Tx, op: DeleteRule) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    let place = (&op.service_identifier, &op.listener_identifier);
    let rule = find(cell, tx.view(), place.0, place.1, &op.rule_identifier)?;
    if rule.priority.is_none() {
        return Err(fault::refused("The default rule cannot be deleted"));
    }
    tx.delete::<Rule>(&key(&rule.listener, &rule.id));
    Ok(Empty {})
}
