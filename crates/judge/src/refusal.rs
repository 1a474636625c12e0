//! The details of a refusal for `DecodeAuthorizationMessage`, in AWS's form
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html>).

use std::collections::BTreeMap;

use lath_model::arn::Arn;
use lath_policy::{
    Applicability, Attached, Condition, Considered, Decision, Effect, Pattern, Scope, Shortfall,
    Statement,
};
use lath_wire::{Permission, Principal};
use serde_json::{Value, json};

/// The size limit of the details, in bytes. They travel encoded, half as long again, in an error message.
const MOST: usize = 8 << 10;

/// The refused request.
#[derive(Default)]
pub(crate) struct Asked<'a> {
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    /// The request's condition keys without AWS's global ones.
    pub(crate) keys: &'a [(String, Vec<String>)],
    /// The name, if the caller is a user.
    pub(crate) username: Option<&'a str>,
    /// The decision and its policies.
    pub(crate) decision: Option<&'a Decision<'a>>,
    pub(crate) attached: &'a [Attached<'a>],
}

impl<'a> Asked<'a> {
    pub(crate) fn of(permission: &'a Permission) -> Self {
        Self {
            action: &permission.action,
            resource: &permission.resource,
            keys: &permission.keys,
            ..Self::default()
        }
    }
}

/// The details as JSON, within the size limit: with thousands of statements the statements are left out.
pub(crate) fn details(who: &Principal, asked: &Asked<'_>) -> String {
    let explanation = asked.decision.map(Decision::explanation);
    let whole = shown(who, asked, &explanation.unwrap_or_default());
    let bare = || shown(who, asked, &[]);
    let fits = |text: &String| text.len() <= MOST;
    let cut = Some(whole)
        .filter(fits)
        .or_else(|| Some(bare()).filter(fits));
    cut.unwrap_or_else(|| json!({"allowed": false}).to_string())
}

fn shown(who: &Principal, asked: &Asked<'_>, explanation: &[String]) -> String {
    let shortfall = asked.decision.and_then(|it| it.shortfall);
    let mut principal = json!({"id": who.user_id, "arn": who.arn});
    if let Some(name) = asked.username {
        principal["name"] = json!(name);
    }
    let details = json!({
        "allowed": false,
        "explicitDeny": matches!(shortfall, Some(Shortfall::Explicit(_))),
        "matchedStatements": items(denials(who, asked)),
        "failures": items([]),
        "context": {
            "principal": principal,
            "action": asked.action,
            "resource": asked.resource,
            "conditions": items(conditions(asked)),
        },
        // Not in AWS: one line for each evaluated statement.
        "explanation": explanation,
    });
    details.to_string()
}

fn items(items: impl IntoIterator<Item = Value>) -> Value {
    json!({"items": items.into_iter().collect::<Vec<_>>()})
}

fn values<'a>(values: impl IntoIterator<Item = &'a str>) -> Value {
    items(values.into_iter().map(|value| json!({"value": value})))
}

/// The request's condition keys, and those that AWS derives from the resource's ARN.
fn conditions(asked: &Asked<'_>) -> Vec<Value> {
    let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, values) in asked.keys {
        keys.entry(key).or_default().extend(values.iter().cloned());
    }
    for (key, value) in of_arn(asked.resource) {
        keys.insert(key, vec![value]);
    }
    let shown = |(key, found): (&str, Vec<String>)| json!({"key": key, "values": values(found.iter().map(String::as_str))});
    keys.into_iter().map(shown).collect()
}

fn of_arn(resource: &str) -> Vec<(&'static str, String)> {
    let Ok(arn) = resource.parse::<Arn>() else {
        return Vec::new();
    };
    let split = arn.resource.split_once(['/', ':']);
    let (kind, id) = split.unwrap_or(("", &arn.resource));
    let keys = [
        ("aws:ARN", resource),
        ("aws:Account", &arn.account),
        ("aws:ID", id),
        ("aws:Region", &arn.region),
        ("aws:Resource", &arn.resource),
        ("aws:Service", &arn.service),
        ("aws:Type", kind),
    ];
    let present = keys.into_iter().filter(|(_, value)| !value.is_empty());
    present
        .map(|(key, value)| (key, value.to_owned()))
        .collect()
}

/// The statements that deny. A decision lists every statement of the policies, in order.
fn denials(who: &Principal, asked: &Asked<'_>) -> Vec<Value> {
    let considered = asked.decision.map_or(&[][..], |it| &it.considered);
    let statements = asked.attached.iter().flat_map(|it| &it.policy.statements);
    let denies = |it: &Considered<'_>| {
        it.effect == Effect::Deny && matches!(it.verdict, Applicability::Applies(_))
    };
    let denials = considered.iter().zip(statements);
    let denials = denials.filter(|(considered, _)| denies(considered));
    denials.map(|(_, it)| denial(who, it)).collect()
}

fn denial(who: &Principal, statement: &Statement) -> Value {
    let written = |scope: &Scope<Vec<Pattern>>| {
        let (Scope::These(patterns) | Scope::AllBut(patterns)) = scope;
        values(patterns.iter().map(Pattern::as_str))
    };
    let condition = |it: &Condition| json!({"key": it.key(), "values": values(it.values())});
    json!({
        "statementId": statement.sid,
        "effect": "DENY",
        "principals": values([who.user_id.split(':').next().unwrap_or_default()]),
        "principalGroups": items([]),
        "actions": written(&statement.actions),
        "resources": statement.resources.as_ref().map_or_else(|| items([]), written),
        "conditions": items(statement.conditions.iter().map(condition)),
    })
}
